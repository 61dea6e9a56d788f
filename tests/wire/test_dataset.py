"""Datasets in S3, over real HTTP: read back by those who read them, and made again after an attempt that failed."""

import json
import multiprocessing
import os
import random
import re
import signal
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Event
from types import SimpleNamespace
from unittest.mock import ANY

import boto3
import duckdb
import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs
import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from cryptography.fernet import Fernet

from airflow_provider_healthimaging.exceptions import (
    AccessDeniedError,
    ConfigurationError,
    IncompleteResponseError,
    ServiceError,
)
from airflow_provider_healthimaging.local import airflow_connection
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.output import destination
from airflow_provider_healthimaging.output.checkpoint import Checkpoint, search_fingerprint
from airflow_provider_healthimaging.output.destination import OutputRequest
from airflow_provider_healthimaging.search.image_set import DICOM_TAGS
from airflow_provider_healthimaging.search.request import SearchRequest
from airflow_provider_healthimaging.window import TimeWindow

DATASTORE_ID = "d" * 32
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
FOLDER = "arrivals/window=20260131T120000Z_20260131T130000Z/"
FORMATS = ("jsonl", "parquet")
CANARY = "CANARY-4711"


def operator(**more):
    arguments = {
        "task_id": "search",
        "datastore_id": DATASTORE_ID,
        "window_start": NOON,
        "window_end": NOON + timedelta(hours=1),
        "s3_uri": "s3://image-sets/arrivals/",
        "do_xcom_push": False,
    }
    return HealthImagingSearchImageSetsOperator(**arguments | more)


def search(**more):
    return operator(**more).execute({"ti": SimpleNamespace()})


