"""Copies are whole whatever S3 answers, and leave no unfinished uploads."""

from __future__ import annotations

import random
import zlib

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from airflow_provider_healthimaging.exceptions import ExportFailedError
from airflow_provider_healthimaging.output import object_store
from tests.copies import EVERYTHING, RETRIEVALS, copy, fetched, load, manifests, objects

SMALL_PART = 5 * 1024 * 1024
SIZE = 2 * SMALL_PART + 12345

REQUESTS = {
    "ListObjectsV2": lambda method, path, query: method == "GET" and "list-type=2" in query,
    "GetObject": lambda method, path, query: method == "GET" and "/v1/" in path,
    "CreateMultipartUpload": lambda method, path, query: method == "POST" and query.startswith("uploads"),
    "UploadPart": lambda method, path, query: method == "PUT" and "partNumber=" in query,
    "CompleteMultipartUpload": lambda method, path, query: method == "POST" and "uploadId=" in query,
    "PutObject": lambda method, path, query: method == "PUT" and "/v1/" in path and "partNumber=" not in query,
    "HeadObject": lambda method, path, query: method == "HEAD" and "/v1/" in path,
}
"""How requests to S3 look."""


class FaultyS3:
    """A middleware that gives large DICOM files, and answers some requests to S3 otherwise."""

    def __init__(self, app):
        self.app, self.operation, self.fault, self.times, self.hit = app, None, None, 0, 0
        self.dicom_size = None

    def __call__(self, environ, start_response):
        asked = environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"]
        if "/instances/" in asked[1] and self.dicom_size:
            body = bytes(128) + b"DICM" + random.Random(1).randbytes(self.dicom_size - 132)
            start_response("200 OK", [("Content-Type", "application/dicom"), ("Content-Length", str(len(body)))])
            return [body]
        if self.operation and self.hit < self.times and REQUESTS[self.operation](*asked):
            self.hit += 1
            return self.fault(self.app, environ, start_response)
        return self.app(environ, start_response)

    def plan(self, operation, fault, times):
        self.operation, self.fault, self.times, self.hit = operation, fault, times, 0


def truncated(share):
    """Do what is asked, and send a part of the response, with the length of the whole."""

    def answer(app, environ, start_response):
        body = b"".join(app(environ, start_response))
        return [body[: int(share * len(body))]]

    return answer


def unavailable(app, environ, start_response):
    """Answer 503, and do nothing."""
    start_response("503 Slow Down", [("Content-Type", "application/xml")])
    return [b"<Error><Code>SlowDown</Code></Error>"]


FAULTS = {"nothing arrives": truncated(0), "half arrives": truncated(0.5), "503": unavailable}


@pytest.fixture
def s3(behind, monkeypatch):
    """Return the middleware; parts of an upload are as small as S3 allows."""
    monkeypatch.setattr(object_store, "PART_BYTES", SMALL_PART)
    monkeypatch.setattr("airflow_provider_healthimaging.task.copy_object.PART_BYTES", SMALL_PART)
    made = []

    def middleware(app):
        made.append(FaultyS3(app))
        return made[0]

    server, _ = behind(middleware)
    made[0].server = server
    return made[0]


def copied_in_the_end(given, **arguments):
    """Copy as Airflow does, which retries a task."""
    for _ in range(3):
        try:
            return copy(given, **arguments)
        except ExportFailedError as error:
            assert error.retryable, error.errors  # noqa: PT017
            assert "KeyError" not in str(error.errors)  # noqa: PT017
    raise AssertionError


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", ["ListObjectsV2", "GetObject", "PutObject"])
def test_objects_and_manifests_are_those_of_an_undisturbed_copy_whatever_s3_answers(
    store, bucket, s3, operation, fault
):
    if (operation, fault) == ("PutObject", "half arrives"):
        pytest.skip("its response has no body")
    given = load(store, "CT_small.dcm", "MR_small.dcm")
    copy(given, content=EVERYTHING)
    undisturbed = objects(bucket)
    for each in bucket.objects.all():
        if each.key.endswith("_manifest.json"):
            each.delete()
    s3.server.calls.reset()

    s3.plan(operation, FAULTS[fault], times=2)
    copied_in_the_end(given, content=EVERYTHING)

    assert s3.hit
    assert objects(bucket) == undisturbed
    assert fetched(s3.server) == 0, "nothing that is there is fetched again"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "HeadObject", "GetObject"]
)
def test_an_object_of_many_parts_is_whole_and_no_upload_is_left_whatever_s3_answers(
    store, bucket, s3, operation, fault
):
    s3.dicom_size = SIZE
    given = load(store, "CT_small.dcm")

    s3.plan(operation, FAULTS[fault], times=1)
    copied_in_the_end(given, content=["dicom"])

    (manifest,) = manifests(bucket)
    body = objects(bucket)[f"{given[0]['imageSetId']}/v1/dicom/00001.dcm"]
    assert manifest["dicom"][0]["bytes"] == SIZE == len(body)
    assert manifest["dicom"][0]["crc32"] == f"{zlib.crc32(body):08x}"
    assert list(bucket.multipart_uploads.all()) == []


