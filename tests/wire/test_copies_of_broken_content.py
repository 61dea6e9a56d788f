"""Content that is not what it should be fails its own image set, and nothing of it is shown."""

from __future__ import annotations

import io
import logging
import random
import warnings
from contextlib import nullcontext

import numpy as np
import pydicom
import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from airflow_provider_healthimaging.exceptions import (
    ExportFailedError,
    HealthImagingError,
    InvalidArgumentError,
    UnsupportedPixelsError,
)
from airflow_provider_healthimaging.local import load_dicom
from airflow_provider_healthimaging.output import object_store
from airflow_provider_healthimaging.pixels import read_frame, read_frames
from tests.copies import DATASTORE_ID, EVERYTHING, copy, load, manifests, objects, records, sample_files
from tests.dicom_files import dicom_file

CANARY = "CANARY^4711"
PIXELS = {"Rows": 2, "Columns": 2, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0}
PIXELS |= {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "PixelData": b"\1\2\3\4"}


def answering(change, where):
    """Return a middleware that changes the bodies and the content types of some responses."""

    def middleware(app):
        def answer(environ, start_response):
            if where not in environ["PATH_INFO"]:
                return app(environ, start_response)
            said = []
            body = b"".join(app(environ, lambda *arguments: said.extend(arguments[:2])))
            kind = next(value for name, value in said[1] if name.lower() == "content-type")
            body, kind = change(body, kind)
            headers = [each for each in said[1] if each[0].lower() not in {"content-type", "content-length"}]
            start_response(said[0], [*headers, ("Content-Type", kind), ("Content-Length", str(len(body)))])
            return [body]

        return answer

    return middleware


