"""Which window does a run own?  Real runs under each kind of schedule, against what the data store holds.

The day is full of image sets on and beside the edges of hours; whatever the schedule, the runs of a day must find
those of the day, each once, and nothing of the hours around it.
"""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import airflow
import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG, Asset
from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable
from packaging.version import Version

from airflow_provider_healthimaging.exceptions import HealthImagingError, InvalidArgumentError
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator

AIRFLOW_2 = Version(airflow.__version__) < Version("3.0.0.dev0")
PARTITIONS = Version(airflow.__version__) >= Version("3.2.0.dev0")

DATASTORE_ID = "d" * 32
DAY = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)


def search_dag(dag_id, schedule, start_date=DAY, **arguments):
    """Make a DAG of one search, ``find``."""
    with DAG(dag_id, schedule=schedule, start_date=start_date, catchup=False) as dag:
        HealthImagingSearchImageSetsOperator(task_id="find", datastore_id=DATASTORE_ID, **arguments)
    return dag


def put(store, *moments):
    """Put an image set of each moment into the data store."""
    for moment in moments:
        store.put_image_set(DATASTORE_ID, created_at=moment)


def ids_in(store, start, end):
    """Return how often each image set of ``[start, end)`` is in the data store: once."""
    return Counter(row.image_set_id for row in store.image_sets(DATASTORE_ID) if start <= row.created_at < end)


def ids_found(runs):
    """Return how often the runs found each image set."""
    return Counter(record["imageSetId"] for run in runs for record in run.xcom("find"))


def window(run):
    """Return the window that a run searched."""
    searched = run.xcom("find", "summary")["window"]
    return datetime.fromisoformat(searched["start"]), datetime.fromisoformat(searched["end"])


@pytest.fixture
def day(store):
    """A day of image sets at any microsecond, on the edges of hours and one microsecond beside; many of one time."""
    chance = random.Random(20260301)
    put(store, *(DAY - HOUR + chance.randrange(26 * 3_600_000_000) * MICROSECOND for _ in range(400)))
    for edge in (DAY + hour * HOUR for hour in range(-1, 26)):
        put(store, edge - MICROSECOND, edge, edge + MICROSECOND)
    put(store, *[DAY + 2 * HOUR] * 60, *[DAY + 3.5 * HOUR] * 120, *[DAY + 24 * HOUR] * 60)
    return store


def test_a_days_runs_of_schedule_hourly_find_every_image_set_of_the_day_once(day, run_scheduled):
    runs = list(run_scheduled(search_dag("hourly", "@hourly"), after=DAY, until=DAY + 24 * HOUR))

    assert len(runs) == 24
    assert ids_found(runs) == ids_in(day, DAY, DAY + 24 * HOUR)
    rule = "rule 2" if AIRFLOW_2 else "rule 3"
    assert all(run.xcom("find", "summary")["rule"].startswith(rule) for run in runs)


def several_crons():
    from airflow.timetables.trigger import MultipleCronTriggerTimetable

    return MultipleCronTriggerTimetable("0 1-23/2 * * *", "0 */2 * * *", timezone="UTC")


def partitions():
    from airflow.timetables.trigger import CronPartitionTimetable

    return CronPartitionTimetable("0 * * * *", timezone="UTC", run_offset=-1)


@pytest.mark.parametrize(
    ("schedule", "rule"),
    [
        (lambda: timedelta(hours=1), "rule 2" if AIRFLOW_2 else "rule 3"),
        (lambda: CronDataIntervalTimetable("0 * * * *", timezone="UTC"), "rule 2"),
        (lambda: DeltaDataIntervalTimetable(timedelta(hours=1)), "rule 2"),
        (lambda: CronTriggerTimetable("0 * * * *", timezone="UTC"), "rule 3"),
        (lambda: CronTriggerTimetable("0 * * * *", timezone="UTC", interval=timedelta(hours=1)), "rule 2"),
        pytest.param(
            several_crons,
            "rule 3",
            marks=pytest.mark.skipif(AIRFLOW_2, reason="Airflow has schedules of several crons from 3.0 on"),
        ),
        pytest.param(
            partitions,
            "rule 4",
            marks=pytest.mark.skipif(not PARTITIONS, reason="Airflow has partitions from 3.2 on"),
        ),
    ],
    ids=["timedelta", "cron-interval", "delta-interval", "cron-trigger", "cron-trigger-interval", "crons", "partition"],
)
def test_hourly_runs_of_any_timetable_find_every_image_set_once(day, run_scheduled, schedule, rule, request):
    dag = search_dag(request.node.callspec.id, schedule())

    runs = list(run_scheduled(dag, after=DAY, until=DAY + 5 * HOUR))

    assert [window(run) for run in runs] == [(DAY + hour * HOUR, DAY + (hour + 1) * HOUR) for hour in range(5)]
    assert ids_found(runs) == ids_in(day, DAY, DAY + 5 * HOUR)
    assert all(run.xcom("find", "summary")["rule"].startswith(rule) for run in runs)


SPRING, AUTUMN = pendulum.datetime(2026, 3, 29, tz="Europe/Berlin"), pendulum.datetime(2026, 10, 25, tz="Europe/Berlin")


