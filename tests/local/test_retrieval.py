"""Which frames and instances are found, what is refused, and the faults of these calls."""

from __future__ import annotations

import http.client
import sys

import boto3
import numpy as np
import pytest
import requests
from botocore.exceptions import ClientError, ResponseStreamingError

from airflow_provider_healthimaging.local import backend, mock_aws

from .conftest import HANG_SECONDS, KEYS, SIGNED
from .importing import DATASTORE_ID, Imports, dicom_file
from .stored import AS_EXPLICIT, EXPLICIT, HTJ2K, image, import_one, only_instance, parsed, pixels, read_metadata
from .stored import read_frame as read_one_frame

UIDS = ("1.1", "1.1.1", "1.1.1.1")
ARRAY = np.arange(600, dtype=np.uint16).reshape(1, 20, 30)


@pytest.fixture
def image_set_id(imports):
    return import_one(imports, image(ARRAY))


@pytest.fixture
def frame_id(client, image_set_id):
    _, instance = only_instance(read_metadata(client, image_set_id))
    return instance["ImageFrames"][0]["ID"]


def code(call, *args, **kwargs):
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    error = caught.value.response
    return error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"]


NOT_FOUND = (404, "ResourceNotFoundException")


def test_a_frame_is_found_in_its_image_set_only(client, local, put, image_set_id, frame_id):
    assert read_one_frame(client, image_set_id, frame_id)
    assert code(read_one_frame, client, image_set_id, "0" * 32) == NOT_FOUND
    assert code(read_one_frame, client, put(), frame_id) == NOT_FOUND
    assert code(read_one_frame, client, "e" * 32, frame_id) == NOT_FOUND
    assert code(read_one_frame, client, image_set_id, "not an id")[1] == "ValidationException"


def test_each_version_has_its_own_frames_and_all_can_be_read(imports, client, image_set_id, frame_id):
    assert import_one(imports, image(ARRAY + 1)) == image_set_id
    _, first = only_instance(read_metadata(client, image_set_id, versionId="1"))
    _, second = only_instance(read_metadata(client, image_set_id, versionId="2"))
    _, latest = only_instance(read_metadata(client, image_set_id))
    assert first["ImageFrames"][0]["ID"] == frame_id != second["ImageFrames"][0]["ID"]
    assert latest == second
    lowest = [each["ImageFrames"][0]["MinPixelValue"] for each in (first, second)]
    assert lowest == [0, 1]
    assert read_one_frame(client, image_set_id, frame_id)


def test_a_frame_is_found_in_a_version_whose_attributes_changed(local, client, datastore_id, image_set_id, frame_id):
    local.update_image_set(datastore_id, image_set_id)
    assert read_one_frame(client, image_set_id, frame_id)
    assert code(read_one_frame, client, image_set_id, "0" * 32) == NOT_FOUND


def test_an_instance_is_found_by_all_its_uids(dicomweb, image_set_id):
    assert dicomweb(UIDS, image_set_id).status == 200
    for wrong in [("1.2", *UIDS[1:]), (UIDS[0], "1.2", UIDS[2]), (*UIDS[:2], "1.2")]:
        assert dicomweb(wrong, image_set_id)[:2] == NOT_FOUND
    assert dicomweb(UIDS, "e" * 32)[:2] == NOT_FOUND
    assert dicomweb(UIDS, image_set_id, datastore_id="e" * 32)[:2] == NOT_FOUND


def test_an_instance_outside_of_the_primary_image_sets_needs_the_id_of_its_image_set(imports, dicomweb, image_set_id):
    other = import_one(imports, image(ARRAY + 1, PatientID="someone else"))
    assert other == image_set_id, "a value that was missing does not conflict"
    conflicting = import_one(imports, image(ARRAY + 2, PatientID="a third"))
    assert conflicting != image_set_id
    assert np.array_equal(pixels(dicomweb(UIDS, None, AS_EXPLICIT).body), ARRAY + 1)
    assert np.array_equal(pixels(dicomweb(UIDS, conflicting, AS_EXPLICIT).body), ARRAY + 2)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/dicom; transfer-syntax=*", HTJ2K),
        (f"application/dicom;transfer-syntax={HTJ2K}", HTJ2K),
        (f'application/dicom; transfer-syntax="{EXPLICIT}"', EXPLICIT),
        ("application/dicom", EXPLICIT),
        ("*/*", EXPLICIT),
        ("text/html, application/dicom; transfer-syntax=*", HTJ2K),
    ],
)
def test_the_header_accept_chooses_the_transfer_syntax(dicomweb, image_set_id, accept, expected):
    reply = dicomweb(UIDS, image_set_id, accept)
    assert (reply.status, reply.type) == (200, f"application/dicom; transfer-syntax={expected}")
    assert parsed(reply.body).file_meta.TransferSyntaxUID == expected


