"""Requests that the API Reference does not allow are rejected, with its error codes and statuses."""

from __future__ import annotations

import pytest
import urllib3
from botocore.exceptions import ClientError

from .conftest import SIGNED

TIME = {"createdAt": 1.7e9}
STUDY = {"DICOMStudyDate": "20240229"}
EQUAL = {"operator": "EQUAL", "values": [TIME]}
SORT = {"sortField": "createdAt", "sortOrder": "ASC"}


def one(operator, *values):
    return {"filters": [{"operator": operator, "values": list(values)}]}


INVALID = {
    "text that is not JSON": b"{",
    "a list": [],
    "a string": "x",
    "an unknown member": {"filter": [EQUAL]},
    "an empty list of filters": {"filters": []},
    "three filters": {"filters": [EQUAL] * 3},
    "filters that are not a list": {"filters": EQUAL},
    "a filter that is not a structure": {"filters": ["x"]},
    "a filter without operator": {"filters": [{"values": [TIME]}]},
    "a filter without values": {"filters": [{"operator": "EQUAL"}]},
    "an unknown member of a filter": {"filters": [{**EQUAL, "not": True}]},
    "an unknown operator": one("LIKE", TIME),
    "an operator that is not text": one(["EQUAL"], TIME),
    "no values": one("EQUAL"),
    "two values for EQUAL": one("EQUAL", TIME, TIME),
    "one value for BETWEEN": one("BETWEEN", TIME),
    "three values": one("BETWEEN", TIME, TIME, TIME),
    "a value that is not a structure": one("EQUAL", 1),
    "a value without members": one("EQUAL", {}),
    "a value with two members": one("EQUAL", {**TIME, "isPrimary": True}),
    "a value of an unknown attribute": one("EQUAL", {"DICOMSeriesModality": "CT"}),
    "a null attribute": one("EQUAL", {"createdAt": None}),
    "BETWEEN two attributes": one("BETWEEN", TIME, {"updatedAt": 1.8e9}),
    "BETWEEN patient ids": one("BETWEEN", {"DICOMPatientId": "a"}, {"DICOMPatientId": "b"}),
    "BETWEEN booleans": one("BETWEEN", {"isPrimary": False}, {"isPrimary": True}),
    "BETWEEN in descending order": one("BETWEEN", {"createdAt": 1.8e9}, TIME),
    "BETWEEN studies in descending order": one(
        "BETWEEN", {"DICOMStudyDateAndTime": STUDY}, {"DICOMStudyDateAndTime": {"DICOMStudyDate": "20240228"}}
    ),
    "an unknown sort field": {"sort": {**SORT, "sortField": "imageSetId"}},
    "an unknown sort order": {"sort": {**SORT, "sortOrder": "asc"}},
    "a sort without order": {"sort": {"sortField": "createdAt"}},
    "a sort without field": {"sort": {"sortOrder": "ASC"}},
    "an unknown member of sort": {"sort": {**SORT, "nulls": "last"}},
    "a sort that is a list": {"sort": [SORT]},
}
for uid in ("DICOMStudyInstanceUID", "DICOMSeriesInstanceUID"):
    INVALID |= {f"{uid} {value!r}": one("EQUAL", {uid: value}) for value in ("", "1.2x", "1" * 513, 1, "1.2\n")}
for text in ("DICOMPatientId", "DICOMAccessionNumber", "DICOMStudyId"):
    INVALID |= {f"{text} {value!r:.9}": one("EQUAL", {text: value}) for value in ("x" * 513, 1, ["x"])}
for time in ("createdAt", "updatedAt"):
    INVALID |= {f"{time} {value!r}": one("EQUAL", {time: value}) for value in ("noon", "", True, [1], 1e300)}
INVALID |= {f"{value} as time": b'{"filters":[{"operator":"EQUAL","values":[{"createdAt":%s}]}]}' % value.encode()
            for value in ("NaN", "Infinity", "1e999")}  # fmt: skip
INVALID["nested without an end"] = b"[" * 100_000
INVALID |= {f"isPrimary {value!r}": one("EQUAL", {"isPrimary": value}) for value in ("true", 1)}
INVALID |= {
    f"study {moment!r}": one("EQUAL", {"DICOMStudyDateAndTime": moment})
    for moment in (
        "20240229",
        {},
        {"DICOMStudyTime": "10"},
        {**STUDY, "zone": "UTC"},
        *(
            {"DICOMStudyDate": date}
            for date in ("", "2024", "2024-02-29", "20240230", "2024022x", "٢٠٢٤٠٢٢٩", 20240229)
        ),
        *({**STUDY, "DICOMStudyTime": time} for time in ("1", "101", "24", "1060", "10:15", "101530.x", "-1", 10)),
    )
}


