"""The operations on data stores and on single image sets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from moto.core.exceptions import JsonRESTError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def code(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


def test_a_created_data_store_can_be_read_listed_and_searched(client):
    created = client.create_datastore(datastoreName="a/b#1")
    assert created["datastoreStatus"] == "ACTIVE"
    datastore_id = created["datastoreId"]
    got = client.get_datastore(datastoreId=datastore_id)["datastoreProperties"]
    assert got["datastoreName"] == "a/b#1"
    assert got["datastoreArn"] == f"arn:aws:medical-imaging:us-east-1:123456789012:datastore/{datastore_id}"
    listed = {store["datastoreId"]: store for store in client.list_datastores()["datastoreSummaries"]}
    assert got == {**listed[datastore_id], "losslessStorageFormat": "HTJ2K"}
    assert client.search_image_sets(datastoreId=datastore_id)["imageSetsMetadataSummaries"] == []


def test_the_same_client_token_creates_one_data_store(client):
    first = client.create_datastore(datastoreName="a", clientToken="t")
    again = client.create_datastore(datastoreName="a", clientToken="t")
    assert first["datastoreId"] == again["datastoreId"]
    assert client.create_datastore(datastoreName="a")["datastoreId"] != first["datastoreId"]
    assert code(client.create_datastore, datastoreName="b", clientToken="t") == "ConflictException"


@pytest.mark.parametrize("name", ["a b", "é", "x" * 257])
def test_a_data_store_name_is_checked(client, name):
    assert code(client.create_datastore, datastoreName=name) == "ValidationException"


def test_data_stores_are_listed_oldest_first_in_pages_and_by_status(local, client, datastore_id):
    ids = [datastore_id, *(local.create_datastore(f"s{n}").datastore_id for n in range(4))]
    client.delete_datastore(datastoreId=ids[2])

    def listed(**filters):
        pages = client.get_paginator("list_datastores").paginate(**filters, PaginationConfig={"PageSize": 2})
        return [store["datastoreId"] for page in pages for store in page["datastoreSummaries"]]

    assert listed() == ids
    assert listed(datastoreStatus="ACTIVE") == ids[:2] + ids[3:]
    assert listed(datastoreStatus="DELETED") == [ids[2]]
    assert code(client.list_datastores, datastoreStatus="GONE") == "ValidationException"
    assert code(client.list_datastores, nextToken="x") == "ValidationException"


def test_only_an_empty_data_store_can_be_deleted_and_then_it_is_not_found(local, put, client, datastore_id):
    image_set_id = put()
    assert code(client.delete_datastore, datastoreId=datastore_id) == "ConflictException"
    local.delete_image_set(datastore_id, image_set_id)
    assert client.delete_datastore(datastoreId=datastore_id)["datastoreStatus"] == "DELETED"
    got = client.get_datastore(datastoreId=datastore_id)["datastoreProperties"]
    assert got["datastoreStatus"] == "DELETED"
    for call in (client.search_image_sets, client.delete_datastore):
        assert code(call, datastoreId=datastore_id) == "ResourceNotFoundException"


def test_an_update_raises_version_and_updated_at_and_keeps_created_at(local, put, client, datastore_id):
    image_set_id = put(created_at=NOON, dicom_tags={"DICOMPatientId": "p"})
    local.update_image_set(
        datastore_id, image_set_id, updated_at=NOON + SECOND, dicom_tags={"DICOMStudyId": "s"}, is_primary=False
    )
    (hit,) = client.search_image_sets(datastoreId=datastore_id)["imageSetsMetadataSummaries"]
    assert (hit["version"], hit["createdAt"], hit["updatedAt"]) == (2, NOON, NOON + SECOND)
    assert hit["DICOMTags"] == {"DICOMPatientId": "p", "DICOMStudyId": "s"}
    assert hit["isPrimary"] is False


def test_every_version_of_an_image_set_can_be_read(local, put, client, datastore_id):
    image_set_id = put(created_at=NOON)
    local.update_image_set(datastore_id, image_set_id, updated_at=NOON + SECOND)
    where = {"datastoreId": datastore_id, "imageSetId": image_set_id}
    current = client.get_image_set(**where)
    assert (current["versionId"], current["updatedAt"]) == ("2", NOON + SECOND)
    assert (current["imageSetState"], current["imageSetWorkflowStatus"]) == ("ACTIVE", "UPDATED")
    assert current["imageSetArn"].endswith(f":datastore/{datastore_id}/imageset/{image_set_id}")
    first = client.get_image_set(**where, versionId="1")
    assert (first["versionId"], first["updatedAt"], first["imageSetWorkflowStatus"]) == ("1", NOON, "CREATED")
    assert code(client.get_image_set, **where, versionId="3") == "ResourceNotFoundException"
    where["imageSetId"] = "e" * 32
    assert code(client.get_image_set, **where) == "ResourceNotFoundException"
    where["imageSetId"] = "E" * 32
    assert code(client.get_image_set, **where) == "ValidationException"


def test_versions_are_listed_newest_first_in_pages(local, put, client, datastore_id):
    image_set_id = put()
    for _ in range(4):
        local.update_image_set(datastore_id, image_set_id)
    pages = client.get_paginator("list_image_set_versions").paginate(
        datastoreId=datastore_id, imageSetId=image_set_id, PaginationConfig={"PageSize": 2}
    )
    versions = [version for page in pages for version in page["imageSetPropertiesList"]]
    assert [version["versionId"] for version in versions] == ["5", "4", "3", "2", "1"]
    assert {version["ImageSetWorkflowStatus"] for version in versions[:4]} == {"UPDATED"}
    assert versions[4]["ImageSetWorkflowStatus"] == "CREATED"


def test_an_image_set_that_is_put_again_replaces_the_old_one(put, search, client, datastore_id):
    image_set_id = put(created_at=NOON, dicom_tags={"DICOMPatientId": "old"})
    assert search(sort="createdAt ASC") == [image_set_id]
    put(image_set_id=image_set_id, created_at=NOON + SECOND, dicom_tags={"DICOMPatientId": "new"})
    assert search(DICOMPatientId="old") == []
    assert search(createdAt=NOON + SECOND) == [image_set_id]
    assert search(sort="createdAt ASC") == [image_set_id]
    versions = client.list_image_set_versions(datastoreId=datastore_id, imageSetId=image_set_id)
    assert len(versions["imageSetPropertiesList"]) == 1


def test_a_deleted_image_set_is_not_found(local, put, search, datastore_id):
    gone, stays = put(), put()
    for sort in ("createdAt ASC", "updatedAt DESC", "DICOMStudyDateAndTime ASC"):
        assert len(search(sort=sort)) == 2
    local.delete_image_set(datastore_id, gone)
    for sort in ("createdAt ASC", "updatedAt DESC", "DICOMStudyDateAndTime ASC"):
        assert search(sort=sort) == [stays]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"created_at": NOON.replace(tzinfo=None)}, ValueError),
        ({"created_at": NOON, "updated_at": NOON.replace(tzinfo=None)}, ValueError),
        ({"dicom_tags": {"PatientID": "p"}}, ValueError),
        ({"dicom_tags": {"DICOMPatientId": 1}}, TypeError),
        ({"dicom_tags": {"DICOMSeriesNumber": "1"}}, TypeError),
    ],
)
def test_an_image_set_with_invalid_values_cannot_be_put(put, search, fields, error):
    with pytest.raises(error):
        put(**fields)
    assert search() == []


def test_all_sort_orders_are_right_after_many_changes(local, put, search, datastore_id):
    ids = [put(created_at=NOON + n * SECOND) for n in range(300)]
    assert search(sort="createdAt ASC") == ids
    for n in range(0, 300, 3):
        local.update_image_set(datastore_id, ids[n], updated_at=NOON + (1000 + n) * SECOND)
    for n in range(1, 300, 3):
        local.delete_image_set(datastore_id, ids[n])
    ids += [put(created_at=NOON - n * SECOND) for n in range(1, 6)]
    left = [image_set_id for n, image_set_id in enumerate(ids) if n >= 300 or n % 3 != 1]
    assert search(sort="createdAt ASC") == left[:-6:-1] + left[:-5]
    assert search(sort="updatedAt DESC")[:100] == ids[:300:3][::-1]


def test_two_data_stores_cannot_have_the_same_id(local, datastore_id):
    with pytest.raises(JsonRESTError, match=datastore_id):
        local.create_datastore("again", datastore_id=datastore_id)


def test_a_time_without_a_time_zone_is_an_error(put):
    with pytest.raises(ValueError, match="aware"):
        put(created_at=NOON.replace(tzinfo=None))


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"{}"])
def test_an_invalid_request_creates_no_data_store(post, local, body):
    reply = post(body, path="/datastore")
    assert (reply.status, reply.error) == (400, "ValidationException")
    assert len(local.datastores) == 1
