"""A sensor behaves the same in every mode: same result, same XCom, same errors, whatever the service does."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime, timedelta
from itertools import product
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from airflow.jobs import scheduler_job_runner
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_provider_healthimaging.exceptions import HealthImagingError, InvalidArgumentError
from airflow_provider_healthimaging.local import LocalServer, airflow_connection
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor
from airflow_provider_healthimaging.task.deferral import TRIGGER_FAILED

DATASTORE_ID = "d" * 32
DAY = datetime(2026, 3, 1, tzinfo=UTC)
WHEN = DAY + timedelta(hours=1)
MODES = {"poke": {}, "reschedule": {"mode": "reschedule"}, "deferrable": {"deferrable": True}}


class Script:
    """Plays a scenario in front of the local service: what happens at which search."""

    def __init__(self, app):
        self.app = app
        self.searches = 0
        self.at = {}
        self.answers = {}

    def __call__(self, environ, start_response):
        if not environ["PATH_INFO"].endswith("/searchImageSets"):
            return self.app(environ, start_response)
        self.searches += 1
        self.at.get(self.searches, lambda: None)()
        if code := self.answers.get(self.searches):
            status = {"ThrottlingException": "429 Throttled", "InternalServerException": "500 Error"}[code]
            start_response(status, [("x-amzn-ErrorType", code), ("Content-Type", "application/json")])
            return [b'{"message": "busy"}']
        return self.app(environ, start_response)


@pytest.fixture
def script(store, monkeypatch):
    """A server of its own for the scenario, with botocore's retries off so that faults reach the sensor."""
    scripts = []

    def scripted(app):
        scripts.append(Script(app))
        return scripts[0]

    with LocalServer(port=0, middleware=scripted) as server:
        connection = json.loads(airflow_connection(server.url))
        connection["extra"]["config_kwargs"] = {"retries": {"total_max_attempts": 1}}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        # Deferred sensors share clients by connection id, and each scenario has a server of its own.
        monkeypatch.setenv("AIRFLOW_CONN_" + server.url.rsplit(":", 1)[1], json.dumps(connection))
        scripts[0].conn_id = server.url.rsplit(":", 1)[1]
        yield scripts[0]


def put(store, minute=10):
    store.put_image_set(DATASTORE_ID, created_at=DAY + timedelta(minutes=minute))


def found_at_once(store, script):
    put(store)


def found_after_three_polls(store, script):
    script.at[4] = lambda: put(store)


def gone_before_it_is_handed_on(store, script):
    row = store.put_image_set(DATASTORE_ID, created_at=DAY)
    # The first search finds it, and so does the deferred one; what is handed on is read by the one after.
    script.at[2] = lambda: store.delete_image_set(DATASTORE_ID, row.image_set_id)
    script.at[4] = lambda: put(store)


def changed_before_it_is_handed_on(store, script):
    put(store)
    (row,) = store.image_sets(DATASTORE_ID)
    script.at[2] = lambda: store.update_image_set(DATASTORE_ID, row.image_set_id)
    return {"quiet_period": timedelta(seconds=0.5)}


def never_found(store, script):
    put(store, minute=90)


def never_answered(store, script):
    script.answers |= dict.fromkeys(range(1, 1000), "InternalServerException")
    put(store)


def throttled(store, script):
    script.answers |= dict.fromkeys((1, 2, 4), "ThrottlingException")
    put(store)


def failing_inside(store, script):
    script.answers |= dict.fromkeys((2, 3), "InternalServerException")
    script.at[3] = lambda: put(store)


def access_denied(store, script):
    store.settings.unknown_datastore = "access-denied"
    return {"datastore_id": "e" * 32}


def store_deleted_while_waiting(store, script):
    script.at[2] = lambda: store.delete_datastore(DATASTORE_ID)


def bad_criteria(store, script):
    return {"search_criteria": "{{ 'no' ~ ' json' }}"}


def too_many_for_xcom(store, script):
    put(store, 10)
    put(store, 20)
    return {"max_xcom_items": 1}


FOUND = ("success", None)
TIMED_OUT = ("failed", "AirflowSensorTimeout")

