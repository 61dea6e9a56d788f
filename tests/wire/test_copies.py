"""Image sets are copied to S3 whole, checked and once, whatever the service, S3 and the worker do in between."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import zlib
from itertools import count
from threading import Event
from types import SimpleNamespace

import imagecodecs
import numpy as np
import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import pack_bits

from airflow_provider_healthimaging.exceptions import ConfigurationError, ExportFailedError, ImageSetNotFoundError
from airflow_provider_healthimaging.local import airflow_connection, load_dicom
from airflow_provider_healthimaging.output import object_store
from airflow_provider_healthimaging.pixels import read_frames
from tests.copies import (
    DATASTORE_ID,
    EVERYTHING,
    RETRIEVALS,
    S3_URI,
    copy,
    fetched,
    load,
    manifests,
    objects,
    records,
)
from tests.dicom_files import dicom_file

# Several instances of one series, several frames of one instance, colour, and a series without pixels.
SOME = ("CT_small.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_rle.dcm", "rtplan.dcm", "MR_small.dcm")


def test_checksums_are_compared_with_those_of_the_metadata(store, bucket, behind):
    copied = copy(load(store, *SOME), content=EVERYTHING, verify="checksum")
    assert copied.summary["image_sets_failed"] == 0
    assert {manifest["verify"] for manifest in manifests(bucket)} == {"checksum"}


@pytest.mark.parametrize("transfer_syntax", [None, "1.2.840.10008.1.2.1"])
@pytest.mark.parametrize("name", ["JPEG2000.dcm", "liver_1frame.dcm", "SC_rgb_jpeg_dcmtk.dcm"])
def test_frames_that_the_service_keeps_as_they_came_do_not_fail_the_check_of_dicom_files(
    store, bucket, name, transfer_syntax
):
    given = load(store, name)
    copied = copy(given, content=["dicom"], transfer_syntax=transfer_syntax, verify="checksum")
    assert copied.summary["image_sets_failed"] == 0


@pytest.mark.parametrize("frames", [1, 3])
def test_frames_of_single_bits_that_begin_and_end_within_a_byte_are_compared_and_read(store, bucket, tmp_path, frames):
    bits = np.random.default_rng(1).integers(0, 2, (frames, 5, 7), dtype=np.uint8)
    header = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelRepresentation": 0, "SamplesPerPixel": 1}
    header |= {"Rows": 5, "Columns": 7, "NumberOfFrames": frames, "PhotometricInterpretation": "MONOCHROME2"}
    file = tmp_path / "bits.dcm"
    file.write_bytes(dicom_file(**header, PixelData=pack_bits(bits.reshape(-1))))
    load_dicom([file], DATASTORE_ID, backend=store)
    for content in (["dicom"], ["metadata", "frames"]):
        (copied,) = copy(records(store), content=content, verify="checksum", s3_uri=f"{S3_URI}{content[0]}/")
        read = [frame.samples for frame in read_frames(copied, hook=S3Hook())]
        np.testing.assert_array_equal(read, bits)


def test_frames_of_single_bits_that_were_encoded_are_compared_as_they_came(store, bucket, tmp_path):
    encoded = bytes(imagecodecs.jpeg2k_encode(np.eye(64, dtype=np.uint8), codecformat="j2k", reversible=True))
    header = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelRepresentation": 0, "SamplesPerPixel": 1}
    header |= {"Rows": 64, "Columns": 64, "NumberOfFrames": 1, "PhotometricInterpretation": "MONOCHROME2"}
    file = tmp_path / "bits.dcm"
    file.write_bytes(dicom_file(**header, PixelData=encapsulate([encoded]), syntax="1.2.840.10008.1.2.4.91"))
    load_dicom([file], DATASTORE_ID, backend=store)
    assert copy(records(store), content=EVERYTHING, verify="checksum").summary["objects"] == 3


def damaged(app):
    """Change one byte in the middle of each frame, which keeps its size."""

    def changed(environ, start_response):
        body = b"".join(app(environ, start_response))
        if environ["PATH_INFO"].endswith("/getImageFrame"):
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        return [body]

    return changed


def test_a_frame_with_another_checksum_is_not_kept(store, bucket, behind):
    given = load(store, "CT_small.dcm")
    behind(damaged)
    with pytest.raises(ExportFailedError) as failed:
        copy(given, content=["frames"], verify="checksum")
    assert failed.value.errors == {"ObjectMismatchError": 1}
    assert failed.value.retryable
    assert objects(bucket) == {}


def shortened(app):
    """Leave out the last byte of each frame, and of its length."""

    def changed(environ, start_response):
        said = []
        body = b"".join(app(environ, lambda *arguments: said.extend(arguments[:2])))
        if environ["PATH_INFO"].endswith("/getImageFrame"):
            body = body[:-1]
            said[1] = [(name, value) for name, value in said[1] if name.lower() != "content-length"]
            said[1].append(("Content-Length", str(len(body))))
        start_response(*said)
        return [body]

    return changed


def test_a_frame_of_another_size_is_not_kept(store, bucket, behind):
    given = load(store, "CT_small.dcm")
    behind(shortened)
    with pytest.raises(ExportFailedError) as failed:
        copy(given, content=["frames"])
    assert failed.value.errors == {"ObjectMismatchError": 1}
    assert objects(bucket) == {}


# What is there already.


def test_a_complete_image_set_costs_no_call_of_the_service(server, store, bucket):
    given = load(store, *SOME)
    first = copy(given, content=EVERYTHING)
    before = {each.key: (each.e_tag, each.last_modified) for each in bucket.objects.all()}
    server.calls.reset()

    again = copy(given, content=EVERYTHING)

    assert again == first
    assert len(server.calls) == 0
    assert again.summary["image_sets_skipped"] == len(given)
    assert (again.summary["objects"], again.summary["bytes"]) == (0, 0)
    assert again.summary["objects_skipped"] == first.summary["objects"]
    assert {each.key: (each.e_tag, each.last_modified) for each in bucket.objects.all()} == before


def test_other_content_is_added_and_what_is_there_stays_in_the_manifest(server, store, bucket):
    given = load(store, "CT_small.dcm")
    copy(given, content=["metadata", "frames"])
    server.calls.reset()

    copy(given, content=["dicom"])

    assert [server.calls.count(each) for each in RETRIEVALS] == [0, 1, 0]
    (manifest,) = manifests(bucket)
    assert manifest["content"] == ["metadata", "dicom", "frames"]
    assert (len(manifest["dicom"]), len(manifest["frames"])) == (1, 1)


def test_metadata_that_are_damaged_in_s3_are_fetched_again(server, store, bucket):
    given = load(store, "CT_small.dcm")
    copy(given, content=["metadata"])
    undisturbed = objects(bucket)
    folder = f"copies/{given[0]['imageSetId']}/v1/"
    bucket.put_object(Key=f"{folder}metadata.json.gz", Body=b"\x1f\x8bdamaged")
    bucket.Object(f"{folder}_manifest.json").delete()
    server.calls.reset()

    copy(given, content=["metadata"])

    assert server.calls.count("GetImageSetMetadata") == 1
    assert objects(bucket) == undisturbed


def test_another_transfer_syntax_is_copied_again(server, store, bucket):
    given = load(store, "CT_small.dcm")
    copy(given, content=["dicom"])
    server.calls.reset()

    copy(given, content=["dicom"], transfer_syntax="1.2.840.10008.1.2.1")

    assert server.calls.count("GetDICOMInstance") == 1
    (manifest,) = manifests(bucket)
    assert manifest["transfer_syntax"] == manifest["dicom"][0]["transfer_syntax"] == "1.2.840.10008.1.2.1"


def test_a_manifest_lists_what_is_there_with_sizes_checksums_and_order(store, bucket):
    given = load(store, *SOME)
    copy(given, content=EVERYTHING)
    stored = objects(bucket)

    for folder in {key.rpartition("_manifest")[0] for key in stored if key.endswith("_manifest.json")}:
        manifest = json.loads(stored[folder + "_manifest.json"])
        entries = [manifest["metadata"], *manifest["dicom"], *manifest["frames"]]
        assert {folder + entry["key"] for entry in entries} | {folder + "_manifest.json"} == {
            key for key in stored if key.startswith(folder)
        }
        for entry in entries:
            body = stored[folder + entry["key"]]
            assert (entry["bytes"], entry["crc32"]) == (len(body), f"{zlib.crc32(body):08x}")
        assert (manifest["objects"], manifest["bytes"]) == (len(entries), sum(entry["bytes"] for entry in entries))
        assert [entry["instance"] for entry in manifest["dicom"]] == [*range(1, manifest["instances"] + 1)]


# Faults of the service and of S3.


@pytest.fixture(scope="module")
def small():
    """Return the names of a few small files."""
    return ("CT_small.dcm", "MR_small.dcm")


class Faults:
    """A middleware that answers some requests otherwise, by a part of the path and the number of the request."""

    def __init__(self, app):
        self.app, self.plan, self.seen = app, {}, {}

    def __call__(self, environ, start_response):
        where = next((part for part in self.plan if part in environ["PATH_INFO"]), None)
        if where is None or (where == "/image-sets/" and environ["REQUEST_METHOD"] != "PUT"):
            return self.app(environ, start_response)
        number = self.seen[where] = self.seen.get(where, 0) + 1
        fault = self.plan[where](number)
        return self.app(environ, start_response) if fault is None else fault(self.app, environ, start_response)


def status(code, error):
    """Answer with an error."""

    def answer(app, environ, start_response):
        start_response(f"{code} {error}", [("x-amzn-ErrorType", error), ("Content-Type", "application/json")])
        of_s3 = "/image-sets/" in environ["PATH_INFO"]
        return [f"<Error><Code>{error}</Code></Error>".encode() if of_s3 else b"{}"]

    return answer


def cut(share):
    """Send a part of the body only, with the length of the whole."""

    def answer(app, environ, start_response):
        body = b"".join(app(environ, start_response))
        return [body[: min(int(share * len(body)), len(body) - 1)]]

    return answer


def first(times, fault):
    """Have a fault in the first requests only."""
    return lambda number: fault if number <= times else None


@pytest.fixture
def faulty(behind):
    """Return a server whose faults a test plans, and the plan."""
    made = []

    def middleware(app):
        made.append(Faults(app))
        return made[0]

    server, _ = behind(middleware)
    return SimpleNamespace(server=server, faults=made[0])


WHERE = ("/getImageSetMetadata", "/instances/", "/getImageFrame")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(share=st.floats(0, 1), times=st.integers(1, 3), where=st.sampled_from(WHERE))
def test_a_body_that_is_truncated_at_any_byte_is_read_again(store, bucket, faulty, small, share, times, where):
    known = records(store)
    if not known:
        known = load(store, *small)
        copy(known, content=EVERYTHING)
        faulty.undisturbed = objects(bucket)
    bucket.objects.all().delete()
    faulty.faults.plan = {where: first(times, cut(share))}
    faulty.faults.seen.clear()

    copied = copy(known, content=EVERYTHING)

    assert copied.summary["image_sets_failed"] == 0
    assert objects(bucket) == faulty.undisturbed


@pytest.mark.parametrize("where", [*WHERE, "/image-sets/"])
@pytest.mark.parametrize(
    ("code", "error"),
    [(429, "ThrottlingException"), (500, "InternalServerException"), (503, "SlowDown"), (409, "ConflictException")],
)
def test_a_temporary_error_is_waited_out(store, bucket, faulty, small, where, code, error):
    if code == 409 and where == "/image-sets/":
        pytest.skip("S3 has no such answer to what is asked here")
    faulty.faults.plan = {where: first(3, status(code, error))}
    copied = copy(load(store, *small), content=EVERYTHING)
    assert (copied.summary["image_sets"], copied.summary["image_sets_failed"]) == (len(copied), 0)


def test_metadata_that_are_not_consistent_yet_are_waited_for(store, bucket, faulty, small):
    faulty.faults.plan = {"/getImageSetMetadata": first(8, status(409, "ConflictException"))}
    assert copy(load(store, *small), content=["metadata"]).summary["image_sets_failed"] == 0


def test_one_object_that_is_missing_fails_its_image_set_only(store, bucket, faulty, small, failed_summary):
    given = load(store, *small)
    faulty.faults.plan = {"/getImageFrame": first(1, status(404, "ResourceNotFoundException"))}

    error, summary = failed_summary(given, content=EVERYTHING, max_workers=1)

    assert error.errors == {"ImageSetNotFoundError": 1} == summary["failed_by_type"]
    assert not error.retryable
    assert summary["image_sets"] == len(given) - 1 == len(manifests(bucket))


@pytest.fixture
def failed_summary():
    """Return a function that copies, and gives the error and the summary."""

    def run(given, **arguments):
        said = []
        with pytest.raises(ExportFailedError) as failed:
            copy(given, summaries=said, **arguments)
        return failed.value, said[0]

    return run


def test_missing_objects_are_left_out_if_the_task_says_so(store, bucket, faulty, small):
    given = load(store, *small)
    faulty.faults.plan = {"/getImageFrame": first(1, status(404, "ResourceNotFoundException"))}

    copied = copy(given, content=EVERYTHING, on_missing="skip", max_workers=1)

    assert copied.summary["objects_missing"] == 1
    assert sorted(len(manifest["missing"]) for manifest in manifests(bucket)) == [0, 1]
    assert sorted(len([*read_frames(record, hook=S3Hook())]) for record in copied) == [0, 1]
    # A task that wants everything does not take such an image set for complete, and finds the object now.
    assert copy(given, content=EVERYTHING).summary["objects"] == 1
    assert [manifest["missing"] for manifest in manifests(bucket)] == [[], []]


def test_image_sets_that_are_gone_are_left_out_if_the_task_says_so(store, bucket, small, failed_summary):
    given = load(store, *small)
    store.delete_image_set(DATASTORE_ID, given[0]["imageSetId"])

    error, _ = failed_summary(given)
    assert error.errors == {"ImageSetNotFoundError": 1}
    copied = copy(given, on_missing="skip")
    assert [record["imageSetId"] for record in copied] == [given[1]["imageSetId"]]
    assert copied.summary["image_sets_missing"] == 1


def test_an_image_set_that_goes_while_it_is_copied_is_missing(store, bucket, faulty, failed_summary):
    given = load(store, "CT_small.dcm")
    faulty.faults.plan = {
        "/getImageSetMetadata": lambda number: None,
        "/getImageSet": first(1000, status(404, "ResourceNotFoundException")),
    }

    error, _ = failed_summary(given, content=["dicom"])
    assert error.errors == {"ImageSetNotFoundError": 1}
    bucket.objects.all().delete()
    copied = copy(given, content=["dicom"], on_missing="skip")
    assert (copied, copied.summary["image_sets_missing"]) == ([], 1)
    assert manifests(bucket) == []


@pytest.mark.parametrize("where", ["/getImageSetMetadata", "/getImageFrame"])
def test_an_endpoint_that_is_not_healthimaging_is_an_error_and_no_missing_image_set(
    store, bucket, faulty, small, failed_summary, where
):
    given = load(store, *small)
    faulty.faults.plan = {where: first(1000, not_found)}

    error, summary = failed_summary(given, content=EVERYTHING, on_missing="skip")

    assert error.errors == {"RejectedRequestError": len(given)}
    assert summary["image_sets_missing"] == 0


def not_found(app, environ, start_response):
    """Answer as a web server that knows nothing of the path."""
    start_response("404 Not Found", [("Content-Type", "text/html")])
    return [b"<h1>Not found</h1>"]


def test_dicom_files_of_a_newer_version_are_not_taken_for_those_of_the_record(store, bucket, small, failed_summary):
    given = load(store, *small)
    store.update_image_set(DATASTORE_ID, given[0]["imageSetId"])

    error, _ = failed_summary(given)

    assert error.errors == {"ImageSetChangedError": 1}
    assert [manifest["image_set_id"] for manifest in manifests(bucket)] == [given[1]["imageSetId"]]
    assert copy(given, content=["metadata", "frames"]).summary["image_sets"] == 2


def test_a_record_without_a_version_is_of_the_newest(store, bucket, small):
    given = load(store, *small)
    store.update_image_set(DATASTORE_ID, given[0]["imageSetId"])
    copied = copy([{**record, "version": None} for record in given], content=["metadata"])
    assert [record["version"] for record in copied] == [2, 1]


def test_an_error_of_the_configuration_ends_the_task_at_once(store, bucket, small, monkeypatch):
    monkeypatch.setattr("airflow_provider_healthimaging.export.decode.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="pip install 'airflow-provider-healthimaging\\[pixels\\]'"):
        copy(load(store, *small), verify="checksum")


@pytest.mark.parametrize("error", [ConfigurationError, MemoryError])
def test_an_error_that_every_image_set_would_have_ends_the_task_at_the_first(store, bucket, small, monkeypatch, error):
    read = []

    def fail(self, key):
        read.append(key)
        raise error("no other image set can be copied")

    monkeypatch.setattr(object_store.ObjectStore, "read", fail)
    with pytest.raises(error):
        copy(load(store, *small), max_workers=1)
    assert len(read) == 1


def test_a_few_failures_are_named_and_all_are_counted(store, bucket, small, failed_summary, logged, monkeypatch):
    monkeypatch.setattr("airflow_provider_healthimaging.task.export_progress.MAX_NAMED_FAILURES", 1)
    error, _ = failed_summary(load(store, *small), s3_uri="s3://no-such-bucket/copies/")
    assert error.errors == {"RejectedRequestError": 2}
    assert logged().count("was not copied") == 1


def test_the_error_of_s3_names_the_bucket_and_not_the_key(store, small, failed_summary, logged):
    error, _ = failed_summary(load(store, *small), s3_uri="s3://no-such-bucket/copies/")
    assert error.errors == {"RejectedRequestError": 2}
    assert "answered NoSuchBucket (HTTP 404; bucket no-such-bucket, connection 'aws_default')" in logged()


# Large objects.


def large(app, size):
    """Answer GetDICOMInstance with a file of this size."""

    def answer(environ, start_response):
        if "/instances/" not in environ["PATH_INFO"]:
            return app(environ, start_response)
        body = bytes(128) + b"DICM" + random.Random(1).randbytes(size - 132)
        start_response("200 OK", [("Content-Type", "application/dicom"), ("Content-Length", str(size))])
        return [body]

    return answer


def test_a_large_object_goes_in_parts_and_is_found_again(store, bucket, behind, monkeypatch):
    size = 2 * object_store.PART_BYTES + 12345
    given = load(store, "CT_small.dcm")
    server, _ = behind(lambda app: large(app, size))
    copy(given, content=["dicom"])
    (manifest,) = manifests(bucket)
    key = f"{given[0]['imageSetId']}/v1/"
    body = objects(bucket)[key + "dicom/00001.dcm"]
    assert manifest["dicom"][0]["bytes"] == size == len(body)
    assert manifest["dicom"][0]["crc32"] == f"{zlib.crc32(body):08x}"
    assert bucket.Object(f"copies/{key}dicom/00001.dcm").e_tag.endswith('-3"'), "the mark of an upload in parts"

    before = objects(bucket)
    bucket.Object(f"copies/{key}_manifest.json").delete()
    server.calls.reset()
    copy(given, content=["dicom"])
    assert server.calls.count("GetDICOMInstance") == 0
    assert objects(bucket) == before


def test_a_large_object_that_is_truncated_leaves_no_object_and_no_parts(store, bucket, behind, failed_summary):
    size = 2 * object_store.PART_BYTES
    given = load(store, "CT_small.dcm")

    def short(app):
        def answer(environ, start_response):
            body = b"".join(large(app, size)(environ, start_response))
            return [body[:-1] if "/instances/" in environ["PATH_INFO"] else body]

        return answer

    behind(short)
    error, _ = failed_summary(given, content=["dicom"], botocore_config={"retries": {"total_max_attempts": 2}})
    assert error.errors == {"IncompleteResponseError": 1}
    assert error.retryable
    assert objects(bucket) == {}
    assert list(bucket.multipart_uploads.all()) == []


# A worker that dies.


def doomed(url, given):
    """Copy in a process of its own."""
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = airflow_connection(url)
    copy(given, content=EVERYTHING, max_workers=2)


@pytest.fixture(scope="module")
def processes():
    """Processes that have what a worker has imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["airflow_provider_healthimaging.transfers.healthimaging_to_s3", __name__])
    return context