@pytest.mark.parametrize("body", INVALID.values(), ids=INVALID)
def test_invalid_criteria_are_rejected(post, body):
    assert post(body)[:2] == (400, "ValidationException")


@pytest.mark.parametrize("size", ["0", "51", "-1", "", "ten", "1.5", "\u0661", "1" * 5000])
def test_a_page_has_one_to_fifty_image_sets(post, size):
    assert post(maxResults=size)[:2] == (400, "ValidationException")


@pytest.mark.parametrize("bad", ["d" * 31, "d" * 33, "D" * 32, "d" * 31 + "-", "%2e" * 10, "d" * 32 + "%0a"])
def test_a_data_store_id_is_thirty_two_letters_or_digits(post, bad):
    assert post(datastore_id=bad)[:2] == (400, "ValidationException")


def test_a_setting_decides_whether_an_unknown_data_store_is_not_found_or_denied(local, post):
    assert post(datastore_id="e" * 32)[:2] == (404, "ResourceNotFoundException")
    local.settings.unknown_datastore = "access-denied"
    assert post(datastore_id="e" * 32)[:2] == (403, "AccessDeniedException")


ARN = f"arn:aws:medical-imaging:us-east-1:123456789012:datastore/{'d' * 32}"
IMAGE_SET = {"datastoreId": "d" * 32, "imageSetId": "e" * 32}
REVERTED = {"revertToVersionId": "1"}
COPIED = {"datastoreId": "d" * 32, "sourceImageSetId": "e" * 32}


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("copy_image_set", {**COPIED, "copyImageSetInformation": {"sourceImageSet": {"latestVersionId": "1"}}}),
        ("delete_image_set", IMAGE_SET),
        ("update_image_set_metadata", {**IMAGE_SET, "latestVersionId": "1", "updateImageSetMetadataUpdates": REVERTED}),
        ("tag_resource", {"resourceArn": ARN, "tags": {"a": "b"}}),
        ("untag_resource", {"resourceArn": ARN, "tagKeys": ["a"]}),
        ("list_tags_for_resource", {"resourceArn": ARN}),
    ],
)
def test_an_operation_that_is_not_there_is_refused_by_an_error_of_the_service(client, operation, parameters):
    with pytest.raises(client.exceptions.ValidationException, match="does not have this operation"):
        getattr(client, operation)(**parameters)


DATASTORE = f"/datastore/{'d' * 32}"
STUDY_OF_DICOMWEB = f"{DATASTORE}/studies/1.1"
INSTANCE = f"{STUDY_OF_DICOMWEB}/series/1.2/instances/1.3"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{DATASTORE}/studies"),
        ("POST", STUDY_OF_DICOMWEB),
        ("GET", f"{STUDY_OF_DICOMWEB}/series/1.2/metadata"),
        ("GET", f"{INSTANCE}/frames/1"),
        ("POST", INSTANCE),
        ("GET", f"{DATASTORE}/searchImageSets"),
        ("PUT", f"{DATASTORE}/searchImageSets"),
        ("DELETE", "/datastore"),
    ],
)
def test_a_request_that_is_no_operation_is_refused_by_an_error_of_the_service(server, local, method, path):
    reply = urllib3.request(method, server.url + path, headers=SIGNED)
    assert (reply.status, reply.headers["x-amzn-ErrorType"]) == (400, "ValidationException")
    assert "does not have this operation" in reply.json()["message"]


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, {"clientToken": "a", "losslessStorageFormat": ["HTJ2K"]}, {"datastoreName": "a"}]
)
def test_an_invalid_data_store_is_rejected(post, body):
    assert post(body, path="/datastore")[:2] == (400, "ValidationException")


def test_a_reset_resets_the_settings(local):
    local.settings.unknown_datastore = "access-denied"
    local.reset()
    assert local.settings.unknown_datastore == "not-found"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("Validation", 400),
        ("ServiceQuotaExceeded", 402),
        ("AccessDenied", 403),
        ("ResourceNotFound", 404),
        ("Conflict", 409),
        ("Throttling", 429),
        ("InternalServer", 500),
    ],
)
def test_boto3_raises_each_error_by_its_name(local, client, datastore_id, monkeypatch, *, kind, status):
    from moto.medicalimaging import exceptions

    def fail(*_, **__):
        raise getattr(exceptions, f"{kind}Error")("it failed")

    monkeypatch.setattr(local, "search_image_sets", fail)
    with pytest.raises(ClientError) as caught:
        client.search_image_sets(datastoreId=datastore_id)
    assert type(caught.value) is getattr(client.exceptions, f"{kind}Exception")
    assert caught.value.response["Error"] == {"Code": f"{kind}Exception", "Message": "it failed"}
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_messages_quote_the_invalid_value_so_that_tests_can_detect_a_client_that_shows_them(post):
    assert "CANARY" in post(one("EQUAL", {"DICOMStudyInstanceUID": "CANARY"})).body["message"]