SCENARIOS = {
    found_at_once: FOUND,
    found_after_three_polls: FOUND,
    throttled: FOUND,
    failing_inside: FOUND,
    gone_before_it_is_handed_on: FOUND,
    changed_before_it_is_handed_on: FOUND,
    never_found: TIMED_OUT,
    never_answered: TIMED_OUT,
    access_denied: ("failed", "AccessDeniedError"),
    store_deleted_while_waiting: ("failed", "DatastoreNotFoundError"),
    bad_criteria: ("failed", "InvalidArgumentError"),
    too_many_for_xcom: ("failed", "TooManyImageSetsError"),
}


SOFT = [scenario for scenario, end in SCENARIOS.items() if end != FOUND]


# With soft_fail, a poke in the slot ends in the same way whether it frees the slot or not.
@pytest.mark.parametrize(
    ("scenario", "soft_fail", "mode"),
    [
        *product(SCENARIOS, [False], MODES),
        *product(SOFT, [True], ["reschedule", "deferrable"]),
    ],
    ids=lambda each: each if isinstance(each, str) else getattr(each, "__name__", f"soft_fail={each}"),
)
def test_every_mode_ends_alike(scenario, mode, soft_fail, store, script, run_dag, failures):
    arguments = scenario(store, script) or {}
    timeout = 0.1 if SCENARIOS[scenario] == TIMED_OUT else 60
    with DAG(f"{scenario.__name__}_{mode}_{soft_fail}", schedule="@hourly", start_date=DAY, catchup=False) as dag:
        HealthImagingImageSetSensor(
            task_id="wait",
            **{"datastore_id": DATASTORE_ID, **arguments},
            aws_conn_id=script.conn_id,
            poke_interval=0.01,
            timeout=timeout,
            soft_fail=soft_fail,
            **MODES[mode],
            **failures.callbacks,
        )

    run = run_dag(dag, WHEN)

    state, error = SCENARIOS[scenario]
    if soft_fail and scenario is never_found:
        state, error = "skipped", None
    assert run.states("wait") == [state]
    assert [type(each).__name__ for each in failures] == ([error] if error else [])
    if scenario is never_answered and (soft_fail or mode == "deferrable"):
        assert "The last poke failed: HealthImaging answered InternalServerException" in str(failures[0])
    if state == "success":
        (record,) = run.xcom("wait")
        assert record["createdAt"] == "2026-03-01T00:10:00.000Z"
        assert run.xcom("wait", "summary")["image_sets"] == 1
    else:
        assert run.xcom("wait") is None


@pytest.mark.parametrize("mode", MODES)
def test_a_poke_costs_one_call_while_there_is_nothing_to_find(mode, store, script, run_dag):
    script.at[4] = lambda: put(store)
    with DAG(f"calls_{mode}", schedule="@hourly", start_date=DAY, catchup=False) as dag:
        HealthImagingImageSetSensor(
            task_id="wait", datastore_id=DATASTORE_ID, aws_conn_id=script.conn_id, poke_interval=0.01, **MODES[mode]
        )

    run = run_dag(dag, WHEN)

    # Four looks, and one search for the result; the task looks itself once more after its trigger has fired.
    assert run.states("wait") == ["success"]
    assert script.searches == (6 if mode == "deferrable" else 5)


@pytest.mark.parametrize("mode", MODES)
def test_a_quiet_period_waits_for_the_last_change(mode, store, script, run_dag):
    row = store.put_image_set(DATASTORE_ID, created_at=DAY, updated_at=datetime.now(UTC))
    script.at[3] = lambda: store.update_image_set(
        DATASTORE_ID, row.image_set_id, updated_at=datetime.now(UTC) - timedelta(hours=1)
    )
    with DAG(f"quiet_{mode}", schedule="@hourly", start_date=DAY, catchup=False) as dag:
        HealthImagingImageSetSensor(
            task_id="wait",
            datastore_id=DATASTORE_ID,
            aws_conn_id=script.conn_id,
            poke_interval=0.01,
            quiet_period=timedelta(minutes=10),
            **MODES[mode],
        )

    run = run_dag(dag, WHEN)

    assert [record["version"] for record in run.xcom("wait")] == [2]
    assert script.searches >= 4


