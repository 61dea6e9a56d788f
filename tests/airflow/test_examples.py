"""The example DAGs do what they say, on pydicom's DICOM files in the local service."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import airflow
import pytest
from packaging.version import Version

from airflow_provider_healthimaging.local.__main__ import DATASTORE_ID
from airflow_provider_healthimaging.local.dicom import load_dicom, pydicom_sample_files

EXAMPLES = Path(__file__).parents[2] / "example_dags"
ALL = sorted(EXAMPLES.glob("*.py"))
NEEDS_ASSET_STATE = {"healthimaging_on_arrival"}

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def samples(store):
    """What the local service's own data store holds: pydicom's files, which came at half past eleven."""
    store.create_datastore("local", datastore_id=DATASTORE_ID)
    load_dicom(pydicom_sample_files(), DATASTORE_ID, backend=store, created_at=NOON - timedelta(minutes=30))
    return store.image_sets(DATASTORE_ID)


@pytest.fixture
def example(parse):
    """``example(name)`` returns the DAG of that name, from the file of that name."""
    return lambda name: parse(EXAMPLES / f"{name}.py")[name]


def test_hourly_runs_a_task_for_each_image_set_named_after_it(samples, example, run_dag):
    run = run_dag(example("healthimaging_hourly"), NOON + timedelta(minutes=5))

    tasks = [run.task("process", index) for index in range(len(samples))]
    assert run.states("process") == ["success"] * len(samples)
    assert {ti.rendered_map_index: run.xcom("process", map_index=ti.map_index) for ti in tasks} == {
        row.image_set_id: f"{row.image_set_id}, version 1" for row in samples
    }


def test_to_s3_counts_the_modalities_in_the_parts_that_the_manifest_lists(samples, example, run_dag, bucket):
    run = run_dag(example("healthimaging_to_s3"), NOON + timedelta(minutes=5))

    modalities = Counter(row.dicom_tags["DICOMSeriesModality"] or "none" for row in samples)
    assert run.xcom("count_modalities") == modalities
    assert [stored.key for stored in bucket.objects.all()] == [
        "arrivals/window=20260301T110000Z_20260301T120000Z/_manifest.json",
        "arrivals/window=20260301T110000Z_20260301T120000Z/part-00000.jsonl.gz",
    ]


@pytest.mark.parametrize("path", ALL, ids=[path.stem for path in ALL])
def test_an_example_has_the_dag_of_its_files_name(path, parse):
    if path.stem in NEEDS_ASSET_STATE and Version(airflow.__version__) < Version("3.3.0.dev0"):
        pytest.skip("needs the asset state store of Airflow 3.3")

    assert list(parse(path)) == [path.stem]


@pytest.mark.parametrize("path", ALL, ids=[path.stem for path in ALL])
def test_an_example_is_short_and_begins_with_whom_it_is_for(path):
    text = path.read_text()

    assert text.startswith('"""For whoever ')
    assert len(text.splitlines()) <= 60
