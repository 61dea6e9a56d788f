"""A dataset in which nothing was found can be read like any other: a Parquet dataset has one part of no rows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import duckdb
import pyarrow.dataset
import pyarrow.fs
import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from airflow_provider_healthimaging.manifest import join_manifests
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator

DATASTORE_ID = "d" * 32
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TAGS = ["DICOMSeriesModality", "DICOMStudyDate"]


def search(start=NOON, **arguments):
    given = {
        "task_id": "search",
        "datastore_id": DATASTORE_ID,
        "window_start": start,
        "window_end": start + HOUR,
        "s3_uri": "s3://image-sets/arrivals/",
        "file_format": "parquet",
        "dicom_tags": TAGS,
        "do_xcom_push": False,
    }
    return HealthImagingSearchImageSetsOperator(**given | arguments).execute({"ti": SimpleNamespace()})


def keys(bucket):
    return [each.key for each in bucket.objects.all()]


def manifest(bucket, summary):
    key = summary["manifest"].removeprefix(f"s3://{bucket.name}/")
    return json.loads(bucket.Object(key).get()["Body"].read())


@pytest.fixture
def read(server):
    """``read()`` reads all datasets under the prefix, as docs/datasets.md says."""

    def dataset():
        filesystem = pyarrow.fs.S3FileSystem(
            endpoint_override=server.url.removeprefix("http://"),
            scheme="http",
            access_key="testing",
            secret_key="testing",
            region="us-east-1",
            request_timeout=300,
            connect_timeout=300,
        )
        return pyarrow.dataset.dataset(
            "image-sets/arrivals/", format="parquet", partitioning="hive", filesystem=filesystem
        )

    return dataset


def by_modality(image_sets):
    """Ask what docs/datasets.md asks; DuckDB finds ``image_sets`` by its name."""
    return duckdb.sql(
        "SELECT DICOMTags.DICOMSeriesModality AS modality, count(*) FROM image_sets GROUP BY modality"
    ).fetchall()


def test_an_empty_parquet_dataset_has_one_part_of_no_rows_with_the_schema_of_a_full_one(store, bucket, read):
    summary = search()

    assert (summary["image_sets"], summary["parts"]) == (0, 1)
    assert [part["rows"] for part in manifest(bucket, summary)["parts"]] == [0]
    empty = read()
    assert empty.count_rows() == 0
    store.put_image_set(DATASTORE_ID, created_at=NOON)
    search()
    assert empty.schema == read().schema
    assert read().count_rows() == 1


def test_what_reads_a_full_dataset_reads_an_empty_one_and_both_together(store, bucket, read):
    search()
    assert by_modality(read()) == []
    store.put_image_set(DATASTORE_ID, created_at=NOON + HOUR, dicom_tags={"DICOMSeriesModality": "CT"})
    search(NOON + HOUR)
    assert by_modality(read()) == [("CT", 1)]


def test_an_empty_dataset_has_the_same_bytes_again_and_leaves_nothing_of_a_full_one(store, bucket):
    for _ in range(2):
        store.put_image_set(DATASTORE_ID, created_at=NOON)
    search(rows_per_file=1)
    for each in store.image_sets(DATASTORE_ID):
        store.delete_image_set(DATASTORE_ID, each.image_set_id)
    first = search(rows_per_file=1)
    content = {key: bucket.Object(key).get()["Body"].read() for key in keys(bucket)}
    assert search(rows_per_file=1) == first
    assert {key: bucket.Object(key).get()["Body"].read() for key in keys(bucket)} == content
    assert len(content) == 2


def test_a_dataset_whose_last_part_is_full_has_no_empty_part(store, bucket):
    for second in range(4):
        store.put_image_set(DATASTORE_ID, created_at=NOON + timedelta(seconds=second))
    assert [part["rows"] for part in manifest(bucket, search(rows_per_file=2))["parts"]] == [2, 2]


def test_empty_datasets_can_be_joined_with_full_ones(store, bucket, read):
    store.put_image_set(DATASTORE_ID, created_at=NOON + HOUR)
    manifests = [search(NOON + hour * HOUR)["manifest"] for hour in range(3)]
    joined = join_manifests(S3Hook(), manifests, "s3://image-sets/joined/")
    assert (joined["image_sets"], joined["parts"]) == (1, 3)


def test_an_empty_dataset_of_json_lines_has_no_part(store, bucket):
    assert search(file_format="jsonl")["parts"] == 0
    assert len(keys(bucket)) == 1