@pytest.mark.parametrize("mode", MODES)
def test_an_open_ended_window_follows_the_clock(mode, store, script, run_dag):
    script.at[3] = lambda: store.put_image_set(DATASTORE_ID)
    with DAG(f"open_{mode}", schedule="@hourly", start_date=DAY, catchup=False) as dag:
        HealthImagingImageSetSensor(
            task_id="wait",
            datastore_id=DATASTORE_ID,
            aws_conn_id=script.conn_id,
            poke_interval=0.01,
            open_ended=True,
            **MODES[mode],
        )

    run = run_dag(dag, WHEN)

    assert len(run.xcom("wait")) == 1
    assert run.xcom("wait", "summary")["window"]["start"] == "2026-03-01T00:00:00Z"


@pytest.mark.parametrize("mode", MODES)
def test_enough_image_sets_are_waited_for(mode, store, script, run_dag):
    put(store, 1)
    script.at[2] = lambda: put(store, 2)
    script.at[3] = lambda: put(store, 3)
    with DAG(f"enough_{mode}", schedule="@hourly", start_date=DAY, catchup=False) as dag:
        HealthImagingImageSetSensor(
            task_id="wait",
            datastore_id=DATASTORE_ID,
            aws_conn_id=script.conn_id,
            poke_interval=0.01,
            min_image_sets=3,
            batch_size=2,
            **MODES[mode],
        )

    run = run_dag(dag, WHEN)

    assert [len(batch) for batch in run.xcom("wait")] == [2, 1]


def test_the_time_that_is_left_does_not_grow_with_a_deferral(store, script, run_dag):
    """Twice the trigger says ready, and what was there is gone again: the sensor defers again, to the same end."""
    gone = {}

    def appear():
        gone["id"] = store.put_image_set(DATASTORE_ID, created_at=DAY).image_set_id

    script.at |= dict.fromkeys((2, 4, 6), appear)
    script.at |= dict.fromkeys((3, 5), lambda: store.delete_image_set(DATASTORE_ID, gone["id"]))
    deadlines = []
    look = HealthImagingImageSetSensor.execute_complete

    class Watched(HealthImagingImageSetSensor):
        def execute_complete(self, context, event):
            deadlines.append(event["deadline"])
            return look(self, context, event)

    with DAG("deadline", schedule="@hourly", start_date=DAY, catchup=False) as dag:
        Watched(
            task_id="wait",
            datastore_id=DATASTORE_ID,
            aws_conn_id=script.conn_id,
            poke_interval=0.01,
            deferrable=True,
        )

    run = run_dag(dag, WHEN)

    assert run.states("wait") == ["success"]
    assert len(deadlines) == 3
    assert len(set(deadlines)) == 1


