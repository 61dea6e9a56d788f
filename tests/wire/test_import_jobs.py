"""The hook's calls about import jobs, over HTTP: what is sent, what comes back, and what goes wrong on the way."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
from moto.s3.models import s3_backends

from airflow_provider_healthimaging.exceptions import (
    AccessDeniedError,
    ConfigurationError,
    ConnectionFailedError,
    DatastoreNotFoundError,
    ImportReportMissingError,
    IncompleteResponseError,
    InvalidArgumentError,
    InvalidImportReportError,
    RejectedRequestError,
    ServiceError,
)
from airflow_provider_healthimaging.hooks import import_jobs
from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.imports import limits
from airflow_provider_healthimaging.imports.limits import InputSize
from airflow_provider_healthimaging.imports.request import ImportRequest
from tests.dicom_files import ROLE, dicom_file, upload

DATASTORE_ID = "d" * 32
CANARY = "CANARY-4711"
MAPPING = {"studyInstanceUID": "2.25.4711", "metadataFilePath": f"{CANARY}.json"}
IMPORT = {
    "input_s3_uri": "s3://image-sets/inbox/",
    "output_s3_uri": "s3://image-sets/reports/",
    "data_access_role_arn": ROLE,
}


def start(hook, **arguments):
    return hook.start_dicom_import_job(DATASTORE_ID, **{**IMPORT, **arguments})


def request(**arguments):
    return ImportRequest.parse(DATASTORE_ID, **{**IMPORT, **arguments})


@pytest.fixture
def soon(monkeypatch):
    """Let nothing wait for a report that is looked for again."""
    monkeypatch.setattr(import_jobs, "REPORT_POLL_SECONDS", 0.01)


def test_a_job_is_started_found_and_listed_with_times_in_utc(hook, bucket):
    upload(bucket)
    started = start(hook, job_name="nightly", input_owner_account_id="123456789012")

    assert started.keys() == {"datastoreId", "jobId", "jobStatus", "submittedAt"}
    assert abs(datetime.now(UTC) - started["submittedAt"]) < timedelta(minutes=1)
    assert started["submittedAt"].tzinfo is UTC
    job = hook.get_dicom_import_job(DATASTORE_ID, started["jobId"])
    assert (job["jobName"], job["jobStatus"], job["inputS3Uri"]) == ("nightly", "COMPLETED", IMPORT["input_s3_uri"])
    assert job["outputS3Uri"] == f"s3://image-sets/reports/{DATASTORE_ID}-DicomImport-{started['jobId']}/"
    assert job["endedAt"].tzinfo is UTC
    (listed,) = hook.list_dicom_import_jobs(DATASTORE_ID, job_status="COMPLETED")
    assert listed["jobId"] == started["jobId"]
    assert list(hook.list_dicom_import_jobs(DATASTORE_ID, job_status="FAILED")) == []


def test_all_pages_of_jobs_are_listed(hook, bucket, server):
    started = {start(hook)["jobId"] for _ in range(51)}
    assert {job["jobId"] for job in hook.list_dicom_import_jobs(DATASTORE_ID)} == started


def test_the_same_token_starts_one_job_and_none_starts_two(hook, bucket):
    assert len({start(hook, client_token="once")["jobId"] for _ in range(2)}) == 1
    assert len({start(hook)["jobId"] for _ in range(2)}) == 2


def test_a_token_of_another_request_is_an_error_that_says_so(hook, bucket):
    start(hook, client_token="once")
    with pytest.raises(ServiceError, match="client_token belongs to another request"):
        start(hook, client_token="once", job_name="another")


def test_a_mapping_is_sent_as_it_is(hook, bucket):
    configuration = {"dicomJsonMetadataImportConfiguration": {"dicomMetadataMappings": [MAPPING]}}
    job = hook.get_dicom_import_job(DATASTORE_ID, start(hook, import_configuration=configuration)["jobId"])
    assert job["importConfiguration"] == configuration


def test_a_botocore_that_knows_no_mappings_is_an_error_that_says_so(hook, bucket):
    shape = hook.conn.meta.service_model.operation_model("StartDICOMImportJob").input_shape
    del shape.members["importConfiguration"]
    configuration = {"dicomJsonMetadataImportConfiguration": {"dicomMetadataMappings": [MAPPING]}}
    with pytest.raises(ConfigurationError, match=r"does not know import_configuration. Update boto3"):
        start(hook, import_configuration=configuration)


def test_the_control_plane_is_called_without_a_host_prefix(hook, bucket, server):
    start(hook)
    assert [call.operation for call in server.calls] == ["StartDICOMImportJob"]


class Answers:
    """Answers the first calls of an operation by itself, then lets the service answer."""

    def __init__(self, path, *answers):
        self.path, self.answers = path, list(answers)

    def __call__(self, app):
        def answer(environ, start_response):
            if self.path not in environ["PATH_INFO"] or not self.answers:
                return app(environ, start_response)
            status, code, body = self.answers.pop(0)
            headers = [("x-amzn-ErrorType", code)] if code else []
            start_response(status, [*headers, ("Content-Type", "application/json")])
            return [body]

        return answer


THROTTLED = ("429 Too Many Requests", "ThrottlingException", b'{"message": "Rate exceeded"}')


def test_a_start_that_is_throttled_is_called_again(behind, bucket):
    _, hook = behind(Answers("/startDICOMImportJob", *[THROTTLED] * 9))
    assert start(hook)["jobStatus"] == "SUBMITTED"


def test_a_start_that_stays_throttled_says_how_often_it_may_be_called(behind, bucket):
    _, hook = behind(Answers("/startDICOMImportJob", *[THROTTLED] * 10))
    with pytest.raises(ServiceError, match="once a second") as caught:
        start(hook)
    assert (caught.value.code, caught.value.retryable) == ("ThrottlingException", True)


def test_too_many_jobs_are_a_retryable_error_with_its_code(hook, store, bucket):
    store.settings.import_max_jobs = 1
    store.settings.import_duration = 1000
    start(hook)
    with pytest.raises(ServiceError, match="Too many import jobs run at a time") as caught:
        start(hook)
    assert (caught.value.code, caught.value.retryable) == ("ServiceQuotaExceededException", True)


def test_a_role_that_may_not_be_passed_is_an_error_that_names_the_permission(hook, store, bucket):
    store.settings.import_permission = "pass-role-denied"
    with pytest.raises(AccessDeniedError, match="iam:PassRole on data_access_role_arn"):
        start(hook)


@pytest.mark.parametrize(
    ("code", "status", "kind", "words"),
    [
        ("AccessDeniedException", "403 Forbidden", AccessDeniedError, "medical-imaging:GetDICOMImportJob"),
        ("ResourceNotFoundException", "404 Not Found", DatastoreNotFoundError, "Check datastore_id, job_id"),
        ("ValidationException", "400 Bad Request", RejectedRequestError, "Check datastore_id and job_id"),
    ],
)
def test_an_error_of_a_call_says_what_to_do_and_not_what_the_service_said(
    behind, store, all_text, code, status, kind, words
):
    _, hook = behind(Answers("/getDICOMImportJob", (status, code, json.dumps({"message": CANARY}).encode())))
    with pytest.raises(kind, match=words) as caught:
        hook.get_dicom_import_job(DATASTORE_ID, "1")
    assert CANARY not in all_text(caught.value)
    assert "job 1, data store" in str(caught.value)


@pytest.mark.parametrize(
    ("code", "status", "kind", "words"),
    [
        ("AccessDeniedException", "403 Forbidden", AccessDeniedError, "medical-imaging:ListDICOMImportJobs"),
        ("ThrottlingException", "429 Too Many Requests", ServiceError, "10 calls/s"),
        ("ValidationException", "400 Bad Request", RejectedRequestError, "job_status"),
    ],
)
def test_an_error_while_jobs_are_listed_says_what_to_do(behind, store, code, status, kind, words):
    _, hook = behind(Answers("/listDICOMImportJobs", *[(status, code, b"{}")] * 10))
    with pytest.raises(kind, match=words):
        list(hook.list_dicom_import_jobs(DATASTORE_ID))


def test_a_request_that_the_service_rejects_says_what_to_check(behind, store):
    _, hook = behind(Answers("/startDICOMImportJob", ("400 Bad Request", "ValidationException", b"{}")))
    with pytest.raises(RejectedRequestError, match="its trust policy names"):
        start(hook)


@pytest.mark.parametrize("body", [b"{}", b"", b'{"jobProperties": {}}', b"<html>", b'{"jobId": "x'])
@pytest.mark.parametrize("path", ["/startDICOMImportJob", "/getDICOMImportJob", "/listDICOMImportJobs"])
def test_a_response_that_is_not_whole_is_a_retryable_error(behind, store, path, body):
    _, hook = behind(Answers(path, ("200 OK", None, body)))
    calls = {
        "/startDICOMImportJob": lambda: start(hook),
        "/getDICOMImportJob": lambda: hook.get_dicom_import_job(DATASTORE_ID, "1"),
        "/listDICOMImportJobs": lambda: list(hook.list_dicom_import_jobs(DATASTORE_ID)),
    }
    with pytest.raises((IncompleteResponseError, ConnectionFailedError)) as caught:
        calls[path]()
    assert caught.value.retryable


@pytest.mark.parametrize("name", ["get_dicom_import_job", "read_import_report"])
def test_a_malformed_job_id_is_found_before_the_call(hook, server, name):
    with pytest.raises(InvalidArgumentError, match="job_id"):
        getattr(hook, name)(DATASTORE_ID, "no id")
    assert list(server.calls) == []


def test_an_unknown_job_status_is_found_before_the_call(hook, server):
    with pytest.raises(InvalidArgumentError, match="Did you mean 'COMPLETED'"):
        hook.list_dicom_import_jobs(DATASTORE_ID, job_status="COMPLETE")
    assert list(server.calls) == []


def test_the_report_says_what_the_job_did(hook, bucket):
    upload(bucket, series=3, instances=2, broken=2)
    report = hook.read_import_report(DATASTORE_ID, start(hook)["jobId"])

    assert (report.scanned, report.imported, report.failed, report.with_warnings) == (8, 6, 2, 0)
    assert dict(report.failed_by_type) == {"ValidationException": 2}
    found = {(hit["imageSetId"], hit["version"], hit["isPrimary"]) for hit in hook.search_image_sets(DATASTORE_ID)}
    assert {(each["imageSetId"], each["version"], each["isPrimary"]) for each in report.image_sets} == found
    assert len(found) == 3


def test_a_report_that_comes_late_is_waited_for(hook, store, bucket, soon):
    upload(bucket, broken=1)
    store.settings.import_output_lag = 0.5
    report = hook.read_import_report(DATASTORE_ID, start(hook)["jobId"], wait=timedelta(minutes=1))
    assert (report.imported, report.failed) == (4, 1)


def test_a_report_that_does_not_come_in_time_is_a_retryable_error(hook, store, bucket, soon):
    store.settings.import_output_lag = 1000
    with pytest.raises(
        ImportReportMissingError, match=r"job-output-manifest.json is not in the job's output"
    ) as caught:
        hook.read_import_report(DATASTORE_ID, start(hook)["jobId"], wait=0.05)
    assert caught.value.retryable


@pytest.mark.parametrize("empty_output", [True, False])
def test_a_report_without_warnings_needs_no_list_of_them(hook, store, bucket, soon, monkeypatch, empty_output):
    monkeypatch.setattr(import_jobs, "WARNINGS_GRACE", timedelta(seconds=0.05))
    upload(bucket)
    store.settings.import_empty_output = empty_output
    assert hook.read_import_report(DATASTORE_ID, start(hook)["jobId"]).with_warnings == 0


def test_a_report_that_may_not_be_read_says_so(behind, bucket, store):
    denied = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    _, hook = behind(Answers("job-output-manifest.json", ("403 Forbidden", None, denied)))
    with pytest.raises(AccessDeniedError, match="s3:AbortMultipartUpload"):
        hook.read_import_report(DATASTORE_ID, start(hook)["jobId"])


def test_a_broken_line_is_an_error_that_names_file_and_line(hook, bucket):
    upload(bucket)
    job_id = start(hook)["jobId"]
    folder = hook.get_dicom_import_job(DATASTORE_ID, job_id)["outputS3Uri"].removeprefix("s3://image-sets/")
    bucket.put_object(Key=f"{folder}FAILURE/failure.ndjson", Body=f'{{}}\n{{"{CANARY}\n'.encode())
    with pytest.raises(InvalidImportReportError, match="line 2 is not a JSON object") as caught:
        hook.read_import_report(DATASTORE_ID, job_id)
    assert CANARY not in str(caught.value)


class CutObject:
    """Cuts the body of an S3 object so many times."""

    def __init__(self, name, times):
        self.name, self.times = name, times

    def __call__(self, app):
        def answer(environ, start_response):
            body = app(environ, start_response)
            if environ["PATH_INFO"].endswith(self.name) and environ["REQUEST_METHOD"] == "GET" and self.times:
                self.times -= 1
                return [b"".join(body)[:100]]
            return body

        return answer


def test_a_file_of_the_report_that_is_cut_short_is_read_again(behind, bucket, store, soon):
    upload(bucket)
    _, hook = behind(CutObject("success.ndjson", times=1))
    assert hook.read_import_report(DATASTORE_ID, start(hook)["jobId"]).imported == 4


def test_a_file_of_the_report_that_stays_cut_short_is_a_retryable_error(behind, bucket, store, soon):
    upload(bucket)
    _, hook = behind(CutObject("success.ndjson", times=100))
    with pytest.raises(ConnectionFailedError) as caught:
        hook.read_import_report(DATASTORE_ID, start(hook)["jobId"], wait=0)
    assert caught.value.retryable


def test_the_input_is_counted_over_all_pages_and_by_prefix(hook, bucket):
    objects = s3_backends["123456789012"]["aws"]
    for number in range(1001):
        objects.put_object("image-sets", f"inbox/{number}", b"12")
    bucket.put_object(Key="inbox/folder/", Body=b"")
    bucket.put_object(Key="inbox2/other", Body=b"12")
    assert hook.import_files().measure_input(request()) == InputSize(1001, 2002)


def test_an_input_that_is_far_too_large_is_not_counted_to_its_end(hook, bucket, monkeypatch):
    monkeypatch.setattr(limits, "COUNTING_ENDS_AT", 1000)
    monkeypatch.setattr(limits, "MAX_FILES", 500)
    objects = s3_backends["123456789012"]["aws"]
    for number in range(2001):
        objects.put_object("image-sets", f"inbox/{number}", b"")
    with pytest.raises(InvalidArgumentError, match="at least 1000 files"):
        hook.import_files().measure_input(request()).check()


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (
            ("403 Forbidden", None, b"<Error><Code>AccessDenied</Code></Error>"),
            AccessDeniedError,
            "input_s3_uri in bucket image-sets",
        ),
        (
            ("404 Not Found", None, b"<Error><Code>NoSuchBucket</Code></Error>"),
            RejectedRequestError,
            "does not exist",
        ),
        (("200 OK", None, b"<ListBucketResult/>"), IncompleteResponseError, "listing of the input is truncated"),
    ],
)
def test_an_input_that_cannot_be_listed_is_not_taken_for_an_empty_one(behind, bucket, answer, kind, words):
    upload(bucket)
    _, hook = behind(Answers("/image-sets", answer))
    with pytest.raises(kind, match=words):
        hook.import_files().measure_input(request())


BAD_CONNECTIONS = {
    "an endpoint that is no URL": {"endpoint_url": "localhost:9000"},
    "an unknown setting": {"config_kwargs": {"no_such": 1}},
    "an unknown way to assume a role": {"role_arn": ROLE, "assume_role_method": "nope"},
    "a role with SAML that is not set up": {
        "role_arn": ROLE,
        "assume_role_method": "assume_role_with_saml",
        "assume_role_with_saml": {"idp_auth_method": "x"},
    },
}


@pytest.mark.parametrize("case", BAD_CONNECTIONS)
def test_a_connection_to_s3_that_cannot_work_is_an_error_of_the_configuration(monkeypatch, all_text, case):
    extra = {"region_name": "us-east-1", **BAD_CONNECTIONS[case]}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": "aws", "extra": extra}))
    files = HealthImagingHook().import_files("other")
    for call in (lambda: files.measure_input(request()), lambda: files.read_report("s3://image-sets/reports/")):
        with pytest.raises(ConfigurationError, match="'other'") as refused:
            call()
        assert not refused.value.retryable
        assert refused.value.__context__ is None


def test_no_name_of_a_file_and_no_mapping_is_logged_at_debug(hook, bucket, caplog):
    caplog.set_level(logging.DEBUG)
    bucket.put_object(Key=f"inbox/{CANARY}.dcm", Body=dicom_file(PatientName=CANARY))
    bucket.put_object(Key=f"inbox/{CANARY}.txt", Body=CANARY.encode())
    caplog.clear()

    hook.import_files().measure_input(request())
    configuration = {"dicomJsonMetadataImportConfiguration": {"dicomMetadataMappings": [MAPPING]}}
    job_id = start(hook, import_configuration=configuration)["jobId"]
    assert hook.read_import_report(DATASTORE_ID, job_id).failed == 1
    list(hook.list_dicom_import_jobs(DATASTORE_ID))

    assert CANARY not in caplog.text
    assert MAPPING["studyInstanceUID"] not in caplog.text
    assert "are dropped" in caplog.text


def test_names_of_files_are_logged_at_debug_where_the_configuration_allows_it(hook, bucket, caplog, monkeypatch):
    monkeypatch.setenv("AIRFLOW__HEALTHIMAGING__LOG_BOTOCORE_DEBUG", "True")
    bucket.put_object(Key=f"inbox/{CANARY}.dcm", Body=b"")
    caplog.clear()
    caplog.set_level(logging.DEBUG)

    hook.import_files().measure_input(request())

    assert CANARY in caplog.text
