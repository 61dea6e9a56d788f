"""The dataset of a search is copied in all its formats, and a damaged one is an error that shows nothing of it."""

from __future__ import annotations

import gzip
import json
import sys
from datetime import UTC, datetime

import pytest

from airflow_provider_healthimaging.exceptions import AccessDeniedError, HealthImagingError
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from tests.copies import DATASTORE_ID, copy

WHEN = datetime(2026, 3, 1, 12, tzinfo=UTC)
CANARY = "CANARY-4711"
TAGS = {"none": None, "a tag": ["DICOMPatientName"], "all": "all"}


class Pushed:
    """A task instance."""

    map_index = -1

    def xcom_push(self, key, value):
        pass


@pytest.fixture
def search(store, bucket):
    """Return a function that searches for three image sets, and writes a dataset."""
    for _ in range(3):
        store.put_image_set(DATASTORE_ID, created_at=WHEN, dicom_tags={"DICOMPatientName": CANARY})

    def run(**arguments):
        task = HealthImagingSearchImageSetsOperator(
            task_id="search",
            datastore_id=DATASTORE_ID,
            time_field=None,
            **{"s3_uri": "s3://image-sets/found/", "rows_per_file": 2, **arguments},
        )
        return task.execute({"ti": Pushed()})

    return run


@pytest.mark.parametrize("tags", TAGS)
@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_records_of_a_dataset_are_those_of_xcom(store, search, file_format, tags):
    dataset = search(file_format=file_format, dicom_tags=TAGS[tags])
    wanted = search(s3_uri=None)
    copied = copy(dataset["manifest"], content=["metadata"])
    assert [{**each, "s3_uri": None} for each in copied] == [{**each, "s3_uri": None} for each in wanted]
    assert copy(dataset, content=["metadata"]) == copied


def damaged(bucket, dataset, change):
    """Change the first part of a dataset."""
    manifest = json.loads(bucket.Object(dataset["manifest"].split("/", 3)[3]).get()["Body"].read())
    part = bucket.Object(manifest["parts"][0]["uri"].split("/", 3)[3])
    part.put(Body=change(part.get()["Body"].read()))


def flipped(data):
    middle = len(data) // 2
    return data[:middle] + bytes(8) + data[middle + 8 :]


def lines(*given):
    return lambda data: gzip.compress("".join(f"{each}\n" for each in given).encode())


DAMAGES = {
    "bits": flipped,
    "end": lambda data: data[: len(data) // 2],
    "nothing": lambda data: b"",
    "text": lambda data: CANARY.encode(),
    "no objects": lines(f'["{CANARY}"]'),
    "a number": lines("7"),
    "deep": lines("[" * 100_000),
    "no record": lines(json.dumps({"imageSetId": CANARY})),
    "too few": lines(),
}


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_part_is_an_error_of_ours_without_its_content(bucket, search, all_text, file_format, damage):
    dataset = search(file_format=file_format, dicom_tags="all")
    damaged(bucket, dataset, DAMAGES[damage])
    with pytest.raises(HealthImagingError) as refused:
        copy(dataset, content=["metadata"])
    assert CANARY not in all_text(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"image_sets": 1, "parts": []}',
        b'{"image_sets": 1, "parts": [7]}',
        b'{"image_sets": 1, "parts": [{"uri": "s3://image-sets/x"}]}',
        b'{"image_sets": 1, "parts": [{"uri": 7, "rows": 1}]}',
        b'{"image_sets": 1, "parts": [{"uri": "x", "rows": 1}]}',
    ],
)
def test_what_is_no_manifest_of_records_is_an_error_of_ours(store, bucket, text):
    bucket.put_object(Key="x/_manifest.json", Body=text)
    with pytest.raises(HealthImagingError):
        copy("s3://image-sets/x/_manifest.json", content=["metadata"])


def test_a_manifest_that_may_not_be_read_is_an_error_of_permissions(search, behind):
    dataset = search()

    def forbidding(app):
        def answer(environ, start_response):
            if not environ["PATH_INFO"].endswith("_manifest.json"):
                return app(environ, start_response)
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code></Error>"]

        return answer

    behind(forbidding)
    with pytest.raises(AccessDeniedError, match="S3 answered 403"):
        copy(dataset, content=["metadata"])


def test_without_pyarrow_the_error_says_what_to_install(search, monkeypatch):
    dataset = search(file_format="parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(HealthImagingError, match=r"pip install 'airflow-provider-healthimaging\[parquet\]'"):
        copy(dataset, content=["metadata"])