BROKEN = {
    "nothing after the head": lambda body: bytes(128) + b"DICM",
    "noise after the head": lambda body: bytes(128) + b"DICM" + CANARY.encode() * 500,
    "an end in the middle": lambda body: body[: len(body) // 2],
    "no pixels": lambda body: body[:400],
    "damaged pixels": lambda body: body[:-200] + bytes(200),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_dicom_file_fails_its_image_set_and_not_the_others(store, bucket, behind, logged, broken):
    given = load(store, "CT_small.dcm", "rtplan.dcm")
    with_pixels = next(each for each in store.image_sets(DATASTORE_ID) if "CT" in str(each.dicom_tags.values()))
    uid = next(iter(with_pixels.instances))
    behind(answering(lambda body, kind: (BROKEN[broken](body), kind), f"/instances/{uid}"))

    with pytest.raises(ExportFailedError) as failed:
        copy(given, content=["dicom"], verify="checksum")

    assert failed.value.errors == {"ObjectMismatchError": 1}
    assert failed.value.retryable
    assert len(manifests(bucket)) == 1
    text = logged()
    assert CANARY not in text
    assert uid not in text


def test_what_a_response_says_instead_of_a_media_type_or_a_transfer_syntax_is_not_passed_on(store, bucket, behind):
    given = load(store, "CT_small.dcm")
    behind(answering(lambda body, kind: (body, f"{CANARY}; transfer-syntax={CANARY}"), "/instances/"))

    copy(given, content=["dicom"])

    key = f"copies/{given[0]['imageSetId']}/v1/dicom/00001.dcm"
    head = bucket.meta.client.head_object(Bucket=bucket.name, Key=key)
    assert head["ContentType"] == "application/octet-stream"
    assert CANARY not in str(head)
    assert CANARY not in str(manifests(bucket))


def test_a_file_in_another_transfer_syntax_than_asked_for_is_not_kept(store, bucket, behind):
    given = load(store, "CT_small.dcm")
    behind(answering(lambda body, kind: (body, "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.202"), "/inst"))
    with pytest.raises(ExportFailedError) as failed:
        copy(given, content=["dicom"], transfer_syntax="1.2.840.10008.1.2.1")
    assert failed.value.errors == {"ObjectMismatchError": 1}
    assert objects(bucket) == {}


def test_an_empty_frame_is_not_kept(store, bucket, behind):
    given = load(store, "CT_small.dcm")
    behind(answering(lambda body, kind: (b"", kind), "/getImageFrame"))
    with pytest.raises(ExportFailedError) as failed:
        copy(given, content=["frames"])
    assert failed.value.errors == {"ObjectMismatchError": 1}
    assert objects(bucket) == {}


def test_a_large_frame_with_another_checksum_is_not_kept(store, bucket, behind, monkeypatch):
    monkeypatch.setattr("airflow_provider_healthimaging.task.copy_object.PART_BYTES", 1000)
    given = load(store, "CT_small.dcm")
    copy(given, content=["frames"], verify="checksum")
    bucket.objects.all().delete()

    other = random.Random(1)
    behind(answering(lambda body, kind: (body[:300] + other.randbytes(len(body) - 300), kind), "/getImageFrame"))
    with pytest.raises(ExportFailedError) as failed:
        copy(given, content=["frames"], verify="checksum")
    assert failed.value.errors == {"ObjectMismatchError": 1}
    assert objects(bucket) == {}


@pytest.mark.parametrize(
    ("name", "content", "where", "place"),
    [("SC_rgb_jpeg_dcmtk.dcm", "frames", "/getImageFrame", 9), ("JPEG2000.dcm", "dicom", "/instances/", 20)],
)
def test_a_kept_frame_with_another_checksum_is_not_kept_in_s3(store, bucket, behind, name, content, where, place):
    given = load(store, name)
    behind(answering(lambda body, kind: (body[:-place] + b"x" + body[1 - place :], kind), where))
    with pytest.raises(ExportFailedError) as failed:
        copy(given, content=[content], verify="checksum")
    assert failed.value.errors == {"ObjectMismatchError": 1}
    assert objects(bucket) == {}


def test_an_empty_dicom_file_without_frames_is_not_kept_either(store, bucket, behind):
    given = load(store, "rtplan.dcm")
    behind(answering(lambda body, kind: (b"", kind), "/instances/"))
    for verify in ("size", "checksum"):
        with pytest.raises(ExportFailedError) as failed:
            copy(given, content=["dicom"], verify=verify)
        assert failed.value.errors == {"ObjectMismatchError": 1}
    assert objects(bucket) == {}


@pytest.mark.parametrize(("is_whole", "verify"), [(True, "checksum"), (False, "checksum"), (True, "size")])
def test_a_large_frame_that_the_service_keeps_is_compared_without_being_held(
    store, bucket, behind, monkeypatch, is_whole, verify
):
    monkeypatch.setattr("airflow_provider_healthimaging.task.copy_object.PART_BYTES", 1000)
    given, summaries, held = load(store, "SC_rgb_jpeg_dcmtk.dcm"), [], []
    behind(answering(lambda body, kind: (body if is_whole else body[:-9] + b"x" + body[-8:], kind), "/getImageFrame"))
    put = object_store.ObjectStore.put
    monkeypatch.setattr(
        object_store.ObjectStore, "put", lambda self, key, *more: held.append(key) or put(self, key, *more)
    )
    with nullcontext() if is_whole else pytest.raises(ExportFailedError):
        copy(given, content=["frames"], verify=verify, summaries=summaries)
    assert summaries[0]["failed_by_type"] == ({} if is_whole else {"ObjectMismatchError": 1})
    assert [key for key in held if "/frames/" in key] == []


def test_a_large_frame_of_another_size_is_not_kept(store, bucket, behind, monkeypatch):
    monkeypatch.setattr("airflow_provider_healthimaging.task.copy_object.PART_BYTES", 1000)
    given = load(store, "CT_small.dcm")
    behind(answering(lambda body, kind: (body[:-1], kind), "/getImageFrame"))
    with pytest.raises(ExportFailedError) as failed:
        copy(given, content=["frames"])
    assert failed.value.errors == {"ObjectMismatchError": 1}
    assert objects(bucket) == {}


@pytest.mark.parametrize("content", ["dicom", "frames"])
def test_pixels_that_are_not_decoded_here_are_no_mismatch_and_are_not_retried(store, bucket, content):
    given = load(store, "rtdose.dcm")
    with pytest.raises(ExportFailedError) as failed:
        copy(given, content=[content], verify="checksum")
    assert failed.value.errors == {"UnsupportedPixelsError": 1}
    assert not failed.value.retryable


def test_a_frame_whose_length_the_service_does_not_say_is_copied(store, bucket, behind):
    given = load(store, "CT_small.dcm")
    copy(given, content=["frames"])
    undisturbed = objects(bucket)
    bucket.objects.all().delete()

    def without_length(app):
        def answer(environ, start_response):
            if not environ["PATH_INFO"].endswith("/getImageFrame"):
                return app(environ, start_response)
            said = []
            body = b"".join(app(environ, lambda *arguments: said.extend(arguments[:2])))
            kind = next(value for name, value in said[1] if name.lower() == "content-type")
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n"
            environ["werkzeug.socket"].sendall(head.encode() + body)
            raise ConnectionAbortedError

        return answer

    behind(without_length)
    copy(given, content=["frames"])
    assert objects(bucket) == undisturbed


# What libraries say.


def test_pydicom_warns_of_no_value_of_a_file_while_its_pixels_are_compared(store, bucket, tmp_path):
    file = tmp_path / "odd.dcm"
    dataset = pydicom.dcmread(io.BytesIO(dicom_file(**PIXELS)))
    # As pydicom reads it from a file that does not follow the standard.
    data = dicom_file(**PIXELS, StudyDate="20260101", PatientName=CANARY).replace(b"20260101", b"CANARY1!")
    assert dataset.Rows == 2
    file.write_bytes(data)
    load_dicom([file], DATASTORE_ID, backend=store)
    given = records(store)
    assert given

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        (copied,) = copy(given, content=["dicom"], verify="checksum")
        (frame,) = read_frames(copied, hook=S3Hook())

    assert frame.samples.tolist() == [[1, 2], [3, 4]]
    assert [str(each.message) for each in warned if "CANARY" in str(each.message)] == []


def test_urllib3_warns_of_no_url_with_uids(store, bucket, caplog, monkeypatch):
    """A header that urllib3 cannot parse, as some proxies send, is logged as a warning with the URL."""
    given = load(store, "CT_small.dcm")
    (image_set,) = store.image_sets(DATASTORE_ID)
    caplog.set_level(logging.DEBUG)
    parsed = []

    def broken(message):
        from urllib3.exceptions import HeaderParsingError

        parsed.append(message)
        raise HeaderParsingError(["a defect"], "")

    monkeypatch.setattr("urllib3.connection.assert_header_parsing", broken)

    copy(given, content=EVERYTHING)

    assert parsed
    for uid in image_set.instances:
        assert uid not in caplog.text


def test_an_encryption_key_is_not_logged_at_debug(store, bucket, caplog, monkeypatch):
    monkeypatch.setattr(object_store, "PART_BYTES", 5 * 1024 * 1024)
    given = load(store, "CT_small.dcm")
    caplog.set_level(logging.DEBUG)
    key = "secret-key-of-thirty-two-letters"
    encryption = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}
    copy(given, content=["dicom"], verify="checksum", s3_extra_args=encryption)
    assert key not in caplog.text


@pytest.fixture
def three_files(store, tmp_path):
    """Records of an image set of three instances: with two frames, without pixels, with one frame."""
    two = {**PIXELS, "NumberOfFrames": 2, "PixelData": bytes(range(8))}
    for number, pixels in enumerate((two, {}, PIXELS), 1):
        (tmp_path / f"{number}.dcm").write_bytes(dicom_file(number, InstanceNumber=number, **pixels))
    load_dicom([tmp_path], DATASTORE_ID, backend=store)
    return records(store)


def test_frames_of_copied_files_are_found_by_their_places(three_files, bucket):
    (copied,) = copy(three_files, content=["dicom"])
    hook = S3Hook()
    assert [(each.instance, each.frame) for each in read_frames(copied, hook=hook)] == [(1, 1), (1, 2), (3, 1)]
    assert read_frame(copied, hook=hook, instance=1, frame=2).samples.tolist() == [[4, 5], [6, 7]]
    assert read_frame(copied, hook=hook, instance=3).samples.tolist() == [[1, 2], [3, 4]]
    with pytest.raises(InvalidArgumentError, match="no frame 1 in an instance 2"):
        read_frame(copied, hook=hook, instance=2)


def test_pixels_that_cannot_be_read_from_frames_are_read_from_files(store, bucket):
    given = load(store, "rtdose.dcm")
    (copied,) = copy(given, content=["metadata", "frames"])
    with pytest.raises(UnsupportedPixelsError, match="Frames of 32 bits"):
        read_frame(copied, hook=S3Hook())
    (copied,) = copy(given, content=["dicom"], transfer_syntax="1.2.840.10008.1.2.1")
    samples = [frame.samples for frame in read_frames(copied, hook=S3Hook())]
    assert np.array_equal(samples, pydicom.dcmread(sample_files("rtdose.dcm")[0]).pixel_array)


@pytest.mark.parametrize("content", [["dicom"], ["metadata", "frames"]], ids=",".join)
def test_an_object_of_a_copy_that_was_deleted_since_is_an_error_that_says_so(three_files, bucket, content):
    (copied,) = copy(three_files, content=content)
    for each in bucket.objects.all():
        if f"/{content[-1]}/" in each.key:
            each.delete()
    with pytest.raises(HealthImagingError, match="Delete the manifest, and copy again"):
        list(read_frames(copied, hook=S3Hook()))


def test_frames_that_are_broken_on_purpose_are_refused_by_our_error(store, bucket):
    copied = copy(load(store, "MR_truncated.dcm", "badVR.dcm"), content=["dicom"])
    assert len(copied) == 2
    for record in copied:
        with pytest.raises(UnsupportedPixelsError) as refused:
            list(read_frames(record, hook=S3Hook()))
        assert refused.value.__context__ is None
