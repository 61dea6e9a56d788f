"""A year's backfill over two Celery workers, one of which is killed: what one process cannot show."""

from __future__ import annotations

import gzip
import json
import time
from dataclasses import dataclass, field

import pytest

from .conftest import BUCKET, POOL, SLOTS, WINDOWS, WORKERS, YEAR

DAG_ID = "healthimaging_backfill_year"
AT_A_TIME = 3
"""Tasks that the pool lets run."""

SEARCHES = """
    SELECT ti.map_index, ti.state, ti.try_number, replace(meta.worker, 'celery@', '') AS worker
    FROM task_instance ti LEFT JOIN celery_taskmeta meta ON meta.task_id = ti.external_executor_id
    WHERE ti.run_id = :run_id AND ti.task_id = 'search' AND ti.map_index >= 0 ORDER BY ti.map_index
"""


def start(airflow, traffic):
    """Start a backfill, and return its id once as many tasks as may wait for the service's answer to a call."""
    traffic.hold()
    run_id = airflow.run_dag(DAG_ID, year=YEAR.start.year, windows=len(WINDOWS))
    airflow.wait_for(lambda: traffic.under_way == AT_A_TIME, f"{AT_A_TIME} searches under way")
    airflow.wait_for(lambda: len(searching(airflow, run_id)) == AT_A_TIME, "their workers known")
    return run_id


def searching(airflow, run_id):
    """Return the searches under way, each with its worker."""
    return [row for row in airflow.rows(SEARCHES, run_id=run_id) if row.state == "running" and row.worker]


def ended(airflow, run_id):
    """Wait for a run's end, and return its state."""

    def state():
        return airflow.get(f"/api/v2/dags/{DAG_ID}/dagRuns/{run_id}")["state"]

    airflow.wait_for(lambda: state() in {"success", "failed"}, "the run's end", seconds=180)
    return state()


def contents(bucket):
    """Return all that is in the bucket."""
    return {stored.key: stored.get()["Body"].read() for stored in bucket.objects.all()}


@dataclass
class Backfill:
    """What there is to see of a backfill."""

    run_id: str
    state: str
    pool: dict
    most: int
    refused: int
    contents: dict[str, bytes] = field(repr=False)


@pytest.fixture(scope="module")
def undisturbed(airflow, traffic, service, bucket):
    """A backfill that nothing happens to, and what the pool was like while as many searches as may were under way."""
    service.calls.reset()
    began = time.monotonic()
    run_id = start(airflow, traffic)
    airflow.wait_for(lambda: pool(airflow)["scheduled_slots"], "tasks that wait for the pool")
    full = pool(airflow)
    traffic.let_go()
    state = ended(airflow, run_id)
    seconds = time.monotonic() - began
    calls, refused = service.calls.count("SearchImageSets"), service.calls.count(status=429)
    print(f"undisturbed: {seconds:.0f} s, {calls} calls, {traffic.most} at a time at most, {refused} refused")  # noqa: T201
    return Backfill(run_id, state, full, traffic.most, refused, contents(bucket))


def pool(airflow):
    return airflow.get(f"/api/v2/pools/{POOL}")


def test_joined_dataset_has_every_image_set_of_the_year_exactly_once(airflow, undisturbed, image_sets):
    assert undisturbed.state == "success"
    path = f"/api/v2/dags/{DAG_ID}/dagRuns/{undisturbed.run_id}/taskInstances/join/xcomEntries/return_value"
    joined = airflow.get(path, stringify="false")["value"]
    assert joined["s3_uri"] == f"s3://{BUCKET}/backfill/window=20250101T000000Z_20260101T000000Z/"
    assert joined["image_sets"] == len(image_sets)

    def read(uri):
        return undisturbed.contents[uri.removeprefix(f"s3://{BUCKET}/")]

    parts = json.loads(read(joined["manifest"]))["parts"]
    lines = (line for part in parts for line in gzip.decompress(read(part["uri"])).splitlines())
    assert [json.loads(line)["imageSetId"] for line in lines] == image_sets


def test_both_workers_took_part(airflow, undisturbed):
    searches = airflow.rows(SEARCHES, run_id=undisturbed.run_id)

    assert [row.state for row in searches] == ["success"] * len(WINDOWS)
    assert {row.worker for row in searches} == set(WORKERS)
    assert {row.try_number for row in searches} == {1}


def test_calls_at_a_time_are_never_more_than_the_pool_has_slots(undisturbed):
    assert undisturbed.pool["occupied_slots"] == SLOTS
    assert undisturbed.pool["open_slots"] == 0
    assert AT_A_TIME <= undisturbed.most <= SLOTS


def test_calls_of_all_workers_together_stay_within_the_accounts_quota(undisturbed):
    assert undisturbed.refused == 0


def test_killing_a_worker_in_the_middle_leaves_the_same_dataset(airflow, traffic, bucket, undisturbed):
    bucket.objects.delete()
    run_id = start(airflow, traffic)
    tasks = {name: {row.map_index for row in searching(airflow, run_id) if row.worker == name} for name in WORKERS}
    other, lost = sorted(tasks, key=lambda name: len(tasks[name]))
    of_lost = tasks[lost]

    began = time.monotonic()
    airflow.kill(lost)
    traffic.let_go()
    state = ended(airflow, run_id)

    print(f"{len(of_lost)} searches lost with their worker; the run's end {time.monotonic() - began:.0f} s later")  # noqa: T201
    assert state == "success"
    after = contents(bucket)
    assert after.keys() == undisturbed.contents.keys()
    assert [key for key in after if after[key] != undisturbed.contents[key]] == []
    searches = airflow.rows(SEARCHES, run_id=run_id)
    assert {row.map_index for row in searches if row.try_number > 1} >= of_lost
    assert {row.worker for row in searches if row.map_index in of_lost} == {other}
    assert traffic.most <= SLOTS
