"""StartDICOMImportJob, GetDICOMImportJob and ListDICOMImportJobs: states, tokens, validation, pages."""

from __future__ import annotations

import time

import pytest
from botocore.exceptions import ClientError
from hypothesis import example, given
from hypothesis import strategies as st
from moto.medicalimaging.exceptions import ValidationError
from moto.medicalimaging.model_validation import validate_request

from .importing import DATASTORE_ID, MANIFEST, dicom_file

OTHER_ID = "e" * 32
REQUEST = {
    "datastoreId": DATASTORE_ID,
    "clientToken": "t",
    "dataAccessRoleArn": "arn:aws:iam::123456789012:role/import",
    "inputS3Uri": "s3://input/scans/",
    "outputS3Uri": "s3://output/reports",
}
MAPPING = {"studyInstanceUID": "1.1", "seriesInstanceUID": "1.1.1", "metadataFilePath": "a b/c.json"}


def mappings(*items):
    return {"dicomJsonMetadataImportConfiguration": {"dicomMetadataMappings": [*items]}}


def error_of(call, *args, **kwargs):
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    return caught.value.response["Error"]["Code"]


def test_a_job_is_submitted_then_in_progress_then_completed(local, clock, imports):
    local.settings.import_duration = 60
    imports.upload({"scans/a.dcm": dicom_file()})
    started = imports.start()
    assert (started["datastoreId"], started["jobStatus"]) == (DATASTORE_ID, "SUBMITTED")
    seen = []
    for _ in range(4):
        job = imports.get(started["jobId"])
        seen.append(
            (job["jobStatus"], job.get("endedAt"), bool(imports.output(job)), len(local.image_sets(DATASTORE_ID)))
        )
        clock.advance(31)
    assert started["submittedAt"] == job["submittedAt"]
    assert seen == [
        ("SUBMITTED", None, False, 0),
        ("IN_PROGRESS", None, False, 0),
        ("COMPLETED", job["endedAt"], True, 1),
        ("COMPLETED", job["endedAt"], True, 1),
    ]
    assert (job["endedAt"] - job["submittedAt"]).total_seconds() == 62


def test_a_look_at_jobs_while_they_run_runs_none_again(local, clock, imports, monkeypatch):
    from moto.medicalimaging import import_jobs

    local.settings.import_duration = 60
    imports.upload({"scans/a.dcm": dicom_file()})
    jobs = [imports.start()["jobId"] for _ in range(2)]
    run_import, ran = import_jobs.run_import, []

    def looked_at(backend, s3, job):
        ran.append(job.job_id)
        backend.import_jobs.run_due()
        return run_import(backend, s3, job)

    monkeypatch.setattr(import_jobs, "run_import", looked_at)
    clock.advance(61)
    assert [imports.get(job)["jobStatus"] for job in jobs] == ["COMPLETED"] * 2
    assert sorted(ran) == sorted(jobs)


def test_by_default_a_job_has_ended_at_the_first_look(imports):
    job, output = imports.run({"scans/a.dcm": dicom_file()})
    assert job["jobStatus"] == "COMPLETED"
    assert output[MANIFEST]["numberOfImportedFiles"] == 1


def test_the_image_sets_of_a_job_are_found_by_a_search_although_nobody_looked_at_the_job(imports, search):
    imports.upload({"scans/a.dcm": dicom_file()})
    imports.start()
    assert len(search()) == 1


def test_the_output_of_a_job_is_in_s3_although_nobody_asked_healthimaging(imports):
    imports.upload({"scans/a.dcm": dicom_file()})
    imports.start()
    assert imports.s3.list_objects_v2(Bucket="output")["KeyCount"] == 4


def test_get_gives_everything_that_start_was_given_and_the_folder_of_the_output(imports):
    given = {"jobName": "daily/1", "importConfiguration": mappings(MAPPING), "outputS3Uri": "s3://output/reports/"}
    job, _ = imports.run({"scans/a.dcm": dicom_file()}, **given)
    folder = f"s3://output/reports/{DATASTORE_ID}-DicomImport-{job['jobId']}/"
    assert {name: value for name, value in job.items() if name not in {"submittedAt", "endedAt", "jobId"}} == {
        **{name: REQUEST[name] for name in ("datastoreId", "dataAccessRoleArn", "inputS3Uri")},
        **given,
        "jobStatus": "COMPLETED",
        "outputS3Uri": folder,
    }


