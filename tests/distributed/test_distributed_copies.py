"""A search and the copies of what it found over two Celery workers, one of which is killed while it copies."""

from __future__ import annotations

import json
import time

import pytest

from airflow_provider_healthimaging.local import backend

from .conftest import WITH_PIXELS, WORKERS

DAG_ID = "distributed_copies"
BATCHES = 4
SPARED = 24
"""DICOM files that are copied before all others are held."""

COPIES = """
    SELECT ti.map_index, ti.state, ti.try_number, replace(meta.worker, 'celery@', '') AS worker
    FROM task_instance ti LEFT JOIN celery_taskmeta meta ON meta.task_id = ti.external_executor_id
    WHERE ti.run_id = :run_id AND ti.task_id = 'copy' AND ti.map_index >= 0 ORDER BY ti.map_index
"""


def copying(airflow, run_id):
    """Return the copies under way, each with its worker."""
    return [row for row in airflow.rows(COPIES, run_id=run_id) if row.state == "running" and row.worker]


def ended(airflow, run_id):
    """Wait for a run's end, and return its state."""

    def state():
        return airflow.get(f"/api/v2/dags/{DAG_ID}/dagRuns/{run_id}")["state"]

    airflow.wait_for(lambda: state() in {"success", "failed"}, "the run's end", seconds=180)
    return state()


def contents(bucket):
    return {stored.key: stored.get()["Body"].read() for stored in bucket.objects.filter(Prefix="copies/")}


def dicom_files(keys):
    return sum(key.endswith(".dcm") for key in keys)


@pytest.fixture(scope="module")
def both_workers(airflow):
    """Both workers, also if another test killed one."""
    for name in WORKERS:
        if not airflow.runs(name):
            log = airflow.logs / f"{name}.log"
            before = log.read_text().count(f"celery@{name} ready")
            airflow.start(name)
            airflow.wait_for(lambda: log.read_text().count(f"celery@{name} ready") > before, f"{name} ready")  # noqa: B023


@pytest.fixture(scope="module")
def undisturbed(airflow, both_workers, service, bucket):
    """What is in S3 after a run that nothing happens to."""
    began = time.monotonic()
    run_id = airflow.run_dag(DAG_ID)
    assert ended(airflow, run_id) == "success"
    print(f"copies, undisturbed: {time.monotonic() - began:.0f} s")  # noqa: T201
    return contents(bucket)


def test_every_image_set_of_the_search_is_complete(undisturbed):
    manifests = {key: json.loads(body) for key, body in undisturbed.items() if key.endswith("/_manifest.json")}
    image_sets = {row.image_set_id: row for row in backend().image_sets(WITH_PIXELS)}

    assert {key.split("/")[1] for key in manifests} == set(image_sets)
    for key, manifest in manifests.items():
        image_set = image_sets[key.split("/")[1]]
        assert len(manifest["dicom"]) == len(image_set.instances)


def test_killing_a_worker_while_it_copies_leaves_the_same_objects_and_manifests(
    airflow, instances, service, bucket, undisturbed
):
    bucket.objects.filter(Prefix="copies/").delete()
    service.calls.reset()
    instances.hold(after=SPARED)
    run_id = airflow.run_dag(DAG_ID)
    airflow.wait_for(lambda: {row.worker for row in copying(airflow, run_id)} == set(WORKERS), "copies on both workers")
    airflow.wait_for(lambda: len(copying(airflow, run_id)) == BATCHES, "all batches under way")
    airflow.wait_for(lambda: dicom_files(contents(bucket)) == SPARED, "some files copied")
    tasks = {name: {row.map_index for row in copying(airflow, run_id) if row.worker == name} for name in WORKERS}
    lost, other = WORKERS

    began = time.monotonic()
    airflow.kill(lost)
    in_flight = instances.under_way
    instances.let_go()
    state = ended(airflow, run_id)

    print(f"{len(tasks[lost])} copies lost with their worker; the run's end {time.monotonic() - began:.0f} s later")  # noqa: T201
    assert state == "success"
    after = contents(bucket)
    assert after.keys() == undisturbed.keys()
    assert [key for key in after if after[key] != undisturbed[key]] == []
    copies = airflow.rows(COPIES, run_id=run_id)
    assert {row.worker for row in copies if row.map_index in tasks[lost]} == {other}
    assert all(row.try_number > 1 for row in copies if row.map_index in tasks[lost])
    assert service.calls.count("GetDICOMInstance") <= dicom_files(after) + in_flight
