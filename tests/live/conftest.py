"""What the live test runs on: Airflow's processes, and a local HealthImaging that fills up while they run."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_healthimaging.local import LocalServer, airflow_connection, backend
from tests.deployment import Deployment, launched, metadata_database, pytest_runtest_makereport

from .history import History

__all__ = ["pytest_runtest_makereport"]  # pytest's hook: it shows the logs with a failure

DATASTORE_ID = "e" * 32
EVENT_DATASTORES = ("1" * 32, "2" * 32, "3" * 32)
"""What ``dags/events.py`` watches."""

TRIGGERER = ("triggerer", "--skip-serve-logs")
PATIENT = SimpleNamespace(
    name="Qzxcanary^Jane",
    patient_id="QZXCANARY-4711",
    study_id="QZXCANARY-S1",
    study_uid="1.2.826.0.1.73577537.1",
    accession_numbers=("QZXCANARY-A1", "QZXCANARY-A2"),
)
"""Patient data, which is to be found nowhere in Airflow by any of ``CANARIES``."""
CANARIES = ("qzxcanary", "73577537")
LEAKED = "kvjcontrol-0815"
"""What a task that leaks was given: it is to be found everywhere."""

SPEED = 8
PACE = (
    # every so many seconds, so many at once, so often: ten minutes in all
    (6, 1, 20),
    (0, 130, 1),
    (90, 1, 1),
    (1, 2, 60),
    (60, 40, 2),
    (2, 1, 60),
    (90, 25, 1),
)


class Arrivals(Thread):
    """Image sets arriving, ten minutes' worth of them, ``SPEED`` times as fast; the index lags a little."""

    def __init__(self, store: Any) -> None:
        super().__init__(daemon=True)
        self.created_at: dict[str, datetime] = {}
        self._store = store
        self._ended = Event()

    def run(self) -> None:
        chance = random.Random(3)
        for seconds, at_once, times in PACE:
            for _ in range(times):
                if self._ended.wait(seconds / SPEED * chance.uniform(0.5, 1.5)):
                    return
                created_at = datetime.now(UTC) - timedelta(seconds=chance.uniform(0, 0.5))
                for _ in range(at_once):
                    self.put(created_at)

    def put(self, created_at: datetime, **tags: str) -> str:
        tags = tags or {"DICOMStudyId": PATIENT.study_id}
        image_set = self._store.put_image_set(
            DATASTORE_ID,
            created_at=created_at,
            dicom_tags={
                "DICOMPatientName": PATIENT.name,
                "DICOMPatientId": PATIENT.patient_id,
                "DICOMStudyInstanceUID": PATIENT.study_uid,
                **tags,
            },
        )
        if "DICOMStudyId" in tags:
            self.created_at[image_set.image_set_id] = created_at
        return image_set.image_set_id

    def end(self) -> None:
        self._ended.set()
        self.join()


@pytest.fixture(scope="session")
def shared_service() -> Iterator[LocalServer]:
    """A server of its own for watchers whose calls are counted, on the same data stores."""
    with LocalServer() as service:
        yield service


@pytest.fixture(scope="session")
def airflow(tmp_path_factory, request, shared_service) -> Iterator[Deployment]:
    """Airflow, healthy, with a HealthImaging whose data store is empty yet; nothing of it is left in the end."""
    home = tmp_path_factory.mktemp("airflow")
    for datastore_id in (DATASTORE_ID, *EVENT_DATASTORES):
        backend().create_datastore("live", datastore_id=datastore_id)
    with LocalServer() as service, metadata_database(home) as database:
        deployment = Deployment(
            home,
            database,
            Path(__file__).parent / "dags",
            {
                "AIRFLOW_CONN_AWS_DEFAULT": airflow_connection(service.url),
                "AIRFLOW_CONN_AWS_SHARED": airflow_connection(shared_service.url),
                # Variables from the environment are in no table.
                "AIRFLOW_VAR_ACCESSION_NUMBER_1": PATIENT.accession_numbers[0],
                "AIRFLOW_VAR_ACCESSION_NUMBER_2": PATIENT.accession_numbers[1],
                "AIRFLOW_VAR_STUDY_ID": PATIENT.study_id,
                "AIRFLOW_VAR_LEAKED": LEAKED,
                "LIVE_DATASTORE_ID": DATASTORE_ID,
                "LIVE_EVENT_DATASTORES": ",".join(EVENT_DATASTORES),
                # How soon a task is found that died with its scheduler.
                "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
                "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "8",
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
                "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
            },
            {"triggerer": TRIGGERER},
        )
        with launched(deployment, request.config):
            yield deployment


@pytest.fixture
def second_triggerer(airflow) -> Iterator[Callable[[], None]]:
    """``second_triggerer()`` starts another triggerer, which is killed after the test."""
    name = "triggerer-2"
    alive = "SELECT count(*) AS number FROM job WHERE job_type = 'TriggererJob' AND state = 'running'"

    def start() -> None:
        before = airflow.rows(alive)[0].number
        airflow.start(name, *TRIGGERER)
        airflow.wait_for(lambda: airflow.rows(alive)[0].number > before, "the second triggerer")

    yield start
    if airflow.runs(name):
        airflow.kill(name)


@pytest.fixture(scope="session")
def history(airflow) -> Iterator[History]:
    """What the watcher's database rows have looked like, seen often."""
    history = History(airflow)
    airflow.wait_for(history.watermark, "the watcher's first look")
    history.start()
    yield history
    history.end()


@pytest.fixture(scope="session")
def arrivals(history) -> Iterator[Arrivals]:
    """Image sets arriving, from the first test on."""
    arrivals = Arrivals(backend())
    arrivals.start()
    yield arrivals
    arrivals.end()