@pytest.mark.parametrize("uri", ["s3://output", "s3://output/", "s3://output/a", "s3://output/a/"])
def test_the_folder_of_the_output_is_under_any_output_uri(imports, uri):
    job, output = imports.run(outputS3Uri=uri)
    assert job["outputS3Uri"] == f"{uri.rstrip('/')}/{DATASTORE_ID}-DicomImport-{job['jobId']}/"
    assert MANIFEST in output


def test_the_same_token_and_request_is_the_same_job_also_after_its_end(local, clock, imports):
    local.settings.import_duration = 60
    first = imports.start(clientToken="daily-1", jobName="a")
    again = imports.start(clientToken="daily-1", jobName="a")
    assert (again["jobId"], again["submittedAt"]) == (first["jobId"], first["submittedAt"])
    clock.advance(61)
    assert imports.start(clientToken="daily-1", jobName="a")["jobStatus"] == "COMPLETED"
    assert len(imports.client.list_dicom_import_jobs(datastoreId=DATASTORE_ID)["jobSummaries"]) == 1


def test_the_same_token_with_another_request_is_a_conflict_and_starts_nothing(local, imports):
    local.create_datastore("other", datastore_id=OTHER_ID)
    imports.start(clientToken="daily-1")
    for change in ({"jobName": "b"}, {"inputS3Uri": "s3://input/other/"}, {"datastoreId": OTHER_ID}):
        assert error_of(imports.start, clientToken="daily-1", **change) == "ConflictException"
    assert len(imports.client.list_dicom_import_jobs(datastoreId=DATASTORE_ID)["jobSummaries"]) == 1


def test_a_start_whose_answer_was_lost_is_found_again_with_its_token(local, imports, connect):
    local.settings.update({"cut_rate": 1, "cut_where": "before"})
    with pytest.raises(Exception, match="Connection was closed"):
        imports.start(clientToken="daily-1")
    local.settings.cut_rate = 0
    job = imports.start(clientToken="daily-1")
    summaries = imports.client.list_dicom_import_jobs(datastoreId=DATASTORE_ID)["jobSummaries"]
    assert [each["jobId"] for each in summaries] == [job["jobId"]]


def test_jobs_are_listed_newest_first_in_pages_and_by_status(local, clock, imports):
    local.create_datastore("other", datastore_id=OTHER_ID)
    imports.start(datastoreId=OTHER_ID)
    local.settings.import_duration = 60
    ids = []
    for _ in range(5):
        ids.append(imports.start()["jobId"])
        clock.advance(15)

    def listed(**query):
        pages = imports.client.get_paginator("list_dicom_import_jobs").paginate(datastoreId=DATASTORE_ID, **query)
        return [job for page in pages for job in page["jobSummaries"]]

    assert [job["jobId"] for job in listed(PaginationConfig={"PageSize": 2})] == ids[::-1]
    by_status = {status: [job["jobId"] for job in listed(jobStatus=status)] for status in ("SUBMITTED", "IN_PROGRESS")}
    assert by_status == {"SUBMITTED": [ids[4], ids[3]], "IN_PROGRESS": [ids[2]]}
    (newest, oldest) = listed(jobStatus="COMPLETED")
    assert [newest["jobId"], oldest["jobId"]] == [ids[1], ids[0]]
    assert oldest.keys() == {
        "jobId", "jobName", "jobStatus", "datastoreId", "dataAccessRoleArn", "submittedAt", "endedAt"
    }  # fmt: skip
    assert listed(jobStatus="FAILED") == []


def test_a_page_token_is_valid_only_for_the_same_request(imports):
    for _ in range(2):
        imports.start()
    page = imports.client.list_dicom_import_jobs(datastoreId=DATASTORE_ID, maxResults=1)
    wrong = {"datastoreId": DATASTORE_ID, "nextToken": page["nextToken"], "jobStatus": "COMPLETED"}
    assert error_of(imports.client.list_dicom_import_jobs, **wrong) == "ValidationException"


@pytest.mark.parametrize(
    ("operation", "query"),
    [
        ("get_dicom_import_job", {"jobId": "f" * 32}),
        ("get_dicom_import_job", {"datastoreId": OTHER_ID}),
        ("list_dicom_import_jobs", {"datastoreId": OTHER_ID}),
    ],
)
def test_a_job_or_data_store_that_does_not_exist_is_not_found(imports, operation, query):
    job = {"jobId": imports.start()["jobId"]} if operation == "get_dicom_import_job" else {}
    call = getattr(imports.client, operation)
    assert error_of(call, **{"datastoreId": DATASTORE_ID, **job, **query}) == "ResourceNotFoundException"


