"""What an earlier task copied is kept when another task adds to it, and one folder has one copy."""

from __future__ import annotations

import pytest

from airflow_provider_healthimaging.exceptions import ExportFailedError
from tests.copies import DATASTORE_ID, EVERYTHING, RETRIEVALS, copy, load, manifests, objects

PLAIN = "1.2.840.10008.1.2.1"


@pytest.fixture
def given(store):
    return load(store, "CT_small.dcm")


def folder(given):
    return f"{given[0]['imageSetId']}/v1/"


def test_frames_are_added_to_dicom_files_in_whatever_transfer_syntax_they_are(server, bucket, given):
    copy(given, content=["dicom"], transfer_syntax=PLAIN)
    before = objects(bucket)
    server.calls.reset()

    copy(given, content=["frames"])

    assert [server.calls.count(each) for each in RETRIEVALS] == [1, 0, 1]
    (manifest,) = manifests(bucket)
    assert (manifest["transfer_syntax"], manifest["content"]) == (PLAIN, ["dicom", "frames"])
    assert objects(bucket)[folder(given) + "dicom/00001.dcm"] == before[folder(given) + "dicom/00001.dcm"]


@pytest.mark.parametrize("content", [["metadata"], ["metadata", "dicom"]], ids=",".join)
def test_a_complete_copy_stays_complete_while_more_is_added(server, store, bucket, given, content):
    copy(given, content=content)
    before = objects(bucket)[folder(given) + "_manifest.json"]
    store.settings.missing_object_share = 1

    with pytest.raises(ExportFailedError):
        copy(given, content=["frames"])

    assert objects(bucket)[folder(given) + "_manifest.json"] == before


def test_dicom_files_that_were_copied_in_time_stay_valid_when_a_newer_version_comes(store, bucket, given):
    copy(given, content=["metadata", "dicom"])
    store.update_image_set(DATASTORE_ID, given[0]["imageSetId"])

    copy(given, content=EVERYTHING)

    (manifest,) = manifests(bucket)
    assert (manifest["version"], manifest["content"]) == (1, list(EVERYTHING))


def test_a_dicom_file_of_a_newer_version_is_not_added_in_place_of_one_that_was_deleted(store, bucket, given):
    copy(given, content=["metadata", "dicom"])
    store.update_image_set(DATASTORE_ID, given[0]["imageSetId"])
    bucket.Object(f"copies/{folder(given)}dicom/00001.dcm").delete()

    with pytest.raises(ExportFailedError) as failed:
        copy(given, content=["frames"])

    assert failed.value.errors == {"ImageSetChangedError": 1}


def test_the_newest_version_by_number_and_without_is_copied_once(server, bucket, given):
    server.calls.reset()
    copied = copy([given[0], {**given[0], "version": None}, given[0]], content=EVERYTHING)

    assert [record["imageSetId"] for record in copied] == [given[0]["imageSetId"]]
    assert copied.summary["image_sets"] == 1
    assert [server.calls.count(each) for each in RETRIEVALS] == [1, 1, 1]


def test_two_versions_of_an_image_set_are_two_copies(store, bucket, given):
    store.update_image_set(DATASTORE_ID, given[0]["imageSetId"])
    copied = copy([given[0], {**given[0], "version": 2.0}], content=["metadata", "frames"])

    assert [record["version"] for record in copied] == [1, 2]
    assert sorted(manifest["version"] for manifest in manifests(bucket)) == [1, 2]


def test_a_version_that_is_gone_fails_or_is_skipped(bucket, given):
    gone = [{**given[0], "version": 9}]
    with pytest.raises(ExportFailedError) as failed:
        copy(gone, content=["metadata"])
    assert failed.value.errors == {"ImageSetNotFoundError": 1}
    assert copy(gone, content=["metadata"], on_missing="skip") == []
    assert objects(bucket) == {}


def test_a_folder_does_not_take_image_sets_of_two_data_stores(bucket, given):
    other = {**given[0], "datastoreId": "e" * 32}
    copy(given, content=["metadata"])
    with pytest.raises(ExportFailedError) as failed:
        copy([other], content=["metadata"])
    assert failed.value.errors == {"InvalidArgumentError": 1}


def test_a_task_does_not_put_image_sets_of_two_data_stores_into_one_folder(bucket, given):
    with pytest.raises(ExportFailedError) as failed:
        copy([*given, {**given[0], "datastoreId": "e" * 32}], content=["metadata"], max_workers=1)
    assert failed.value.errors == {"InvalidArgumentError": 1}
    assert len(manifests(bucket)) == 1


@pytest.mark.parametrize("nothing", [[], None, ""])
def test_a_search_that_found_nothing_is_nothing_to_copy(server, store, bucket, nothing):
    server.calls.reset()
    copied = copy(nothing)
    assert (copied, copied.summary["image_sets"], len(server.calls)) == ([], 0, 0)
