"""An event that a watcher fired twice starts a second run: it ends as skipped, and says which run has the window."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import airflow
import pytest
from airflow.providers.common.compat.sdk import DAG
from packaging.version import Version

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator

pytestmark = pytest.mark.skipif(
    Version(airflow.__version__) < Version("3.3.0.dev0"), reason="Airflow has watchers with state from 3.3 on"
)

DATASTORE_ID = "d" * 32
NOON = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def edges(minute):
    return {"start": (NOON + minute * MINUTE).isoformat(), "end": (NOON + (minute + 1) * MINUTE).isoformat()}


@pytest.fixture
def asset(request):
    from airflow.sdk import Asset

    return Asset(re.sub(r"\W", "_", request.node.name))


@pytest.fixture
def make_dag(asset, store, register):
    """``make_dag(name)`` returns a DAG that is scheduled on the asset, with one image set in each of three windows."""
    for minute in range(3):
        store.put_image_set(DATASTORE_ID, created_at=NOON + (minute + 0.5) * MINUTE)

    def make(name="first", **arguments):
        with DAG(f"{asset.name}_{name}", schedule=[asset], start_date=NOON - timedelta(days=1)) as dag:
            HealthImagingSearchImageSetsOperator(task_id="find", datastore_id=DATASTORE_ID, delay=0, **arguments)
        register(dag)
        return dag

    return make


@pytest.fixture
def fire(asset, store):
    """``fire(minute, second)`` stores an event of that minute's window, seconds after all windows."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session

    def fired(minute, second, *, from_trigger=True, **given):
        payload = {"datastore_id": DATASTORE_ID, "window": edges(minute), "count": 1, **given}
        extra = {"from_trigger": True, "payload": payload} if from_trigger else payload
        with create_session() as session:
            model = session.query(AssetModel).filter_by(name=asset.name).one()
            event = AssetEvent(asset_id=model.id, extra=extra, timestamp=NOON + 3 * MINUTE + timedelta(seconds=second))
            session.add(event)
            session.flush()
            session.expunge(event)
        return event

    return fired


@pytest.fixture
def consume(run_dag):
    """``consume(dag, *events)`` runs the DAG as the scheduler does for these events.

    The scheduler gives such a run no logical date. But ``dag.test()`` deletes earlier runs of the same date.
    """

    def run(dag, *events):
        dates = {"data_interval_start": None, "data_interval_end": None}
        return run_dag(
            dag, events[0].timestamp, run_type="asset_triggered", consumed_asset_events=list(events), **dates
        )

    return run


def found(run):
    return len(run.xcom("find"))


def test_a_run_of_nothing_but_a_repeated_event_is_skipped_and_names_the_run_that_has_it(make_dag, fire, consume, capfd):
    dag = make_dag()
    first = consume(dag, fire(0, 1))
    capfd.readouterr()

    again = consume(dag, fire(0, 2))
    third = consume(dag, fire(0, 3))

    assert (first.states("find"), found(first)) == (["success"], 1)
    assert again.states("find") == third.states("find") == ["skipped"]
    assert again.xcom("find") is None
    log = "".join(capfd.readouterr())
    assert log.count(f"run {first.run_id} has their windows") >= 2
    assert "skip_repeated_events=False" in log


def test_a_run_of_repeated_and_new_events_searches_what_is_new(make_dag, fire, consume):
    dag = make_dag()
    first = consume(dag, fire(0, 1))

    second = consume(dag, fire(0, 2), fire(1, 3), fire(2, 4))

    assert found(second) == 2
    summary = second.xcom("find", "summary")
    assert summary["window"]["start"] == edges(1)["start"].replace("+00:00", "Z")
    assert summary["rule"] == (
        f"rule 5: the windows of 2 asset event(s), without 1 repeated event(s) that run {first.run_id} has"
    )


def test_an_event_and_its_repetition_in_one_run_are_searched(make_dag, fire, consume):
    run = consume(make_dag(), fire(0, 1), fire(0, 2))
    assert found(run) == 1
    assert run.xcom("find", "summary")["rule"] == "rule 5: the windows of 2 asset event(s)"


def test_the_argument_searches_all_the_same(make_dag, fire, consume):
    dag = make_dag(skip_repeated_events=False)
    consume(dag, fire(0, 1))
    assert found(consume(dag, fire(0, 2))) == 1


def test_the_first_run_searches_again_when_it_is_cleared(make_dag, fire, consume, clear_and_run):
    dag = make_dag()
    first = consume(dag, fire(0, 1))
    consume(dag, fire(0, 2))
    assert found(clear_and_run(dag, first)) == 1


def test_of_two_events_of_the_same_moment_neither_is_the_earlier_one(make_dag, fire, consume, run_dag):
    dag = make_dag()
    consume(dag, fire(0, 1))
    # Another logical date than that of the first run, which dag.test() would delete.
    dates = {"data_interval_start": None, "data_interval_end": None}
    again = run_dag(dag, NOON, run_type="asset_triggered", consumed_asset_events=[fire(0, 1)], **dates)
    assert found(again) == 1


def test_what_only_a_run_of_another_dag_has_is_searched(make_dag, fire, consume):
    consume(make_dag("first"), fire(0, 1))
    assert found(consume(make_dag("second"), fire(0, 2))) == 1


def test_an_earlier_event_that_no_run_has_is_no_reason_to_skip(make_dag, fire, consume):
    dag = make_dag()
    fire(0, 1)
    assert found(consume(dag, fire(0, 2))) == 1


def test_another_window_and_another_data_store_are_no_repetition(make_dag, fire, consume):
    dag = make_dag(window_start="{{ '' }}")
    consume(dag, fire(1, 1), fire(0, 2, datastore_id="e" * 32))
    assert found(consume(dag, fire(0, 3))) == 1


def test_an_earlier_event_of_another_kind_is_left_aside(make_dag, fire, consume):
    dag = make_dag()
    fire(0, 1, window={"start": "yesterday", "end": "today"})
    fire(0, 2, window="all")
    assert found(consume(dag, fire(0, 3))) == 1


@pytest.mark.parametrize(("first", "second"), [(False, False), (False, True), (True, False)])
def test_only_events_of_watchers_are_repetitions(first, second, make_dag, fire, consume):
    """A task that is cleared repeats its event on purpose."""
    dag = make_dag()
    consume(dag, fire(0, 1, from_trigger=first))
    assert found(consume(dag, fire(0, 2, from_trigger=second))) == 1