@pytest.mark.parametrize("change", [SPRING, AUTUMN], ids=["spring", "autumn"])
@pytest.mark.parametrize(
    ("cron", "around"),
    [("0 0 * * *", 50), ("30 2 * * *", 50), ("0 */2 * * *", 4)],
    ids=["midnight", "in-the-hour-that-changes", "every-other-hour"],
)
def test_runs_around_a_change_of_the_clocks_share_nothing_and_leave_nothing_out(
    store, run_scheduled, change, cron, around, request
):
    after, until = change.add(hours=1 - around), change.add(hours=1 + around)
    put(store, *(after.subtract(days=2) + (until - after.subtract(days=2)) * part / 200 for part in range(200)))
    # Of all versions' timetables the one whose intervals have no length.
    schedule = CronTriggerTimetable(cron, timezone="Europe/Berlin")
    dag = search_dag(request.node.callspec.id, schedule, start_date=after.subtract(days=2))

    runs = list(run_scheduled(dag, after=after, until=until))

    assert [run.state for run in runs] == ["success"] * len(runs)
    windows = [window(run) for run in runs]
    assert all(end == start for (_, end), (start, _) in pairwise(windows))
    assert ids_found(runs) == ids_in(store, windows[0][0], windows[-1][1])


@pytest.mark.parametrize(("midnight", "hours"), [(SPRING, 23), (AUTUMN, 25)], ids=["spring", "autumn"])
def test_the_day_on_which_the_clocks_change_is_as_long_as_it_is(store, run_dag, midnight, hours):
    dag = search_dag(f"long_day_{hours}", CronTriggerTimetable("0 0 * * *", timezone="Europe/Berlin"))

    run = run_dag(dag, midnight.add(days=1))

    assert window(run) == (midnight, midnight + timedelta(hours=hours))


def test_a_run_triggered_at_an_odd_minute_owns_the_last_complete_period(day, run_dag):
    run = run_dag(search_dag("odd_minute", "@hourly"), DAY + timedelta(hours=2, minutes=34))

    assert window(run) == (DAY + HOUR, DAY + 2 * HOUR)
    assert ids_found([run]) == ids_in(day, DAY + HOUR, DAY + 2 * HOUR)


def test_given_edges_are_the_window_to_the_microsecond(day, run_dag):
    dag = search_dag(
        "given_edges",
        None,
        window_start="{{ params.start }}",
        window_end="{{ params.end }}",
    )
    dag.params.update({"start": "", "end": ""})
    start, end = DAY + 2 * HOUR + MICROSECOND, DAY + 3 * HOUR + MICROSECOND

    run = run_dag(dag, DAY, conf={"start": start.isoformat(), "end": end.isoformat()})

    assert window(run) == (start, end)
    assert ids_found([run]) == ids_in(day, start, end)


def test_with_one_edge_given_the_other_is_the_runs_own(day, run_dag):
    dag = search_dag("one_edge", "@hourly", window_start=(DAY - HOUR).isoformat())

    run = run_dag(dag, DAY + 2 * HOUR + timedelta(minutes=1))

    assert window(run) == (DAY - HOUR, DAY + 2 * HOUR)


@pytest.mark.parametrize(
    "schedule",
    [
        lambda: "@hourly",
        pytest.param(partitions, marks=pytest.mark.skipif(not PARTITIONS, reason="Airflow has partitions from 3.2 on")),
    ],
    ids=["cron", "partition"],
)
def test_a_run_that_is_cleared_searches_the_same_window_again(day, run_scheduled, clear_and_run, schedule, request):
    dag = search_dag(f"cleared-{request.node.callspec.id}", schedule())
    (run,) = run_scheduled(dag, after=DAY + 3 * HOUR, until=DAY + 4 * HOUR)
    first, records = window(run), run.xcom("find")

    again = clear_and_run(dag, run)

    assert again.run_id == run.run_id
    assert again.task("find").try_number == 2
    assert (window(again), again.xcom("find")) == (first, records)
    assert len(records) > 100


@pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 gives runs triggered by datasets a data interval of their own")
def test_a_run_triggered_by_asset_events_owns_what_their_producers_searched(day, run_scheduled, run_dag, asset_events):
    hours = Asset("s3://image-sets/hours")
    producer = search_dag("producer", "@hourly", outlets=[hours])
    produced = list(run_scheduled(producer, after=DAY, until=DAY + 2 * HOUR))
    assert len(asset_events(producer)) == len(produced) == 2
    consumer = search_dag("consumer", [hours])

    run = run_dag(consumer, None, run_type="asset_triggered", consumed_asset_events=asset_events(producer))

    assert window(run) == (DAY, DAY + 2 * HOUR)
    assert ids_found([run]) == ids_found(produced)


def test_a_run_that_owns_no_window_fails_at_once_and_names_the_ways_out(store, run_dag, failures):
    dag = search_dag("no_window", None, retries=3, retry_delay=timedelta(0), **failures.callbacks)

    run = run_dag(dag, DAY)

    assert run.states("find") == ["failed"]
    assert run.task("find").try_number == 1
    (error,) = failures
    assert isinstance(error, HealthImagingError)
    assert "window_start and window_end" in str(error)
    assert "time_field=None" in str(error)


def test_an_edge_without_a_time_zone_fails_the_task(run_dag, failures):
    edges = {"window_start": "2026-03-01T00:00:00", "window_end": "2026-03-01T01:00:00Z"}
    run_dag(search_dag("naive_edge", None, **edges, **failures.callbacks), DAY)
    (error,) = failures
    assert isinstance(error, InvalidArgumentError)
    assert "no time zone" in str(error)