@pytest.mark.parametrize(
    "accept",
    [
        "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.70",
        "application/dicom+json",
        "image/png",
        'multipart/related; type="application/dicom"; transfer-syntax=*',
    ],
)
def test_another_format_is_not_acceptable(dicomweb, image_set_id, accept):
    assert dicomweb(UIDS, image_set_id, accept)[:2] == (406, "NotAcceptableException")


def test_an_instance_without_pixels_comes_back_as_it_was_and_has_no_frames(imports, client, dicomweb):
    content = dicom_file(Modality="SR", syntax="1.2.840.10008.1.2.1")
    image_set_id = import_one(imports, content)
    _, instance = only_instance(read_metadata(client, image_set_id))
    assert instance["StoredTransferSyntaxUID"] == EXPLICIT
    assert "ImageFrames" not in instance
    for accept in ("application/dicom; transfer-syntax=*", AS_EXPLICIT):
        assert dicomweb(UIDS, image_set_id, accept).body == content


def test_an_image_set_that_a_test_puts_has_no_invented_pixels(client, put, dicomweb):
    from moto.medicalimaging.image_sets import Instance

    tags = {"DICOMStudyInstanceUID": "1.1", "DICOMSeriesInstanceUID": "1.1.1"}
    image_set_id = put(dicom_tags=tags, instances=[Instance("1.1.1.1")])
    _, instance = only_instance(read_metadata(client, image_set_id))
    assert instance == {"DICOM": {"SOPInstanceUID": "1.1.1.1"}}
    assert code(read_one_frame, client, image_set_id, "0" * 32) == NOT_FOUND
    assert dicomweb(UIDS, image_set_id)[:2] == NOT_FOUND


def test_without_the_codec_pixels_are_refused_with_what_to_install(
    imports, client, dicomweb, image_set_id, monkeypatch
):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ClientError, match=r"pip install 'airflow-provider-healthimaging\[local\]'") as caught:
        read_metadata(client, image_set_id)
    assert caught.value.response["Error"]["Code"] == "NotAcceptableException"
    assert code(read_one_frame, client, image_set_id, "0" * 32) == (406, "NotAcceptableException")
    assert dicomweb(UIDS, image_set_id)[:2] == (406, "NotAcceptableException")
    without_pixels = import_one(imports, dicom_file(SeriesInstanceUID="1.1.2", SOPInstanceUID="1.1.2.1"))
    assert dicomweb(("1.1", "1.1.2", "1.1.2.1"), without_pixels).status == 200


@pytest.fixture
def calls(client, dicomweb, image_set_id, frame_id):
    """The three operations, as functions that return the status and the error."""

    def outcome(call, *args):
        try:
            call(client, *args)
        except ClientError as error:
            response = error.response
            return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]
        return 200, None

    return {
        "GetImageSetMetadata": lambda: outcome(read_metadata, image_set_id),
        "GetImageFrame": lambda: outcome(read_one_frame, image_set_id, frame_id),
        "GetDICOMInstance": lambda: dicomweb(UIDS, image_set_id)[:2],
    }


BURSTS = {"GetImageSetMetadata": 100, "GetImageFrame": 2000, "GetDICOMInstance": 100}


@pytest.mark.parametrize("operation", BURSTS)
def test_calls_beyond_the_burst_of_an_operation_are_throttled_and_the_others_are_not(local, server, calls, operation):
    local.settings.retrieval_quota = 1e-6
    server.calls.reset()
    over_the_wire = 20
    for _ in range(BURSTS[operation] - over_the_wire):
        local.admit(operation)
    outcomes = [calls[operation]() for _ in range(over_the_wire + 1)]
    assert outcomes == [(200, None)] * over_the_wire + [(429, "ThrottlingException")]
    assert server.calls.count(operation, status=429) == 1
    assert {calls[other]() for other in calls if other != operation} == {(200, None)}


def test_the_quotas_are_those_of_aws():
    from moto.medicalimaging.quota import QUOTAS

    found = {name: quota[:2] for name, quota in QUOTAS.items() if quota.setting == "retrieval_quota"}
    expected = {"GetImageSetMetadata": (50, 100), "GetImageFrame": (1000, 2000), "GetDICOMInstance": (50, 100)}
    assert found == expected


