"""The example DAGs that import do what they say, on real DICOM files in the local service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pydicom
import pytest

from airflow_provider_healthimaging.local.__main__ import DATASTORE_ID
from airflow_provider_healthimaging.local.dicom import pydicom_sample_files
from tests.dicom_files import upload

EXAMPLES = Path(__file__).parents[2] / "example_dags"
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def example(parse):
    """``example(name)`` returns the DAG of that name, from the file of that name."""
    return lambda name: parse(EXAMPLES / f"{name}.py")[name]


@pytest.fixture
def local(store):
    """The data store that the examples import into when nothing else is said."""
    store.create_datastore("local", datastore_id=DATASTORE_ID)
    return store


def image_sets(local):
    return {image_set.image_set_id for image_set in local.image_sets(DATASTORE_ID)}


def test_import_daily_imports_the_day_before_and_runs_a_task_for_each_image_set(local, bucket, example, run_scheduled):
    upload(bucket, "inbox/2026-03-01/", series=3, broken=1)
    upload(bucket, "inbox/2026-03-02/", series=1, instances=9)
    dag = example("healthimaging_import_daily")

    (run,) = run_scheduled(dag, after=MIDNIGHT.replace(day=1), until=MIDNIGHT)

    assert run.state == "success"
    assert run.states("process") == ["success"] * 3
    assert {run.task("process", index).rendered_map_index for index in range(3)} == image_sets(local)
    summary = run.xcom("import", "summary")
    assert (summary["imported"], summary["failed"]) == (6, 1)


def test_import_on_arrival_takes_one_delivery_after_the_other(local, bucket, example, run_dag):
    for delivery in ("0001", "0002"):
        upload(bucket, f"inbox/{delivery}/")
        bucket.put_object(Key=f"ready/{delivery}", Body=b"")
    upload(bucket, "inbox/0003/", series=5)

    runs = [run_dag(example("healthimaging_import_on_arrival"), MIDNIGHT.replace(minute=minute)) for minute in (1, 2)]

    assert [run.state for run in runs] == ["success"] * 2
    assert [run.xcom("choose") for run in runs] == ["0001", "0002"]
    assert [record["version"] for record in runs[0].xcom("import")] == [1, 1]
    assert [record["version"] for record in runs[1].xcom("import")] == [2, 2]
    assert list(bucket.objects.filter(Prefix="ready/")) == []
    assert {record["imageSetId"] for record in runs[0].xcom("import")} == image_sets(local)


def test_folder_to_model_gives_each_frame_of_the_ct_and_mr_image_sets_to_the_model(local, bucket, example, run_dag):
    files = {path.name: path for path in pydicom_sample_files()}
    for number, name in enumerate(("CT_small.dcm", "MR_small.dcm", "SC_rgb_small_odd.dcm")):
        bucket.upload_file(str(files[name]), f"inbox/{number}.dcm")
    dag = example("healthimaging_folder_to_model")
    assert dag.get_task("search").delay == timedelta(minutes=1)
    dag.get_task("search").delay = timedelta(0)

    run = run_dag(dag, MIDNIGHT)

    assert len(run.xcom("import")) == 3
    predicted = run.xcom("predict", map_index=0)
    means = [[float(pydicom.dcmread(files[name]).pixel_array.mean())] for name in ("CT_small.dcm", "MR_small.dcm")]
    assert sorted(predicted.values()) == sorted(means)
    assert set(predicted) < image_sets(local)
