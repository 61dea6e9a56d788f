"""What the distributed test runs on: Airflow with two Celery workers, and a HealthImaging with a year in it."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from airflow_provider_healthimaging.local import LocalServer, airflow_connection, backend, load_dicom
from airflow_provider_healthimaging.local.dicom import pydicom_sample_files
from airflow_provider_healthimaging.window import TimeWindow
from tests.deployment import Deployment, launched, metadata_database, pytest_runtest_makereport

from .services import postgresql, redis_database
from .traffic import Traffic

__all__ = ["pytest_runtest_makereport"]  # pytest's hook: it shows the logs with a failure

EXAMPLE = Path(__file__).parents[2] / "example_dags" / "healthimaging_backfill_year.py"
COPIES = Path(__file__).parents[1] / "dags" / "distributed_copies.py"
DATASTORE_ID = "f" * 32
WITH_PIXELS = "e" * 32
"""The data store with pydicom's files."""

BUCKET = "distributed"
YEAR = TimeWindow("2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z")
WINDOWS = YEAR.split(12)
POOL = "healthimaging"
SLOTS = 6
"""Calls at a time: three tasks with two readers each."""

LATENCY = 0.25
"""Seconds that an answer takes: so many calls at a time make 24 a second, of the 25 that an account has."""

TASKS_A_WORKER = 2
"""So that three tasks are never on one worker, and the pool, not the workers, is what keeps them to three."""


def worker(name: str) -> tuple[str, ...]:
    return (
        *("celery", "worker", "--celery-hostname", name, "--concurrency", str(TASKS_A_WORKER)),
        *("--skip-serve-logs", "--without-mingle", "--without-gossip"),
    )


WORKERS = {name: worker(name) for name in ("worker-1", "worker-2")}


@pytest.fixture(scope="session")
def image_sets() -> list[str]:
    """The ids of a year's image sets in order of time: at random, and at each edge of a window and beside it."""
    chance = random.Random(5)
    store = backend()
    store.create_datastore("distributed", datastore_id=DATASTORE_ID)
    moments = {YEAR.start + chance.random() * YEAR.duration for _ in range(6000)}
    for edge in (*(window.start for window in WINDOWS), YEAR.end):
        moments |= {edge + number * timedelta(microseconds=1) for number in (-1, 0, 1)}
    by_time = [(moment, store.put_image_set(DATASTORE_ID, created_at=moment)) for moment in sorted(moments)]
    return [row.image_set_id for moment, row in by_time if moment in YEAR]


@pytest.fixture(scope="session")
def traffic() -> Traffic:
    """The calls of SearchImageSets under way."""
    return Traffic(lambda path: path.endswith("/searchImageSets"))


@pytest.fixture(scope="session")
def instances() -> Traffic:
    """The calls of GetDICOMInstance under way."""
    return Traffic(lambda path: "/instances/" in path)


@pytest.fixture(scope="session")
def imported() -> None:
    """A data store with pydicom's files."""
    store = backend()
    store.create_datastore("pixels", datastore_id=WITH_PIXELS)
    load_dicom(pydicom_sample_files(), WITH_PIXELS, backend=store, created_at=YEAR.start)


@pytest.fixture(scope="session")
def service(image_sets, imported, traffic, instances) -> Iterator[LocalServer]:
    """HealthImaging with the account's quota, and S3 with a bucket."""
    settings = backend().settings
    settings.latency, settings.calls_per_second, settings.burst = LATENCY, 25, SLOTS
    with LocalServer(middleware=lambda app: instances.before(traffic.before(app))) as running:
        boto3.client("s3", endpoint_url=running.url).create_bucket(Bucket=BUCKET)
        yield running


@pytest.fixture(scope="session")
def airflow(service, tmp_path_factory, request) -> Iterator[Deployment]:
    """Airflow, healthy, with two workers, the pool and the example."""
    home = tmp_path_factory.mktemp("airflow")
    dags = home / "dags"
    dags.mkdir()
    for dag in (EXAMPLE, COPIES):
        shutil.copy(dag, dags)
    with postgresql(), metadata_database(home) as database, redis_database() as broker:
        assert database.startswith("postgresql"), "Celery's results and the scheduler share no SQLite"
        deployment = Deployment(
            home,
            database,
            dags,
            {
                "AIRFLOW_CONN_AWS_DEFAULT": airflow_connection(service.url),
                "AIRFLOW_VAR_HEALTHIMAGING_BUCKET": BUCKET,
                "AIRFLOW_VAR_HEALTHIMAGING_DATASTORE_ID": DATASTORE_ID,
                "AIRFLOW__CELERY__BROKER_URL": broker,
                "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
                # Keeps which worker did a task.
                "AIRFLOW__CELERY__EXTRA_CELERY_CONFIG": json.dumps({"result_extended": True}),
                "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
                "AIRFLOW__CORE__PARALLELISM": "16",
                # How soon the tasks of a worker that died are tried again: docs/scaling.md has what Airflow's own are.
                "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "60",
                "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
                "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "40",
                "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
                "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
            },
            WORKERS,
        )
        with launched(deployment, request.config):
            for name in WORKERS:
                log = deployment.logs / f"{name}.log"
                deployment.wait_for(lambda log=log: f"celery@{log.stem} ready" in log.read_text(), f"{name} ready")
            parsed = "SELECT 1 FROM dag WHERE NOT is_stale"
            deployment.wait_for(lambda: len(deployment.rows(parsed)) == 2, "the DAGs parsed")
            deployment.post("/api/v2/pools", name=POOL, slots=SLOTS)
            yield deployment


@pytest.fixture(scope="session")
def bucket(service) -> Any:
    """The bucket that the datasets are in, as a boto3 resource."""
    return boto3.resource("s3", endpoint_url=service.url).Bucket(BUCKET)