def test_a_new_version_is_not_consistent_for_a_time(local, clock, imports, client, dicomweb):
    image_set_id = import_one(imports, image(ARRAY))
    _, instance = only_instance(read_metadata(client, image_set_id))
    frame_id = instance["ImageFrames"][0]["ID"]
    local.settings.metadata_lag = 30
    conflict = (409, "ConflictException")
    assert code(read_metadata, client, image_set_id) == conflict
    assert code(read_one_frame, client, image_set_id, frame_id) == conflict
    assert dicomweb(UIDS, image_set_id)[:2] == conflict
    clock.advance(30)
    assert read_one_frame(client, image_set_id, frame_id)
    assert dicomweb(UIDS, image_set_id).status == 200


def test_every_operation_can_fail_with_an_error_of_the_service(local, calls):
    local.settings.error_rate = 1.0
    for call in calls.values():
        assert {call()[0] for _ in range(30)} == {500, 502, 503, 504}


def test_the_same_objects_are_missing_for_the_same_seed(local, imports, client, dicomweb):
    frames = np.arange(60 * 8, dtype=np.uint16).reshape(60, 2, 4)
    image_set_id = import_one(imports, image(frames))
    _, instance = only_instance(read_metadata(client, image_set_id))

    def missing(seed, share):
        local.settings.update({"seed": seed, "missing_object_share": share})
        found = set()
        for frame in instance["ImageFrames"]:
            try:
                read_one_frame(client, image_set_id, frame["ID"])
            except ClientError:
                found.add(frame["ID"])
        return found

    first = missing(1, 0.3)
    assert 5 < len(first) < 35
    assert first == missing(1, 0.3) != missing(2, 0.3)
    assert not missing(1, 0)
    assert len(missing(1, 1)) == 60
    assert dicomweb(UIDS, image_set_id)[:2] == NOT_FOUND


def test_a_body_is_cut_at_any_byte_after_headers_that_promise_all_of_it(local, server, image_set_id):
    url = f"/datastore/{DATASTORE_ID}/studies/1.1/series/1.1.1/instances/1.1.1.1?imageSetId={image_set_id}"

    def received():
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", url, headers={**SIGNED, "Accept": AS_EXPLICIT})
        response = connection.getresponse()
        promised = int(response.headers["Content-Length"])
        try:
            return len(response.read()), promised
        except http.client.IncompleteRead as error:
            return len(error.partial), promised
        finally:
            connection.close()

    whole = received()
    assert whole[0] == whole[1]

    def lengths(seed):
        local.settings.update({"cut_rate": 1, "cut_where": "during", "seed": seed})
        return [received() for _ in range(20)]

    cut = lengths(1)
    assert all(length < promised == whole[1] for length, promised in cut)
    assert len(set(cut)) > 15
    assert cut == lengths(1) != lengths(2)


def test_boto3_notices_that_a_frame_is_cut(local, client, image_set_id, frame_id):
    local.settings.update({"cut_rate": 1, "cut_where": "during"})
    with pytest.raises(ResponseStreamingError):
        read_one_frame(client, image_set_id, frame_id)


def test_frames_that_are_no_longer_in_the_cache_are_encoded_again(client, image_set_id, frame_id, monkeypatch):
    from moto.medicalimaging import stored_pixels

    before = read_one_frame(client, image_set_id, frame_id)
    monkeypatch.setattr(stored_pixels, "_cache", stored_pixels._FrameCache(1))
    for _ in range(2):
        assert read_one_frame(client, image_set_id, frame_id) == before
    assert not stored_pixels._cache._frames


def test_frames_and_instances_can_also_be_read_in_mock_aws():
    with mock_aws():
        client, s3 = boto3.client("medical-imaging", **KEYS), boto3.client("s3", **KEYS)
        backend().create_datastore("tests", datastore_id=DATASTORE_ID)
        for name in ("input", "output"):
            s3.create_bucket(Bucket=name)
        image_set_id = import_one(Imports(client, s3), image(ARRAY))
        uids, instance = only_instance(read_metadata(client, image_set_id))
        assert read_one_frame(client, image_set_id, instance["ImageFrames"][0]["ID"])
        study, series, uid = uids
        host = "https://dicom-medical-imaging.us-east-1.amazonaws.com"
        reply = requests.get(
            f"{host}/datastore/{DATASTORE_ID}/studies/{study}/series/{series}/instances/{uid}",
            headers={**SIGNED, "Accept": AS_EXPLICIT},
            timeout=HANG_SECONDS,
        )
        assert np.array_equal(pixels(reply.content), ARRAY)