def test_a_manifest_does_not_list_an_object_that_s3_did_not_complete(store, bucket, s3):
    s3.dicom_size = SIZE
    given = load(store, "CT_small.dcm")

    def forgotten(app, environ, start_response):
        start_response("200 OK", [("Content-Type", "application/xml"), ("Content-Length", "0")])
        return [b""]

    s3.plan("CompleteMultipartUpload", forgotten, times=1)
    with pytest.raises(ExportFailedError) as failed:
        copy(given, content=["dicom"])
    assert failed.value.retryable
    assert manifests(bucket) == []

    copy(given, content=["dicom"])
    assert len(manifests(bucket)) == 1
    assert list(bucket.multipart_uploads.all()) == []


def test_uploads_that_a_dead_worker_has_left_are_aborted_when_the_object_is_there(store, bucket, s3):
    s3.dicom_size = SIZE
    given = load(store, "CT_small.dcm")
    mine = f"copies/{given[0]['imageSetId']}/v1/dicom/00001.dcm"
    client = bucket.meta.client
    client.create_multipart_upload(Bucket=bucket.name, Key=mine)
    client.create_multipart_upload(Bucket=bucket.name, Key=mine + ".of-somebody-else")

    copy(given, content=["dicom"])

    assert [each.object_key for each in bucket.multipart_uploads.all()] == [mine + ".of-somebody-else"]


def test_an_upload_that_another_task_has_finished_and_aborted_is_no_failure(store, bucket, s3):
    s3.dicom_size = SIZE
    given = load(store, "CT_small.dcm")

    def aborted(app, environ, start_response):
        for each in bucket.multipart_uploads.all():
            each.abort()
        start_response("404 Not Found", [("Content-Type", "application/xml")])
        return [b"<Error><Code>NoSuchUpload</Code></Error>"]

    s3.plan("CompleteMultipartUpload", aborted, times=1)
    assert copy(given, content=["dicom"]).summary["image_sets"] == 1
    assert s3.hit == 1


def test_an_object_without_a_manifest_is_not_fetched_again_for_want_of_its_listing(store, bucket, s3):
    given = load(store, "CT_small.dcm")
    copy(given, content=EVERYTHING)
    bucket.Object(f"copies/{given[0]['imageSetId']}/v1/_manifest.json").delete()
    s3.server.calls.reset()

    s3.plan("ListObjectsV2", truncated(0), times=1000)
    with pytest.raises(ExportFailedError) as failed:
        copy(given, content=EVERYTHING)

    # Botocore 1.43 does not parse a response that is truncated.
    assert next(iter(failed.value.errors)) in {"IncompleteResponseError", "ConnectionFailedError"}
    assert [s3.server.calls.count(each) for each in RETRIEVALS] == [0, 0, 0]


def test_an_object_is_written_to_a_file_in_chunks(bucket, s3):
    data = random.Random(1).randbytes(3_000_000)
    bucket.put_object(Key="large", Body=data)
    written = []

    class File:
        """A file that can only be written to."""

        write = staticmethod(written.append)

    store = object_store.ObjectStore(S3Hook(), bucket.name)
    assert store.download("large", File())
    assert b"".join(written) == data
    assert max(map(len, written)) < len(data)
    assert not store.download("small", File())


def test_a_large_object_whose_size_may_not_be_read_fails_its_image_set(store, bucket, s3):
    s3.dicom_size = SIZE
    given = load(store, "CT_small.dcm")

    def forbidden(app, environ, start_response):
        start_response("403 Forbidden", [("Content-Length", "0")])
        return []

    s3.plan("HeadObject", forbidden, times=1000)
    with pytest.raises(ExportFailedError) as failed:
        copy(given, content=["dicom"])

    assert failed.value.errors == {"AccessDeniedError": 1}
    assert manifests(bucket) == []
