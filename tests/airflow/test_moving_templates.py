"""A template that renders to another value each time moves nothing: what a task resolved before a deferral counts.

Airflow renders a deferred task's templates again when the task resumes. ``moving()`` then gives its next value.
"""

from __future__ import annotations

import asyncio
import json
import pkgutil
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import DAG, TaskDeferred
from cryptography.fernet import Fernet

from airflow_provider_healthimaging.operators import search as operators
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor

DATASTORE_ID = "d" * 32
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PATIENTS = ("CANARY-1", "CANARY-2", "CANARY-3", "CANARY-4", "CANARY-5")


@pytest.fixture(autouse=True)
def fernet_key(monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())


@pytest.fixture
def dag(request, opened):
    """A DAG whose templates move on: an hour, or a patient, each time that they are rendered."""
    hours, patients = iter(range(100)), iter(PATIENTS)

    def now():
        return (NOON + next(hours) * HOUR).isoformat()

    macros = {"now": now, "patient": partial(next, patients)}
    name = request.node.name.replace("[", "-").replace("]", "")
    made = DAG(name, schedule="@hourly", start_date=NOON, catchup=False, user_defined_macros=macros)
    return opened.enter_context(made)


@pytest.fixture
def before_the_end(monkeypatch):
    """Let the operator look at the clock a minute before noon, and then an hour after."""
    looks = [NOON - timedelta(minutes=1), NOON + HOUR]

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return looks.pop(0)

    monkeypatch.setattr(operators, "datetime", Clock)
    return looks


def equal(patient):
    return {"filters": [{"values": [{"DICOMPatientId": patient}], "operator": "EQUAL"}]}


def put(store, hour, patient=""):
    row = store.put_image_set(DATASTORE_ID, created_at=NOON + hour * HOUR, dicom_tags={"DICOMPatientId": patient})
    return row.image_set_id


def window(run, task_id):
    return [datetime.fromisoformat(edge) for edge in run.xcom(task_id, "summary")["window"].values()]


def test_an_operator_whose_window_ends_now_searches_the_window_that_it_waited_for(store, dag, before_the_end, run_dag):
    found = put(store, -0.5)
    put(store, 0.5)
    HealthImagingSearchImageSetsOperator(
        task_id="find",
        datastore_id=DATASTORE_ID,
        window_start=NOON - HOUR,
        window_end="{{ now() }}",
        delay=0,
        deferrable=True,
    )

    run = run_dag(dag, NOON)

    assert window(run, "find") == [NOON - HOUR, NOON]
    assert [record["imageSetId"] for record in run.xcom("find")] == [found]
    assert before_the_end == []


def test_an_operator_searches_by_the_criteria_that_it_waited_with(store, dag, before_the_end, run_dag):
    found = put(store, -0.5, PATIENTS[0])
    put(store, -0.5, PATIENTS[1])
    HealthImagingSearchImageSetsOperator(
        task_id="find",
        datastore_id=DATASTORE_ID,
        window_start=NOON - HOUR,
        window_end=NOON,
        search_criteria=equal("{{ patient() }}"),
        deferrable=True,
    )

    run = run_dag(dag, NOON)

    assert [record["imageSetId"] for record in run.xcom("find")] == [found]


def sensor_that_is_deferred(arrive, **arguments):
    """Make a sensor that finds nothing before it is deferred, and what ``arrive`` puts after."""

    class Watched(HealthImagingImageSetSensor):
        def make_trigger(self, context, deadline):
            arrive()
            return super().make_trigger(context, deadline)

    Watched(task_id="wait", datastore_id=DATASTORE_ID, deferrable=True, poke_interval=0.1, **arguments)


@pytest.mark.parametrize(
    ("moves", "expected"), [("window_start", (NOON, NOON + 50 * HOUR)), ("window_end", (NOON - HOUR, NOON))]
)
def test_a_sensor_hands_on_the_window_that_it_waited_for(moves, expected, store, dag, run_dag):
    edges = {"window_start": NOON - HOUR, "window_end": NOON + 50 * HOUR}
    sensor_that_is_deferred(
        lambda: put(store, 0.5 if moves == "window_start" else -0.5), **{**edges, moves: "{{ now() }}"}
    )

    run = run_dag(dag, NOON)

    assert run.states("wait") == ["success"]
    assert tuple(window(run, "wait")) == expected


def test_a_sensor_hands_on_what_it_waited_for(store, dag, run_dag):
    found = []

    def arrive():
        put(store, -0.5, PATIENTS[1])
        found.append(put(store, -0.5, PATIENTS[0]))

    sensor_that_is_deferred(arrive, window_start=NOON - HOUR, window_end=NOON, search_criteria=equal("{{ patient() }}"))

    run = run_dag(dag, NOON)

    assert [record["imageSetId"] for record in run.xcom("wait")] == found


def test_the_start_of_an_open_ended_sensor_stays_where_it_was(store, dag, run_dag):
    sensor_that_is_deferred(lambda: put(store, 0), open_ended=True, window_start="{{ now() }}")

    run = run_dag(dag, NOON)

    assert window(run, "wait")[0] == NOON
    assert run.xcom("wait", "summary")["rule"] == "rule 1: window_start and window_end; open-ended"


def operator(**arguments):
    return HealthImagingSearchImageSetsOperator(
        task_id="find", datastore_id=DATASTORE_ID, deferrable=True, do_xcom_push=False, **arguments
    )


def sensor(**arguments):
    return HealthImagingImageSetSensor(
        task_id="wait",
        datastore_id=DATASTORE_ID,
        deferrable=True,
        poke_interval=0.1,
        do_xcom_push=False,
        **arguments,
    )


@pytest.mark.parametrize("make", [operator, sensor])
def test_another_process_resumes_with_what_was_resolved_and_nothing_kept_shows_a_value(
    make, store, before_the_end, monkeypatch
):
    """The scheduler keeps the trigger as JSON, and the event too; the worker that resumes rendered anew."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    edges = {"window_start": NOON - HOUR, "window_end": NOON}
    before = make(search_criteria=equal(PATIENTS[0]), match={"DICOMSeriesModality": ["CT"]}, **edges)
    after = make(search_criteria=equal(PATIENTS[1]), window_start=tomorrow - HOUR, window_end=tomorrow)
    with pytest.raises(TaskDeferred) as deferred:
        before.execute({"ti": SimpleNamespace()})
    path, kept = deferred.value.trigger.serialize()
    kept = {
        name: value if isinstance(value, datetime) else json.loads(json.dumps(value)) for name, value in kept.items()
    }
    trigger = pkgutil.resolve_name(path)(**kept)
    found = store.put_image_set(
        DATASTORE_ID,
        created_at=NOON - HOUR / 2,
        dicom_tags={"DICOMPatientId": PATIENTS[0], "DICOMSeriesModality": "CT"},
    )
    put(store, -0.5, PATIENTS[0])
    put(store, -0.5, PATIENTS[1])

    event = json.loads(json.dumps(asyncio.run(anext(trigger.run())).payload))
    records = after.resume_execution("execute_complete", {"event": event}, {"ti": SimpleNamespace()})

    assert [record["imageSetId"] for record in records] == [found.image_set_id]
    assert "CANARY" not in f"{kept}{event}{trigger!r}"
