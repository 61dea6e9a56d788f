"""What can go wrong with import jobs: quotas, limits, permissions, failures, late output. Settings switch it on."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import urllib3
from botocore.exceptions import ClientError
from moto.medicalimaging.quota import QUOTAS

from airflow_provider_healthimaging.local.__main__ import _parser
from airflow_provider_healthimaging.local.settings_endpoint import SETTINGS_PATH

from .importing import DATASTORE_ID, FAILURE, MANIFEST, SUCCESS, WARNING, Imports, dicom_file

OTHER_ID = "e" * 32


def error_of(call, *args, **kwargs):
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    error = caught.value.response
    return error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"], error["Error"]["Message"]


def test_by_default_there_is_no_quota(imports):
    assert len({imports.start()["jobId"] for _ in range(60)}) == 60


@pytest.mark.parametrize("operation", [name for name, quota in QUOTAS.items() if quota.setting == "import_quota"])
def test_calls_beyond_the_burst_of_an_operation_are_throttled_and_the_others_are_not(local, imports, operation):
    job_id = imports.start()["jobId"]
    # A rate so small that no token comes back during the test.
    local.settings.import_quota = 1e-6
    calls = {
        "StartDICOMImportJob": imports.start,
        "GetDICOMImportJob": lambda: imports.get(job_id),
        "ListDICOMImportJobs": lambda: imports.client.list_dicom_import_jobs(datastoreId=DATASTORE_ID),
    }
    for _ in range(QUOTAS[operation].burst):
        calls[operation]()
    assert error_of(calls.pop(operation))[:2] == (429, "ThrottlingException")
    for call in calls.values():
        call()


def test_a_throttled_start_starts_nothing(local, imports):
    local.settings.import_quota = 1e-6
    for _ in range(2):
        imports.start()
    for _ in range(3):
        error_of(imports.start)
    assert len(imports.client.list_dicom_import_jobs(datastoreId=DATASTORE_ID)["jobSummaries"]) == 2


def test_too_many_jobs_at_a_time_are_a_quota_error_for_one_data_store_until_one_ends(local, clock, imports):
    local.create_datastore("other", datastore_id=OTHER_ID)
    local.settings.update({"import_max_jobs": 2, "import_duration": 60})
    for token in "ab":
        imports.start(clientToken=token)
    assert error_of(imports.start)[:2] == (402, "ServiceQuotaExceededException")
    imports.start(clientToken="a")
    imports.start(datastoreId=OTHER_ID)
    clock.advance(61)
    imports.start()


@pytest.mark.parametrize(
    ("settings", "changes", "message"),
    [
        ({"import_max_files": 1}, {}, "FILE_COUNTS_LIMIT_EXCEEDED: 2 files, limit 1"),
        ({"import_max_bytes": 100}, {}, "FILE_SIZE_LIMIT_EXCEEDED"),
        (
            {"import_permission": "input-denied"},
            {},
            "ACCESS_DENIED: arn:aws:iam::123456789012:role/import has no access",
        ),
        ({"import_permission": "output-denied"}, {}, "no access to s3://output/reports"),
        ({"import_failure_rate": 1}, {}, "INTERNAL_SERVER_ERROR"),
        ({}, {"inputS3Uri": "s3://missing/scans/"}, "The specified bucket does not exist: s3://missing/scans/"),
        ({}, {"outputS3Uri": "s3://missing/"}, "The specified bucket does not exist: s3://missing/"),
        ({}, {"inputOwnerAccountId": "210987654321"}, "Access Denied: the bucket belongs to another account"),
    ],
)
def test_a_job_that_fails_as_a_whole_says_why_and_imports_and_writes_nothing(
    local, imports, settings, changes, message
):
    local.settings.update(settings)
    imports.upload({"scans/a": dicom_file(), "scans/b": dicom_file(SOPInstanceUID="2")})
    job = imports.get(imports.start(**changes)["jobId"])
    assert (job["jobStatus"], job["submittedAt"] <= job["endedAt"]) == ("FAILED", True)
    assert message in job["message"]
    assert (imports.s3.list_objects_v2(Bucket="output")["KeyCount"], local.image_sets(DATASTORE_ID)) == (0, [])
    (summary,) = imports.client.list_dicom_import_jobs(datastoreId=DATASTORE_ID, jobStatus="FAILED")["jobSummaries"]
    assert summary["message"] == job["message"]


def test_the_message_of_a_failed_job_has_only_the_characters_that_the_model_allows(imports):
    job, _ = imports.run(inputS3Uri="s3://missing/Müller@home/" + "x" * 900)
    assert job["message"].startswith("The specified bucket does not exist: s3://missing/M-ller-home/x")


def test_exactly_the_limits_are_allowed(local, imports):
    content = dicom_file()
    local.settings.update({"import_max_files": 1, "import_max_bytes": len(content)})
    job, _ = imports.run({"scans/a": content})
    assert job["jobStatus"] == "COMPLETED"


def test_a_bucket_of_another_account_needs_its_owner(imports):
    from moto.s3.models import s3_backends

    s3_backends["210987654321"]["aws"].create_bucket("theirs", "us-east-1")
    s3_backends["210987654321"]["aws"].put_object("theirs", "scans/a", dicom_file())
    denied, _ = imports.run(inputS3Uri="s3://theirs/scans/")
    assert denied["message"] == "Access Denied: the bucket belongs to another account: s3://theirs/scans/"
    allowed, output = imports.run(inputS3Uri="s3://theirs/scans/", inputOwnerAccountId="210987654321")
    assert (allowed["jobStatus"], len(output[SUCCESS])) == ("COMPLETED", 1)


def test_a_role_that_may_not_be_passed_is_an_access_denied_error_that_names_the_permission(local, imports):
    local.settings.import_permission = "pass-role-denied"
    status, code, message = error_of(imports.start)
    assert (status, code) == (403, "AccessDeniedException")
    assert "not authorized to perform: iam:PassRole on resource: arn:aws:iam::123456789012:role/import" in message
    assert imports.client.list_dicom_import_jobs(datastoreId=DATASTORE_ID)["jobSummaries"] == []


def test_a_share_of_files_fails_with_server_errors_and_the_same_seed_fails_the_same_files(local, imports):
    files = {f"scans/{number:02}": dicom_file(SOPInstanceUID=f"1.{number}") for number in range(40)}
    local.settings.update({"seed": 7, "import_file_error_share": 0.5})
    _, output = imports.run(files)
    types = Counter(line["exception"]["exceptionType"] for line in output[FAILURE])
    assert 5 < types["InternalServerException"] < 35
    assert types.keys() == {"InternalServerException"}
    summary = output[MANIFEST]
    assert summary["numberOfFilesWithServerError"] == types.total() == 40 - summary["numberOfImportedFiles"]
    assert summary["numberOfFilesWithCustomerError"] == 0
    local.settings.seed = 7
    _, again = imports.run()
    assert again[FAILURE] == output[FAILURE]


def test_a_share_of_jobs_fails_and_the_same_seed_fails_the_same_jobs(local, imports):
    def failed():
        local.settings.update({"seed": 7, "import_failure_rate": 0.5})
        jobs = [imports.start()["jobId"] for _ in range(20)]
        local.settings.import_failure_rate = 0
        return [imports.get(job_id)["jobStatus"] == "FAILED" for job_id in jobs]

    first = failed()
    assert 2 < sum(first) < 18
    assert failed() == first


def test_output_files_come_late_one_by_one_although_only_s3_is_asked(local, clock, imports):
    local.settings.import_output_lag = 40
    imports.upload({"scans/a": dicom_file()})
    job = imports.get(imports.start()["jobId"])
    assert job["jobStatus"] == "COMPLETED"
    counts = []
    for _ in range(5):
        counts.append(len(imports.output(job)))
        clock.advance(10)
    assert counts == [0, 1, 2, 3, 4]
    assert len(local.image_sets(DATASTORE_ID)) == 1


def test_the_order_of_late_output_files_is_not_always_the_same(local, clock, imports):
    local.settings.import_output_lag = 40
    jobs = [imports.get(imports.start()["jobId"]) for _ in range(8)]
    clock.advance(10)
    firsts = {name for job in jobs for name in imports.output(job)}
    assert len(firsts) > 1


def test_late_output_for_a_bucket_that_was_deleted_is_dropped(local, clock, imports):
    local.settings.import_output_lag = 40
    imports.run({"scans/a": dicom_file()})
    imports.s3.delete_bucket(Bucket="output")
    clock.advance(41)
    assert imports.s3.list_buckets()["Buckets"][0]["Name"] == "input"


def test_files_with_warnings_can_be_left_out_of_the_successes_and_empty_files_can_be_missing(local, imports):
    local.settings.update({"import_warned_in_success": False, "import_empty_output": False})
    _, output = imports.run({"scans/a": dicom_file(PatientID="P" * 513)})
    assert output.keys() == {MANIFEST, WARNING}
    assert output[MANIFEST]["numberOfImportedFiles"] == 1


def test_metadata_can_be_inconsistent_just_after_a_job(local, clock, imports, client):
    local.settings.metadata_lag = 30
    _, output = imports.run({"scans/a": dicom_file()})
    image_set_id = output[MANIFEST]["imageSetsSummary"][0]["imageSetId"]
    request = {"datastoreId": DATASTORE_ID, "imageSetId": image_set_id}
    assert error_of(client.get_image_set_metadata, **request)[:2] == (409, "ConflictException")
    clock.advance(30)
    client.get_image_set_metadata(**request)


def test_while_a_thread_runs_a_job_the_job_is_in_progress_for_all_others(imports, monkeypatch):
    import moto.medicalimaging.import_run as run

    seen = []
    read = run.read_dicom_file

    def look_and_read(content):
        seen.append(imports.get(job_id)["jobStatus"])
        return read(content)

    imports.upload({"scans/a": dicom_file()})
    job_id = imports.start()["jobId"]
    monkeypatch.setattr(run, "read_dicom_file", look_and_read)
    assert imports.get(job_id)["jobStatus"] == "COMPLETED"
    assert seen == ["IN_PROGRESS"]


def test_a_bug_in_a_job_fails_it_once_and_not_every_later_request(imports, monkeypatch):
    import moto.medicalimaging.import_run as run

    imports.upload({"scans/a": dicom_file()})
    job_id = imports.start()["jobId"]
    monkeypatch.setattr(run, "read_dicom_file", lambda _: 1 / 0)
    assert error_of(imports.get, job_id)[0] == 500
    assert imports.get(job_id)["message"] == "Internal server error"


def test_all_settings_can_be_changed_over_http_and_on_the_command_line(server, local, imports):
    changes = {
        "import_duration": 2.5,
        "import_output_lag": 3,
        "import_quota": 1,
        "import_max_jobs": 4,
        "import_max_files": 5,
        "import_max_bytes": 6,
        "import_permission": "input-denied",
        "import_failure_rate": 0.5,
        "import_file_error_share": 0.25,
        "import_warned_in_success": False,
        "import_empty_output": False,
        "metadata_lag": 7,
    }
    body = json.dumps(changes).encode()
    reply = urllib3.PoolManager().request("POST", server.url + SETTINGS_PATH, body=body)
    assert changes.items() <= reply.json().items()
    flags = []
    for name, value in changes.items():
        option = name.replace("_", "-")
        flags += [f"--no-{option}"] if value is False else [f"--{option}", str(value)]
    assert changes.items() <= vars(_parser().parse_args(["serve", *flags])).items()


def test_a_job_ends_in_mock_aws_without_a_server(monkeypatch):
    import boto3

    from airflow_provider_healthimaging.local import backend, mock_aws

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        backend().create_datastore("tests", datastore_id=DATASTORE_ID)
        client, s3 = (boto3.client(name, region_name="us-east-1") for name in ("medical-imaging", "s3"))
        for name in ("input", "output"):
            s3.create_bucket(Bucket=name)
        job, output = Imports(client, s3).run({"scans/a": dicom_file()})
        assert (job["jobStatus"], len(output[SUCCESS])) == ("COMPLETED", 1)
