"""The example DAG that splits a year over mapped tasks does what it says, in one process."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_provider_healthimaging.local.__main__ import DATASTORE_ID
from airflow_provider_healthimaging.window import TimeWindow

EXAMPLE = Path(__file__).parents[2] / "example_dags" / "healthimaging_backfill_year.py"
YEAR = TimeWindow("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z")
WINDOWS = YEAR.split(3)
DATASET = "backfill/window=20240101T000000Z_20250101T000000Z/_manifest.json"


@pytest.fixture
def dag(parse):
    """The example, without its retries: what fails here should not wait for minutes to fail again."""
    example = parse(EXAMPLE)["healthimaging_backfill_year"]
    for task in example.tasks:
        getattr(task, "partial_kwargs", vars(task))["retries"] = 0
    return example


@pytest.fixture
def of_the_year(store):
    """The ids of the year's image sets in order of time; there are some at each edge of a window, and beside it."""
    store.create_datastore("local", datastore_id=DATASTORE_ID)
    edges = [window.start for window in WINDOWS] + [YEAR.end]
    beside = timedelta(microseconds=1)
    for moment in (each for edge in edges for each in (edge - beside, edge, edge + beside)):
        store.put_image_set(DATASTORE_ID, created_at=moment)
    rows = sorted(store.image_sets(DATASTORE_ID), key=lambda row: row.created_at)
    return [row.image_set_id for row in rows if row.created_at in YEAR]


def image_set_ids(bucket):
    """Return the ids in the joined dataset, in its order."""
    manifest = json.load(bucket.Object(DATASET).get()["Body"])
    keys = (part["uri"].removeprefix("s3://image-sets/") for part in manifest["parts"])
    bodies = (gzip.decompress(bucket.Object(key).get()["Body"].read()) for key in keys)
    return [json.loads(line)["imageSetId"] for body in bodies for line in body.splitlines()]


def test_backfill_of_a_year_is_one_dataset_with_every_image_set_once(of_the_year, dag, run_dag, bucket):
    run = run_dag(dag, datetime(2026, 6, 1, tzinfo=UTC), {"year": 2024, "windows": 3})

    assert run.states("search") == ["success"] * 3
    assert image_set_ids(bucket) == of_the_year
    assert run.xcom("join") == {
        "s3_uri": f"s3://image-sets/{DATASET.removesuffix('_manifest.json')}",
        "manifest": f"s3://image-sets/{DATASET}",
        "image_sets": len(of_the_year),
        "parts": 3,
    }


def test_tasks_are_named_after_their_windows_and_take_a_slot_of_the_pool_for_each_reader(
    of_the_year, dag, run_dag, bucket
):
    run = run_dag(dag, datetime(2026, 6, 2, tzinfo=UTC), {"year": 2024, "windows": 3})

    tasks = [run.task("search", index) for index in range(3)]
    assert [ti.rendered_map_index for ti in tasks] == [window.to_dict()["start"] for window in WINDOWS]
    assert {ti.pool for ti in tasks} == {"healthimaging"}
    assert {ti.pool_slots for ti in tasks} == {dag.get_task("search").partial_kwargs["max_workers"]} == {2}
    assert {run.task("windows").pool, run.task("join").pool} == {"default_pool"}


def test_clearing_the_run_writes_the_same_keys_and_bytes(of_the_year, dag, run_dag, clear_and_run, bucket):
    run = run_dag(dag, datetime(2026, 6, 3, tzinfo=UTC), {"year": 2024, "windows": 3})
    before = {stored.key: stored.e_tag for stored in bucket.objects.all()}
    assert DATASET in before
    bucket.objects.delete()

    again = clear_and_run(dag, run)

    assert again.xcom("join") == run.xcom("join")
    assert {stored.key: stored.e_tag for stored in bucket.objects.all()} == before