class Killer:
    """A middleware that kills a process at a certain request, before or after it is answered."""

    def __init__(self, app):
        self.app, self.process, self.fatal, self.after = app, None, 0, False
        self.requests, self.started = count(1), Event()
        self.seen = 0

    def __call__(self, environ, start_response):
        self.seen = number = next(self.requests)
        if number != self.fatal:
            return self.app(environ, start_response)
        if self.after:
            self.app(environ, lambda *_: None)
        self.started.wait()
        os.kill(self.process.pid, signal.SIGKILL)
        raise ConnectionError


MOMENTS, SEED = 20, 4711


def test_a_worker_killed_at_any_moment_and_run_again_has_the_same_objects_and_fetches_nothing_twice(
    store, bucket, behind, processes, whole
):
    given = load(store, *SOME)
    made = []

    def middleware(app):
        made.append(Killer(app))
        return made[0]

    server, _ = behind(middleware)
    killer = made[0]

    def run(fatal=0, *, after=False):
        killer.requests, killer.fatal, killer.after, killer.started = count(1), fatal, after, Event()
        killer.process = processes.Process(target=doomed, args=(server.url, given))
        killer.process.start()
        killer.started.set()
        killer.process.join()
        killer.fatal = 0
        return killer.process.exitcode

    assert run() == 0
    requests, undisturbed = killer.seen, objects(bucket)
    needed = fetched(server)
    chosen = random.Random(SEED)

    complete = 0
    moments = [(chosen.randint(1, requests), chosen.random() < 0.5) for _ in range(MOMENTS if whole else 3)]
    for moment, after in [*moments, (requests, True)]:
        bucket.objects.all().delete()
        server.calls.reset()
        assert run(moment, after=after) == -signal.SIGKILL
        for manifest in manifests(bucket):
            entries = [manifest["metadata"], *manifest["dicom"], *manifest["frames"]]
            assert len(entries) == manifest["objects"] > 1
            listed = {f"{manifest['image_set_id']}/v1/{entry['key']}" for entry in entries}
            assert listed <= objects(bucket).keys(), "a manifest comes after what it lists"
            complete += 1
        copy(given, content=EVERYTHING)

        assert objects(bucket) == undisturbed, f"killed at request {moment}, after={after}"
        assert fetched(server) <= needed + 2, "what two workers had in flight"
    assert complete, "no worker was killed after it wrote a manifest"


def test_a_missing_image_set_is_an_error_of_its_own(hook, store):
    with pytest.raises(ImageSetNotFoundError, match="may have been deleted since it was found"):
        hook.get_image_set_metadata(DATASTORE_ID, "e" * 32)