def fill(store, number, span=3600.0, **more):
    """Put image sets in, several of them at the same moment."""
    for each in range(number):
        moment = NOON + timedelta(milliseconds=1000 * span * (each // 3 * 3) // number)
        store.put_image_set(DATASTORE_ID, created_at=moment, image_set_id=f"{each:032d}", **more)


def contents(bucket):
    return {each.key: each.get()["Body"].read() for each in bucket.objects.all()}


def manifest(bucket):
    return json.loads(bucket.Object(FOLDER + "_manifest.json").get()["Body"].read())


# Read back


@pytest.fixture
def downloaded(bucket, tmp_path):
    """Return a function that copies the bucket into a folder, and returns that folder."""

    def download():
        for key, body in contents(bucket).items():
            path = tmp_path / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        return tmp_path

    return download


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("by", ["prefix", "manifest"])
def test_duckdb_reads_the_same_rows_by_prefix_and_by_manifest(store, bucket, downloaded, file_format, by):
    fill(store, 130, dicom_tags={"DICOMSeriesModality": "CT", "DICOMSeriesNumber": 7})
    search(file_format=file_format, rows_per_file=50, dicom_tags=["DICOMSeriesModality", "DICOMSeriesNumber"])
    folder = downloaded()
    if by == "prefix":
        files = f"'{folder}/arrivals/*/*.{'parquet' if file_format == 'parquet' else 'jsonl.gz'}'"
    else:
        files = str([part["uri"].replace("s3://image-sets", str(folder)) for part in manifest(bucket)["parts"]])
    reader = "read_parquet" if file_format == "parquet" else "read_json"

    rows = duckdb.sql(
        "SELECT imageSetId, epoch_ms(createdAt::TIMESTAMPTZ), version, isPrimary, DICOMTags.DICOMSeriesNumber "
        f"FROM {reader}({files}) ORDER BY imageSetId"
    ).fetchall()

    expected = [
        (each.image_set_id, round(each.created_at.timestamp() * 1000), 1, True, 7)
        for each in sorted(store.image_sets(DATASTORE_ID), key=lambda each: each.image_set_id)
    ]
    assert rows == expected


@pytest.mark.parametrize("by", ["prefix", "manifest"])
@pytest.mark.parametrize("file_format", FORMATS)
def test_pyarrow_reads_the_same_rows_from_s3_by_prefix_and_by_manifest(store, bucket, server, file_format, by):
    fill(store, 130)
    search(file_format=file_format, rows_per_file=50)
    s3 = pyarrow.fs.S3FileSystem(
        access_key="testing",
        secret_key="testing",
        endpoint_override=server.url,
        region="us-east-1",
        request_timeout=300,
        connect_timeout=300,
    )
    source = "image-sets/arrivals/"
    if by == "manifest":
        source = [part["uri"].removeprefix("s3://") for part in manifest(bucket)["parts"]]

    name = "parquet" if file_format == "parquet" else "json"
    table = pyarrow.dataset.dataset(source, format=name, filesystem=s3).to_table()

    assert sorted(table["imageSetId"].to_pylist()) == [f"{each:032d}" for each in range(130)]


def test_parquet_keeps_its_schema_where_every_tag_is_missing(store, bucket, downloaded):
    fill(store, 3)
    search(file_format="parquet", dicom_tags="all")

    (path,) = downloaded().glob("arrivals/*/*.parquet")
    table = pa.parquet.read_table(path)

    assert table.schema.field("createdAt").type == pa.timestamp("ms", "UTC")
    tags = table.schema.field("DICOMTags").type
    assert {field.name: field.type for field in tags} == {
        tag: pa.string() if kind is str else pa.int64() for tag, kind in DICOM_TAGS.items()
    }
    assert table["DICOMTags"].to_pylist() == [dict.fromkeys(DICOM_TAGS)] * 3
    assert table["createdAt"].to_pylist()[0] == NOON


@pytest.mark.parametrize("first", FORMATS)
def test_the_other_format_leaves_nothing_behind(store, bucket, first):
    fill(store, 30)
    (second,) = set(FORMATS) - {first}
    search(file_format=first, rows_per_file=10)
    search(file_format=second, rows_per_file=20)

    parts = [part["uri"].removeprefix("s3://image-sets/") for part in manifest(bucket)["parts"]]
    assert list(contents(bucket)) == [FOLDER + "_manifest.json", *parts]
    assert manifest(bucket)["format"] == second


def test_parquet_without_pyarrow_fails_before_the_first_call_and_says_what_to_install(store, server, monkeypatch):
    monkeypatch.setattr(destination, "find_spec", lambda _: None)

    with pytest.raises(ConfigurationError, match=r"airflow-provider-healthimaging\[parquet\]"):
        search(file_format="parquet")

    assert server.calls.count() == 0


# Made again after an attempt that failed


def progress(bucket):
    return json.loads(bucket.Object(FOLDER + "_progress.json").get()["Body"].read())


@pytest.fixture
def interrupted(store, bucket, monkeypatch):
    """Return a function that makes an attempt which ends with an error when so many parts are written."""

    def run(parts=6, **more):
        fill(store, 100)
        wrote = count(1)
        save = Checkpoint.save

        def save_and_fail(self, number):
            save(self, number)
            if next(wrote) == parts:
                raise OSError("the worker's disk is gone")

        with monkeypatch.context() as broken:
            broken.setattr(Checkpoint, "save", save_and_fail)
            with pytest.raises(OSError, match="disk"):
                search(rows_per_file=10, **more)

    return run


def test_progress_lies_beside_the_parts_until_the_manifest_does(bucket, interrupted, server):
    interrupted()
    assert progress(bucket)["parts"] == 6
    server.calls.reset()
    search(rows_per_file=10)
    assert server.calls.count() == 1
    assert FOLDER + "_progress.json" not in contents(bucket)
    assert [part["rows"] for part in manifest(bucket)["parts"]] == [10] * 10
    assert manifest(bucket)["image_sets"] == 100


def test_a_dataset_that_is_complete_is_read_anew_when_its_task_is_cleared(store, bucket, server):
    fill(store, 100)
    search(rows_per_file=10)
    store.put_image_set(DATASTORE_ID, created_at=NOON)
    server.calls.reset()
    assert search(rows_per_file=10)["image_sets"] == 101


@pytest.mark.parametrize(
    "changed",
    [
        {"rows_per_file": 20},
        {"file_format": "parquet"},
        {"dicom_tags": ["DICOMPatientId"]},
        {"match": {"DICOMPatientId": "two"}},
        {"search_criteria": {"filters": [{"operator": "EQUAL", "values": [{"isPrimary": True}]}]}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_another_search_is_not_gone_on_from(bucket, interrupted, server, changed):
    interrupted()
    server.calls.reset()
    search(**{"rows_per_file": 10} | changed)
    assert server.calls.count() == 2


def test_a_part_that_is_gone_is_written_again(bucket, interrupted):
    interrupted()
    bucket.Object(FOLDER + "part-00000.jsonl.gz").delete()
    assert search(rows_per_file=10)["image_sets"] == 100
    assert [part["rows"] for part in manifest(bucket)["parts"]] == [10] * 10


@pytest.mark.parametrize("junk", [b"", b"[]", b"{}", b'{"search": 1}', b"\xff"])
def test_progress_that_cannot_be_read_is_none(store, bucket, junk):
    fill(store, 30)
    bucket.put_object(Key=FOLDER + "_progress.json", Body=junk)
    assert search(rows_per_file=10)["image_sets"] == 30
    assert len(contents(bucket)) == 4


@pytest.mark.parametrize("parts", [0, -1, None, "many"])
def test_progress_whose_count_is_damaged_is_none(bucket, interrupted, parts):
    interrupted()
    damaged = {**progress(bucket), "parts": parts}
    bucket.put_object(Key=FOLDER + "_progress.json", Body=json.dumps(damaged).encode())
    assert search(rows_per_file=10)["image_sets"] == 100
    assert manifest(bucket)["image_sets"] == 100


class S3Answers:
    """Answers requests to S3 that ``are`` so, from the ``first`` of them on, with ``xml``; so many times."""

    def __init__(self, xml, are, *, first=1, times=10**6):
        self.xml, self.are, self.left = xml, are, [False] * (first - 1) + [True] * min(times, 99)

    def __call__(self, app):
        def answer(environ, start_response):
            asked = f"{environ['REQUEST_METHOD']} {environ['QUERY_STRING']}"
            if self.are(asked) and self.left and self.left.pop(0):
                start_response("200 OK", [("Content-Type", "application/xml")])
                return [self.xml.encode()]
            return app(environ, start_response)

        return answer


def kept(code):
    error = f"<Error><Key>{FOLDER}_manifest.json</Key><Code>{code}</Code><Message>{CANARY}</Message></Error>"
    return S3Answers(f"<DeleteResult>{error}</DeleteResult>", lambda asked: asked.startswith("POST delete"))


@pytest.mark.parametrize(("code", "error"), [("AccessDenied", AccessDeniedError), ("InternalError", ServiceError)])
def test_what_s3_did_not_delete_is_an_error_by_its_code(behind, store, bucket, code, error):
    fill(store, 3)
    behind(kept(code))
    with pytest.raises(error) as caught:
        search()
    assert f"S3 answered {code} (HTTP 200; s3_uri s3://image-sets/arrivals/" in str(caught.value)
    assert CANARY not in str(caught.value)


def test_a_list_that_lacks_what_was_just_written_is_not_taken_for_the_whole(behind, store, bucket):
    fill(store, 30)
    search(rows_per_file=10)
    empty = (
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><KeyCount>0</KeyCount></ListBucketResult>'
    )
    behind(S3Answers(empty, lambda asked: "list-type=2" in asked, times=1))
    with pytest.raises(IncompleteResponseError, match="lacks parts that exist") as caught:
        search(rows_per_file=20)
    assert caught.value.retryable
    assert FOLDER + "_manifest.json" not in contents(bucket)
    search(rows_per_file=20)
    assert len(contents(bucket)) == 3


def test_a_result_that_may_still_change_leaves_no_progress(store, bucket, monkeypatch):
    store.put_image_set(DATASTORE_ID, created_at=NOON, updated_at=NOON)
    saved = []
    monkeypatch.setattr(S3Hook, "load_string", lambda _self, _text, key, *_args, **_kwargs: saved.append(key))
    tomorrow = datetime.now(UTC) + timedelta(days=1)

    for arguments in (
        {"time_field": "updatedAt", "window_end": tomorrow},
        {"time_field": None, "window_start": None, "window_end": None},
        {"pagination_config": {"MaxItems": 5}},
    ):
        task = operator(rows_per_file=1, **arguments)
        context = {"ti": SimpleNamespace()}
        # Not execute(): it would wait for the end of the window.
        task.search(context, task.resolve(context), task.parse_output())

    assert {key.rsplit("/")[-1] for key in saved} == {"_manifest.json"}


def test_progress_says_where_the_reading_was_and_not_what_for(bucket, interrupted, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    interrupted(match={"DICOMPatientId": [None, CANARY]})
    said = progress(bucket)
    assert said == {"search": said["search"], "parts": 6, "after": {"timestamp": ANY, "imageSetId": f"{59:032d}"}}
    assert re.fullmatch("[0-9a-f]{64}", said["search"])
    assert CANARY not in str(contents(bucket))


def test_without_a_fernet_key_nothing_is_kept_that_a_search_could_be_guessed_from(monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "")
    output = OutputRequest.parse(s3_uri="s3://image-sets/")
    hours = [TimeWindow(NOON + timedelta(hours=i), NOON + timedelta(hours=i + 1)) for i in range(2)]

    def fingerprint(window, **more):
        return search_fingerprint(SearchRequest.parse(DATASTORE_ID, window=window, **more), output.s3, (), "us-east-1")

    assert fingerprint(hours[0], match={"DICOMPatientId": "p1"}) is None
    assert fingerprint(hours[0]) != fingerprint(hours[1])
    assert fingerprint(hours[0]) == fingerprint(hours[0])


ROWS, ROWS_PER_FILE = 2000, 200


def attempt(url, arguments):
    """Make one attempt in a process of its own."""
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = airflow_connection(url)
    search(**arguments)


@pytest.fixture(scope="module")
def processes():
    """Processes that have what a worker has imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["airflow_provider_healthimaging.operators.healthimaging", __name__])
    return context


class Killer:
    """A middleware that kills a process at a certain request, be it for image sets or to S3."""

    def __init__(self, app):
        self.app = app
        self.process, self.fatal = None, 0
        self.requests = count(1)
        self.seen = 0

    def aim(self, process, fatal):
        self.process, self.fatal, self.requests, self.started = process, fatal, count(1), Event()

    def __call__(self, environ, start_response):
        self.seen = number = next(self.requests)
        if number == self.fatal:
            self.started.wait()
            os.kill(self.process.pid, signal.SIGKILL)
            raise ConnectionError
        return self.app(environ, start_response)


@pytest.fixture
def killer(behind, processes):
    """Return a function that runs an attempt, killed at a request, and gives its exit code and its calls."""
    made = []

    def middleware(app):
        made.append(Killer(app))
        return made[0]

    server, _ = behind(middleware)
    boto3.client("s3", endpoint_url=server.url).create_bucket(Bucket="image-sets")

    def run(fatal=0, **arguments):
        process = processes.Process(target=attempt, args=(server.url, arguments))
        server.calls.reset()
        made[0].aim(process, fatal)
        process.start()
        made[0].started.set()
        process.join()
        return SimpleNamespace(
            code=process.exitcode, calls=server.calls.count("SearchImageSets"), requests=made[0].seen
        )

    return run


@pytest.mark.parametrize(("file_format", "seed"), [("jsonl", 4711), ("parquet", 815)])
def test_a_task_killed_at_any_moment_and_retried_makes_the_same_dataset_and_reads_no_finished_part_again(
    store, bucket, killer, file_format, seed, whole
):
    fill(store, ROWS)
    arguments = {"file_format": file_format, "rows_per_file": ROWS_PER_FILE, "dicom_tags": ["DICOMPatientId"]}
    undisturbed = killer(**arguments).requests
    expected = contents(bucket)
    moments = [1, undisturbed // 2, undisturbed - 1]
    if whole:
        moments = random.Random(seed).sample(range(1, undisturbed + 1), 10)
    resumed = 0

    for moment in moments:
        bucket.objects.all().delete()
        # Readers cut a window by who is idle when: a run that made fewer calls is killed at the last of them.
        while (ended := killer(moment, **arguments)).code == 0:
            assert ended.requests < moment
            bucket.objects.all().delete()
            moment = ended.requests  # noqa: PLW2901
        assert ended.code == -signal.SIGKILL
        progress = contents(bucket).get(FOLDER + "_progress.json")
        finished = json.loads(progress)["parts"] if progress else 0
        retried = killer(**arguments, max_workers=1)

        assert retried.code == 0
        assert contents(bucket) == expected, f"killed at request {moment}"
        left = ROWS - finished * ROWS_PER_FILE
        assert retried.calls <= left / 50 + 4, f"killed at request {moment}, when {finished} parts were finished"
        resumed += finished

    assert resumed > 0