@pytest.mark.parametrize("soft_fail", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("timeout", [0, 0.2])
@pytest.mark.parametrize("mode", MODES)
def test_what_is_there_but_cannot_be_handed_on_is_waited_for_until_the_timeout_and_never_skipped(
    mode, timeout, soft_fail, store, run_dag, failures
):
    """The look finds one and is content; the second page, which the result needs, never comes."""
    for _ in range(60):
        store.put_image_set(DATASTORE_ID, created_at=DAY)
    store.settings.expired_token_rate = 1.0
    name = f"unreadable_{mode}_{timeout}_{soft_fail}"
    with DAG(name, schedule="@hourly", start_date=DAY, catchup=False) as dag:
        HealthImagingImageSetSensor(
            task_id="wait",
            datastore_id=DATASTORE_ID,
            poke_interval=0.01,
            timeout=timeout,
            soft_fail=soft_fail,
            **MODES[mode],
            **failures.callbacks,
        )

    run = run_dag(dag, WHEN)

    assert run.states("wait") == ["failed"]
    assert [type(each).__name__ for each in failures] == ["AirflowSensorTimeout"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_image_sets": 0}, "min_image_sets=0"),
        ({"quiet_period": "10 min"}, "quiet_period='10 min' must be a datetime.timedelta or a number of seconds"),
        ({"deferrable": True, "poke_interval": 0}, "poke_interval=0 would poll without a pause"),
        ({"open_ended": True, "time_field": None}, "open_ended=True needs a window"),
        ({"deferrable": True, "silent_fail": True}, "silent_fail=True works in"),
        ({"soft_fail": True, "never_fail": True}, "soft_fail and never_fail exclude each other"),
        ({"quiet_periode": timedelta(1)}, "has no argument quiet_periode"),
    ],
)
def test_bad_arguments_are_found_when_the_dag_is_parsed(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        HealthImagingImageSetSensor(task_id="wait", datastore_id=DATASTORE_ID, **arguments)


def test_an_open_end_beside_a_window_end_fails_the_task_at_once(store, server):
    sensor = HealthImagingImageSetSensor(
        task_id="wait", datastore_id=DATASTORE_ID, open_ended=True, window_end="2026-03-01T00:00:00Z"
    )
    with pytest.raises(InvalidArgumentError, match="open_ended=True moves the window's end"):
        sensor.execute({})
    assert server.calls.count() == 0


def deferrable(**arguments):
    window = {"window_start": DAY, "window_end": WHEN}
    return HealthImagingImageSetSensor(
        **({"task_id": "wait", "datastore_id": DATASTORE_ID, "deferrable": True} | window | arguments)
    )


def test_what_ended_the_trigger_ends_the_task_though_it_does_not_show_there(store):
    event = {"status": "failed", "error": "The triggerer has no network.", "deadline": "2100-01-01T00:00:00Z"}
    with pytest.raises(HealthImagingError, match="The triggerer has no network"):
        deferrable().resume_execution("execute_complete", {"event": event}, {"ti": SimpleNamespace()})
    put(store)
    found = deferrable(do_xcom_push=False).resume_execution(
        "execute_complete", {"event": event}, {"ti": SimpleNamespace()}
    )
    assert len(found) == 1


def test_a_deferrable_sensor_that_may_never_fail_is_skipped_instead(store):
    with pytest.raises(AirflowSkipException, match="never_fail"):
        deferrable(datastore_id="e" * 32, never_fail=True).execute({"ti": SimpleNamespace()})


def test_a_deferral_ends_without_a_triggerer_soon_after_the_timeout(store):
    with pytest.raises(TaskDeferred) as deferred:
        deferrable(timeout=600).execute({"ti": SimpleNamespace()})
    assert timedelta(seconds=600) < deferred.value.timeout <= timedelta(seconds=690)


@pytest.mark.parametrize("error", ["Trigger timeout", "Trigger/execution timeout"])
@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_trigger_that_nobody_ran_ends_in_the_timeout_of_the_other_modes(store, error, soft_fail):
    sensor = deferrable(soft_fail=soft_fail)
    with pytest.raises(AirflowSkipException if soft_fail else AirflowSensorTimeout) as caught:
        sensor.resume_execution("__fail__", {"error": error}, {"ti": SimpleNamespace()})
    if not soft_fail:
        assert "Check that a triggerer is running" in str(caught.value)


@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_trigger_that_broke_is_a_failure_and_no_timeout(store, soft_fail):
    with pytest.raises(AirflowException) as caught:
        deferrable(soft_fail=soft_fail).resume_execution(
            "__fail__", {"error": "Trigger failure"}, {"ti": SimpleNamespace()}
        )
    assert not isinstance(caught.value, (AirflowSensorTimeout, AirflowSkipException))


def test_soft_fail_does_not_skip_an_error_after_a_deferral(store, monkeypatch):
    sensor = deferrable(soft_fail=True)
    monkeypatch.setattr(type(sensor), "poke", Mock(side_effect=AirflowException("not a timeout")))
    event = {"status": "ready", "deadline": "2099-01-01T00:00:00Z"}
    with pytest.raises(AirflowException, match="not a timeout") as caught:
        sensor.resume_execution("execute_complete", {"event": event}, {"ti": SimpleNamespace()})
    assert not isinstance(caught.value, AirflowSkipException)


def test_airflow_resumes_a_deferred_task_whose_time_is_up_as_expected_here():
    """The scheduler's own code says what it resumes the task with; there is no public name for it on all versions."""
    source = inspect.getsource(scheduler_job_runner.SchedulerJobRunner.check_trigger_timeouts)
    method = getattr(scheduler_job_runner, "TRIGGER_FAIL_REPR", "__fail__")
    reasons = getattr(scheduler_job_runner, "TriggerFailureReason", None)
    error = reasons.TRIGGER_TIMEOUT if reasons else "Trigger/execution timeout"

    assert method == TRIGGER_FAILED
    assert "TRIGGER_FAIL_REPR" in source or '"__fail__"' in source
    assert "timeout" in str(getattr(error, "value", error)).lower()
    assert ("TriggerFailureReason.TRIGGER_TIMEOUT" if reasons else error) in source