def test_a_job_of_another_data_store_is_not_found(local, imports):
    local.create_datastore("other", datastore_id=OTHER_ID)
    job_id = imports.start(datastoreId=OTHER_ID)["jobId"]
    assert error_of(imports.get, job_id) == "ResourceNotFoundException"


def test_a_data_store_with_an_unfinished_job_cannot_be_deleted_and_a_deleted_one_starts_none(local, clock, imports):
    local.settings.import_duration = 60
    imports.start()
    assert error_of(imports.client.delete_datastore, datastoreId=DATASTORE_ID) == "ConflictException"
    clock.advance(61)
    imports.client.delete_datastore(datastoreId=DATASTORE_ID)
    assert error_of(imports.start) == "ResourceNotFoundException"


@pytest.mark.parametrize(
    "change",
    [
        {"clientToken": "a b"},
        {"clientToken": "t" * 65},
        {"jobName": "näme"},
        {"jobName": "n" * 65},
        {"dataAccessRoleArn": "arn:aws:iam::123456789012:user/someone"},
        {"dataAccessRoleArn": "arn:aws:iam::123456789012:role/" + "r" * 2048},
        {"inputS3Uri": "https://input/scans/"},
        {"inputS3Uri": "s3://In/scans/"},
        {"outputS3Uri": "s3://output/" + "a" * 1024},
        {"inputOwnerAccountId": "12345678901x"},
        {"inputOwnerAccountId": "1234567890123"},
        {"importConfiguration": mappings(*[MAPPING] * 1001)},
        {"importConfiguration": mappings({**MAPPING, "studyInstanceUID": "1.x"})},
        {"importConfiguration": mappings({**MAPPING, "metadataFilePath": "a\n"})},
        {"datastoreId": "d" * 31},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_invalid_member_is_a_validation_error_and_starts_nothing(imports, change):
    assert error_of(imports.start, **change) == "ValidationException"
    assert imports.client.list_dicom_import_jobs(datastoreId=DATASTORE_ID)["jobSummaries"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{",
        {**REQUEST, "clientToken": None},
        {**REQUEST, "inputS3Uri": 7},
        {**REQUEST, "importConfiguration": {}},
        {**REQUEST, "importConfiguration": mappings()},
        {**REQUEST, "importConfiguration": mappings("x")},
        {**REQUEST, "importConfiguration": {"dicomJsonMetadataImportConfiguration": {}}},
        {name: value for name, value in REQUEST.items() if name != "dataAccessRoleArn"},
    ],
)
def test_a_request_that_botocore_would_not_send_is_a_validation_error(post, body):
    reply = post(body, path=f"/startDICOMImportJob/datastore/{DATASTORE_ID}")
    assert (reply.status, reply.error) == (400, "ValidationException")


def test_a_request_without_a_configuration_gives_none(imports):
    assert "importConfiguration" not in imports.get(imports.start()["jobId"])


@pytest.mark.parametrize("query", [{"jobStatus": "DONE"}, {"maxResults": 51}, {"nextToken": "x"}])
def test_an_invalid_list_is_a_validation_error(imports, query):
    assert error_of(imports.client.list_dicom_import_jobs, datastoreId=DATASTORE_ID, **query) == "ValidationException"


@given(st.text(st.characters(codec="ascii"), min_size=1, max_size=8))
@example(" a")
@example("a ")
@example("a  b")
def test_a_metadata_path_is_valid_as_the_pattern_of_the_model_says(path):
    def is_valid(text):
        try:
            validate_request(
                "StartDICOMImportJob",
                {**REQUEST, "importConfiguration": mappings({**MAPPING, "metadataFilePath": text})},
            )
        except ValidationError:
            return False
        return True

    printable = all(" " <= character <= "~" for character in path)
    assert is_valid(path) == (printable and path == path.strip(" "))


def test_a_long_invalid_metadata_path_is_rejected_at_once():
    path = "a" * 1000 + "\n"
    began = time.process_time()
    with pytest.raises(ValidationError):
        validate_request(
            "StartDICOMImportJob", {**REQUEST, "importConfiguration": mappings({**MAPPING, "metadataFilePath": path})}
        )
    assert time.process_time() - began < 5
