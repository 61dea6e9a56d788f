"""What a task says of its own time holds while it is deferred: execution_timeout, exponential_backoff, max_wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import airflow
import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowSensorTimeout, AirflowTaskTimeout, TaskDeferred
from packaging.version import Version

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor
from airflow_provider_healthimaging.triggers import waiting as waiting_trigger
from airflow_provider_healthimaging.window import format_utc

airflow_3 = pytest.mark.skipif(
    Version(airflow.__version__) < Version("3.0.0.dev0"),
    reason="Airflow 2 ends deferred tasks by itself, and its dag.test() passes the timeout on",
)

DATASTORE_ID = "d" * 32
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
WINDOW = {"window_start": NOON - HOUR, "window_end": NOON}


@pytest.fixture
def dag(request):
    name = request.node.name.replace("[", "-").replace("]", "")
    return DAG(name, schedule="@hourly", start_date=NOON, catchup=False)


def sensor(**arguments):
    return HealthImagingImageSetSensor(
        **{"task_id": "wait", "datastore_id": DATASTORE_ID, "deferrable": True, **WINDOW, **arguments}
    )


def operator(**arguments):
    return HealthImagingSearchImageSetsOperator(
        **{"task_id": "find", "datastore_id": DATASTORE_ID, "deferrable": True, **arguments}
    )


@airflow_3
@pytest.mark.parametrize("soft_fail", [True, False])
def test_a_deferred_sensor_ends_with_its_execution_timeout_in_a_real_run(soft_fail, store, dag, run_dag, failures):
    with dag:
        sensor(
            poke_interval=0.1,
            timeout=600,
            execution_timeout=timedelta(seconds=1),
            soft_fail=soft_fail,
            **failures.callbacks,
        )

    run = run_dag(dag, NOON)

    assert run.states("wait") == ["failed"]
    assert [type(error).__name__ for error in failures] == ["AirflowTaskTimeout"]


@airflow_3
def test_a_deferred_operator_ends_with_its_execution_timeout_in_a_real_run(store, dag, run_dag, failures):
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with dag:
        operator(
            window_start=tomorrow - HOUR,
            window_end=tomorrow,
            execution_timeout=timedelta(seconds=1),
            **failures.callbacks,
        )

    run = run_dag(dag, NOON)

    assert run.states("find") == ["failed"]
    assert [type(error).__name__ for error in failures] == ["AirflowTaskTimeout"]


def started(ago=timedelta(0)):
    return {"ti": SimpleNamespace(start_date=datetime.now(UTC) - ago)}


def deferred(task, context):
    with pytest.raises(TaskDeferred) as caught:
        task.execute(context)
    return caught.value


def test_the_trigger_of_a_sensor_gives_up_at_the_earlier_of_both_limits(store):
    context = started(HOUR)
    start = context["ti"].start_date
    trigger = deferred(sensor(timeout=10 * HOUR, execution_timeout=2 * HOUR), context).trigger
    assert trigger.deadline == format_utc(start + 2 * HOUR)
    trigger = deferred(sensor(timeout=HOUR / 2, execution_timeout=2 * HOUR), context).trigger
    assert trigger.deadline < format_utc(start + 2 * HOUR)


def test_the_limit_that_is_over_is_the_one_that_is_named(store):
    context, start = started(), datetime.now(UTC) - HOUR
    event = {"status": "timeout", "deadline": format_utc(start + 2 * HOUR), "started": format_utc(start)}
    with pytest.raises(AirflowTaskTimeout, match="execution_timeout of 2:00:00"):
        sensor(timeout=10 * HOUR, execution_timeout=2 * HOUR).resume_execution(
            "execute_complete", {"event": event}, context
        )
    with pytest.raises(AirflowTaskTimeout):
        sensor(timeout=10 * HOUR, execution_timeout=HOUR).execute(started(2 * HOUR))
    with pytest.raises(AirflowSensorTimeout):
        sensor(timeout=HOUR, execution_timeout=3 * HOUR).resume_execution("execute_complete", {"event": event}, context)


@pytest.mark.parametrize("make", [sensor, operator])
@pytest.mark.parametrize("method", ["execute_complete", "__fail__"])
def test_a_task_whose_time_is_over_when_it_resumes_ends_with_airflows_own_error(make, method, store):
    """After an event, what the event says of the start counts; without one, what Airflow knows."""
    event = {
        "status": "ready",
        "deadline": "2999-01-01T00:00:00Z",
        "started": format_utc(datetime.now(UTC) - 2 * HOUR),
    }
    kwargs, context = ({"event": event}, started()) if method != "__fail__" else ({"error": "x"}, started(2 * HOUR))
    with pytest.raises(AirflowTaskTimeout):
        make(execution_timeout=HOUR).resume_execution(method, kwargs, context)


def test_without_an_execution_timeout_a_task_may_be_deferred_for_as_long_as_it_says(store):
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    task = operator(window_start=tomorrow - HOUR, window_end=tomorrow, delay=0)
    assert deferred(task, started()).trigger.moment == tomorrow
    task = operator(window_start=tomorrow - HOUR, window_end=tomorrow, delay=0, execution_timeout=HOUR)
    assert deferred(task, started()).trigger.moment < tomorrow - 22 * HOUR


# How often a deferred sensor looks.


@pytest.fixture
def no_jitter(monkeypatch):
    monkeypatch.setattr(waiting_trigger, "with_jitter", lambda seconds: seconds)


def pauses(trigger, start, count):
    """Return the pauses between the looks of a trigger, if a look takes no time."""
    now, found = start, []
    for _ in range(count):
        found.append(trigger._pause(now))
        now += timedelta(seconds=found[-1])
    return found


def test_a_deferred_sensor_looks_at_equal_pauses(no_jitter, store):
    trigger = deferred(sensor(poke_interval=10), started()).trigger
    assert pauses(trigger, NOON, 4) == [10, 10, 10, 10]


@pytest.mark.parametrize(
    ("max_wait", "expected"),
    [(None, [10, 10, 20, 40, 80]), (30, [10, 10, 20, 30, 30]), (timedelta(seconds=30), [10, 10, 20, 30, 30])],
)
def test_exponential_backoff_doubles_the_pauses_up_to_max_wait(no_jitter, store, max_wait, expected):
    context = started()
    task = sensor(poke_interval=10, exponential_backoff=True, max_wait=max_wait)
    trigger = deferred(task, context).trigger
    assert pauses(trigger, context["ti"].start_date, 5) == expected


def test_a_triggerer_that_starts_again_goes_on_with_the_pause_that_it_had(no_jitter, store):
    context = started()
    trigger = deferred(sensor(poke_interval=10, exponential_backoff=True, max_wait=300), context).trigger
    _, kept = trigger.serialize()
    again = type(trigger)(**kept)
    later = context["ti"].start_date + timedelta(seconds=160)
    assert again._pause(later) == trigger._pause(later) == 160


def test_no_pause_with_its_jitter_is_longer_than_max_wait(store):
    context = started()
    trigger = deferred(sensor(poke_interval=10, exponential_backoff=True, max_wait=20), context).trigger
    later = context["ti"].start_date + HOUR
    assert max(trigger._pause(later) for _ in range(100)) <= 20
