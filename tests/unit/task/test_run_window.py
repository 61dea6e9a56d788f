"""Which window a run owns: the first rule that applies gives it, and runs that follow each other share nothing.

Contexts are made by hand; timetables are Airflow's own, both those that DAG authors write (``airflow.sdk`` from
Airflow 3 on) and those that the scheduler keeps.
"""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace

import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG
from airflow.timetables.base import DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_healthimaging.exceptions import InvalidArgumentError, UndeterminedWindowError
from airflow_provider_healthimaging.task.run_window import resolve_run_window

try:
    import airflow.sdk as authors
except ImportError:
    authors = None
try:
    from airflow.timetables import assets as scheduled_by_assets

    AssetOrTime = scheduled_by_assets.AssetOrTimeSchedule
except ImportError:
    from airflow.timetables import datasets as scheduled_by_assets

    AssetOrTime = scheduled_by_assets.DatasetOrTimeSchedule
from airflow.timetables import interval, trigger

NOON = pendulum.datetime(2026, 1, 31, 12)
HOUR = timedelta(hours=1)
DATASTORE_ID = "d" * 32


def timetables(name):
    """Return the classes called ``name``, the author's and the scheduler's, as far as this Airflow has them."""
    homes = (authors, trigger, interval)
    found = [getattr(home, name) for home in homes if hasattr(home, name)]
    return [pytest.param(each, id=each.__module__) for each in found] or [
        pytest.param(None, marks=pytest.mark.skip(reason=f"this Airflow has no {name}"))
    ]


def dag(timetable=None):
    return SimpleNamespace(timetable=timetable)


def scheduled(schedule):
    """Make the DAG that an author writes, for what Airflow makes of ``schedule``."""
    return DAG("any", schedule=schedule, start_date=NOON.subtract(years=1))


def instant_run(timetable, at):
    """Make the context of a run with a data interval of no length, as Airflow 3 gives cron schedules."""
    return {"dag": dag(timetable), "data_interval_start": at, "data_interval_end": at}


def edges(owned):
    return owned.window.start, owned.window.end


def utc(text):
    return datetime.fromisoformat(text).astimezone(UTC)


# Rule 1: what was given


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (NOON, NOON + HOUR),
        ("2026-01-31T12:00:00Z", "2026-01-31T14:00:00+01:00"),
        (" 2026-01-31 12:00:00+00:00 ", NOON + HOUR),
    ],
)
def test_given_edges_win_over_everything_that_the_run_has(start, end):
    context = {"data_interval_start": NOON - HOUR, "data_interval_end": NOON, "partition_date": NOON}
    owned = resolve_run_window(context, window_start=start, window_end=end)
    assert edges(owned) == (NOON, NOON + HOUR)
    assert owned.rule == "rule 1: window_start and window_end"


@pytest.mark.parametrize(
    ("given_", "expected", "words"),
    [
        ({"window_start": NOON - 3 * HOUR}, (NOON - 3 * HOUR, NOON), "rule 1: window_start, and the run's own end"),
        (
            {"window_end": NOON - HOUR / 2},
            (NOON - HOUR, NOON - HOUR / 2),
            "rule 1: window_end, and the run's own start",
        ),
    ],
)
@pytest.mark.parametrize("other", [None, "", "  "])
def test_the_edge_that_was_not_given_is_the_runs_own(given_, expected, words, other):
    context = {"data_interval_start": NOON - HOUR, "data_interval_end": NOON}
    owned = resolve_run_window(context, **({"window_start": other, "window_end": other} | given_))
    assert edges(owned) == expected
    assert owned.rule == f"{words} by rule 2: the run's data interval"


@pytest.mark.parametrize("edge", ["window_start", "window_end"])
def test_one_edge_without_a_window_of_the_runs_own_is_an_error_that_says_so(edge):
    with pytest.raises(UndeterminedWindowError, match=f"Only {edge} was given"):
        resolve_run_window({"dag": dag()}, **{edge: NOON})


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"window_start": NOON, "window_end": NOON}, "is empty"),
        ({"window_start": NOON, "window_end": NOON - HOUR}, "is reversed"),
        ({"window_start": NOON + HOUR}, "is reversed"),
        ({"window_end": NOON - HOUR}, "is empty"),
        ({"window_start": "2026-01-31T12:00:00", "window_end": NOON}, "window_start='2026-01-31T12:00:00' has no time"),
        ({"window_end": datetime(2026, 1, 31)}, "window_end='2026-01-31 00:00:00' has no time zone"),  # noqa: DTZ001
        ({"window_start": "None"}, "window_start rendered to 'None'"),
        ({"window_end": " None "}, "window_end rendered to 'None'"),
        ({"window_start": "soon"}, "window_start='soon' is not an ISO 8601 time"),
    ],
)
def test_edges_that_make_no_window_are_refused_not_replaced(given_, says):
    context = {"data_interval_start": NOON - HOUR, "data_interval_end": NOON}
    with pytest.raises(InvalidArgumentError) as caught:
        resolve_run_window(context, **given_)
    assert says in str(caught.value)


# Rule 2: the data interval


@pytest.mark.parametrize("timetable", [None, CronTriggerTimetable("@daily", timezone="UTC")])
def test_a_data_interval_with_a_length_is_the_window_whatever_the_schedule(timetable):
    context = {"dag": dag(timetable), "data_interval_start": NOON - HOUR, "data_interval_end": NOON}
    owned = resolve_run_window(context)
    assert edges(owned) == (NOON - HOUR, NOON)
    assert owned.rule == "rule 2: the run's data interval"


# Rule 3: the schedule's last complete period

RULE_3 = "rule 3: the data interval has no length, so the schedule's last complete period"


@pytest.mark.parametrize("make", timetables("CronTriggerTimetable"))
@pytest.mark.parametrize(
    ("cron", "zone", "at", "start", "end"),
    [
        ("0 * * * *", "UTC", "2026-01-31T12:00Z", "2026-01-31T11:00Z", "2026-01-31T12:00Z"),
        ("@hourly", "UTC", "2026-01-31T12:00Z", "2026-01-31T11:00Z", "2026-01-31T12:00Z"),
        ("@daily", "UTC", "2026-01-31T00:00Z", "2026-01-30T00:00Z", "2026-01-31T00:00Z"),
        ("@monthly", "UTC", "2026-03-01T00:00Z", "2026-02-01T00:00Z", "2026-03-01T00:00Z"),
        ("0 6 * * 1-5", "UTC", "2026-02-02T06:00Z", "2026-01-30T06:00Z", "2026-02-02T06:00Z"),
        ("0 6 * * *", "Asia/Kolkata", "2026-01-31T00:30Z", "2026-01-30T00:30Z", "2026-01-31T00:30Z"),
        # Clocks go forward in Berlin at 01:00 UTC on 29 March, and back on 25 October.
        ("0 0 * * *", "Europe/Berlin", "2026-03-29T22:00Z", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),
        ("0 0 * * *", "Europe/Berlin", "2026-10-25T23:00Z", "2026-10-24T22:00Z", "2026-10-25T23:00Z"),
        ("0 * * * *", "Europe/Berlin", "2026-03-29T01:00Z", "2026-03-29T00:00Z", "2026-03-29T01:00Z"),
        ("0 * * * *", "Europe/Berlin", "2026-10-25T01:00Z", "2026-10-25T00:00Z", "2026-10-25T01:00Z"),
        ("0 * * * *", "Europe/Berlin", "2026-10-25T02:00Z", "2026-10-25T01:00Z", "2026-10-25T02:00Z"),
        # A manual run between two ticks.
        ("0 * * * *", "UTC", "2026-01-31T12:34:56.789Z", "2026-01-31T11:00Z", "2026-01-31T12:00Z"),
        ("@daily", "Europe/Berlin", "2026-01-31T22:59:59Z", "2026-01-29T23:00Z", "2026-01-30T23:00Z"),
    ],
)
def test_an_interval_of_no_length_is_widened_to_the_last_complete_period(make, cron, zone, at, start, end):
    timetable = make(cron, timezone=pendulum.timezone(zone))
    owned = resolve_run_window(instant_run(timetable, pendulum.instance(utc(at))))
    assert edges(owned) == (utc(start), utc(end))
    assert owned.rule == RULE_3


changes = st.sampled_from([datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)])
zones = st.sampled_from(["Europe/Berlin", "America/New_York", "UTC"])
through_the_night = st.sampled_from(["0 * * * *", "*/15 * * * *", "0 0 * * *", "0 4 * * 0"])
in_the_hour_that_is_left_out_or_comes_twice = st.sampled_from(
    ["30 2 * * *", "0 2 * * *", "0 */2 * * *", "15 1-3 * * *"]
)


def ticks_after(timetable, moment, count):
    """Return the times at which Airflow 3's scheduler would start runs."""
    ticks, last = [], None
    for _ in range(count):
        info = timetable.next_dagrun_info(
            last_automated_data_interval=last,
            restriction=TimeRestriction(earliest=moment, latest=None, catchup=True),
        )
        last = DataInterval(info.data_interval.end, info.data_interval.end)
        ticks.append(last.end)
    return ticks


@settings(max_examples=60)
@given(through_the_night | in_the_hour_that_is_left_out_or_comes_twice, zones, changes, st.integers(-72 * 60, 60))
def test_runs_that_follow_each_other_own_windows_that_touch_even_when_clocks_change(cron, zone, change, minutes):
    timetable = CronTriggerTimetable(cron, timezone=pendulum.timezone(zone))
    ticks = ticks_after(timetable, pendulum.instance(change).add(minutes=minutes), 6)
    owned = [resolve_run_window(instant_run(timetable, tick)) for tick in ticks]
    assert [each.window.end for each in owned] == ticks
    assert all(one.window.end == next_.window.start for one, next_ in pairwise(owned))


@settings(max_examples=60)
@given(through_the_night, zones, changes, st.integers(-72 * 3600, 72 * 3600))
def test_the_window_is_what_data_interval_timetables_give_at_any_moment(cron, zone, change, seconds):
    zone, moment = pendulum.timezone(zone), pendulum.instance(change).add(seconds=seconds)
    expected = CronDataIntervalTimetable(cron, zone).infer_manual_data_interval(run_after=moment)
    owned = resolve_run_window(instant_run(CronTriggerTimetable(cron, timezone=zone), moment))
    assert edges(owned) == (expected.start, expected.end)


@pytest.mark.parametrize("make", timetables("DeltaTriggerTimetable") + timetables("DeltaDataIntervalTimetable"))
@pytest.mark.parametrize("at", [NOON, NOON.add(minutes=7, microseconds=1)])
def test_a_timedelta_schedule_owns_its_length_up_to_the_run(make, at):
    owned = resolve_run_window(instant_run(make(timedelta(hours=6)), at))
    assert edges(owned) == (at - timedelta(hours=6), at)
    assert owned.rule == RULE_3


@pytest.mark.parametrize("make", timetables("MultipleCronTriggerTimetable"))
@pytest.mark.parametrize(
    ("at", "start", "end"),
    [
        ("2026-01-31T12:00Z", "2026-01-31T06:00Z", "2026-01-31T12:00Z"),
        ("2026-01-31T06:00Z", "2026-01-30T18:30Z", "2026-01-31T06:00Z"),
        ("2026-01-31T18:30Z", "2026-01-31T12:00Z", "2026-01-31T18:30Z"),
        ("2026-01-31T13:00:00.5Z", "2026-01-31T06:00Z", "2026-01-31T12:00Z"),
    ],
)
def test_several_crons_own_the_time_since_the_last_tick_of_any(make, at, start, end):
    timetable = make("0 6 * * *", "0 12 * * *", "30 18 * * *", timezone="UTC")
    owned = resolve_run_window(instant_run(timetable, pendulum.instance(utc(at))))
    assert edges(owned) == (utc(start), utc(end))
    assert owned.rule == RULE_3


@pytest.mark.parametrize("make", timetables("MultipleCronTriggerTimetable"))
def test_crons_that_tick_together_own_one_window(make):
    timetable = make("0 * * * *", "0 */6 * * *", timezone="UTC")
    owned = resolve_run_window(instant_run(timetable, NOON))
    assert edges(owned) == (NOON - HOUR, NOON)


def asset_or_time(timetable):
    """Make what an author writes for a schedule by assets or by time."""
    asset = authors.Asset("a") if authors else __import__("airflow.datasets", fromlist=["Dataset"]).Dataset("a")
    make = getattr(authors, "AssetOrTimeSchedule", None) or AssetOrTime
    if authors:
        return make(timetable=timetable, assets=[asset])
    return make(timetable=timetable, datasets=[asset])


def test_a_schedule_by_assets_or_time_owns_the_periods_of_its_time():
    cron = timetables("CronTriggerTimetable")[0].values[0]
    timetable = asset_or_time(cron("0 * * * *", timezone="UTC"))
    owned = resolve_run_window(instant_run(timetable, NOON))
    assert edges(owned) == (NOON - HOUR, NOON)
    assert owned.rule == RULE_3


@pytest.mark.parametrize("schedule", ["@hourly", "0 * * * *", timedelta(hours=1)])
def test_what_airflow_makes_of_a_schedule_has_periods(schedule):
    owned = resolve_run_window({"dag": scheduled(schedule), "data_interval_start": NOON, "data_interval_end": NOON})
    assert edges(owned) == (NOON - HOUR, NOON)


@pytest.mark.parametrize("schedule", [None, "@once", "@continuous"])
def test_a_schedule_without_periods_owns_none(schedule):
    if schedule == "@continuous":
        a_dag = DAG("any", schedule=schedule, start_date=NOON, max_active_runs=1)
    else:
        a_dag = scheduled(schedule)
    with pytest.raises(UndeterminedWindowError):
        resolve_run_window({"dag": a_dag, "data_interval_start": NOON, "data_interval_end": NOON})


# Rule 4: partitions

RULE_4 = "rule 4: the run's partition, to the schedule's next tick"


@pytest.mark.parametrize("make", timetables("CronPartitionTimetable"))
@pytest.mark.parametrize(
    ("cron", "zone", "start", "end"),
    [
        ("0 * * * *", "UTC", "2026-01-31T12:00Z", "2026-01-31T13:00Z"),
        ("@daily", "UTC", "2026-01-31T00:00Z", "2026-02-01T00:00Z"),
        ("@daily", "Europe/Berlin", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),
        ("@daily", "Europe/Berlin", "2026-10-24T22:00Z", "2026-10-25T23:00Z"),
        ("0 0 * * 1-5", "UTC", "2026-01-30T00:00Z", "2026-02-02T00:00Z"),
    ],
)
def test_a_partition_owns_the_time_up_to_the_next_tick_by_date_or_by_key(make, cron, zone, start, end):
    timetable = make(cron, timezone=pendulum.timezone(zone), key_format="%Y-%m-%dT%H:%M")
    date = pendulum.instance(utc(start))
    key = date.in_timezone(zone).strftime("%Y-%m-%dT%H:%M")
    in_the_run = {"dag_run": SimpleNamespace(run_type="scheduled", partition_key=key)}
    told = (
        {"partition_date": date},
        {"partition_date": date, "partition_key": "x"},
        {"partition_key": key},
        in_the_run,
    )
    for context in told:
        owned = resolve_run_window({"dag": dag(timetable), **context})
        assert edges(owned) == (utc(start), utc(end))
        assert owned.rule == RULE_4


@pytest.mark.parametrize("make", timetables("CronPartitionTimetable"))
def test_a_zone_that_an_author_gave_as_text_is_understood(make):
    timetable = make("@daily", timezone="Europe/Berlin", key_format="%d.%m.%Y")
    owned = resolve_run_window({"dag": dag(timetable), "partition_key": "31.01.2026"})
    assert edges(owned) == (utc("2026-01-30T23:00Z"), utc("2026-01-31T23:00Z"))


@pytest.mark.parametrize("make", timetables("CronPartitionTimetable"))
def test_partitions_of_days_on_which_clocks_change_touch(make):
    timetable = make("@daily", timezone="Europe/Berlin", key_format="%Y-%m-%d")
    for month in (3, 10):
        keys = [f"2026-{month:02}-{day}" for day in range(23, 31)]
        owned = [resolve_run_window({"dag": dag(timetable), "partition_key": key}) for key in keys]
        assert all(one.window.end == next_.window.start for one, next_ in pairwise(owned))


@settings(max_examples=60)
@given(through_the_night | in_the_hour_that_is_left_out_or_comes_twice, zones, changes, st.integers(-72 * 60, 60))
def test_partitions_that_follow_each_other_touch_even_when_clocks_change(cron, zone, change, minutes):
    timetable = CronTriggerTimetable(cron, timezone=pendulum.timezone(zone))
    ticks = ticks_after(timetable, pendulum.instance(change).add(minutes=minutes), 6)
    owned = [resolve_run_window({"dag": dag(timetable), "partition_date": tick}) for tick in ticks]
    assert [each.window.start for each in owned] == ticks
    assert all(one.window.end == next_.window.start for one, next_ in pairwise(owned))


@pytest.mark.parametrize("make", timetables("CronPartitionTimetable"))
def test_a_key_that_the_schedule_did_not_make_gives_no_window(make):
    timetable = make("@daily", timezone="UTC", key_format="%Y-%m-%d")
    with pytest.raises(UndeterminedWindowError):
        resolve_run_window({"dag": dag(timetable), "partition_key": "patient-7"})


def test_a_partition_of_something_other_than_time_gives_no_window():
    with pytest.raises(UndeterminedWindowError):
        resolve_run_window({"dag": dag(), "partition_key": "2026-01-31"})


# Rule 5: asset events


def event(window=None, datastore_id=None, **extra):
    payload = {"window": window} if window else {}
    if datastore_id:
        payload["datastore_id"] = datastore_id
    return SimpleNamespace(extra={**payload, **extra})


def events(*each):
    return {"triggering_asset_events": {"asset://a": each[:1], "asset://b": each[1:]}}


FIRST = {"start": "2026-01-31T11:00:00Z", "end": "2026-01-31T12:00:00Z"}
SECOND = {"start": "2026-01-31T12:30:00Z", "end": "2026-01-31T13:00:00Z"}


@pytest.mark.parametrize("key", ["triggering_asset_events", "triggering_dataset_events"])
@pytest.mark.parametrize("extra", [{"window": FIRST}, {"payload": {"window": FIRST}}])
def test_an_event_gives_the_run_its_window_from_wherever_airflow_put_the_payload(key, extra):
    owned = resolve_run_window({key: {"asset://a": [SimpleNamespace(extra=extra)]}}, datastore_id=DATASTORE_ID)
    assert edges(owned) == (NOON - HOUR, NOON)
    assert owned.rule == "rule 5: the windows of 1 asset event(s)"


def test_several_events_give_the_time_from_the_first_start_to_the_last_end():
    context = events(event(SECOND), event(FIRST), event({"start": FIRST["start"], "end": SECOND["start"]}))
    owned = resolve_run_window(context)
    assert edges(owned) == (NOON - HOUR, NOON + HOUR)
    assert owned.rule == "rule 5: the windows of 3 asset event(s)"


def test_events_of_other_data_stores_and_of_other_kinds_are_left_aside():
    others = [
        event(SECOND, datastore_id="e" * 32),
        event(payload={"window": SECOND, "datastore_id": "e" * 32}),
        event(payload="text"),
        event(window="text"),
        event(rows=7),
        SimpleNamespace(extra=None),
        SimpleNamespace(),
    ]
    owned = resolve_run_window(events(event(FIRST, DATASTORE_ID), *others), datastore_id=DATASTORE_ID)
    assert edges(owned) == (NOON - HOUR, NOON)
    assert owned.rule == "rule 5: the windows of 1 asset event(s)"
    with pytest.raises(UndeterminedWindowError):
        resolve_run_window(events(*others), datastore_id=DATASTORE_ID)


def test_an_event_with_half_a_window_is_no_reason_for_a_crash():
    with pytest.raises((InvalidArgumentError, UndeterminedWindowError)):
        resolve_run_window(events(event({"start": FIRST["start"]})))


# Rule 6: the schedule's last complete period at the run's run_after

RULE_6 = "rule 6: the run has no data interval, so the schedule's last complete period at its run_after"


def run_without_interval(schedule, run_after=NOON, **run):
    return {
        "dag": scheduled(schedule),
        "dag_run": SimpleNamespace(run_after=run_after, **{"run_type": "manual", **run}),
    }


@pytest.mark.parametrize("run_type", ["manual", "operator_triggered", "asset_materialization"])
@pytest.mark.parametrize("schedule", ["@hourly", timedelta(hours=1)])
def test_a_run_without_an_interval_owns_the_last_complete_period_at_its_run_after(schedule, run_type):
    owned = resolve_run_window(run_without_interval(schedule, run_type=run_type))
    assert edges(owned) == (NOON - HOUR, NOON)
    assert owned.rule == RULE_6


def test_a_run_without_an_interval_owns_what_the_scheduled_run_before_it_owned():
    for minute in range(0, 60, 7):
        owned = resolve_run_window(run_without_interval("@hourly", NOON.add(minutes=minute)))
        assert edges(owned) == (NOON - HOUR, NOON)


def test_the_periods_of_a_schedule_by_assets_or_time_are_those_of_its_time_by_hand_as_well():
    cron = timetables("CronTriggerTimetable")[0].values[0]
    context = run_without_interval(asset_or_time(cron("0 * * * *", timezone="UTC")))
    assert edges(resolve_run_window(context)) == (NOON - HOUR, NOON)


# Rule 7: none


@pytest.mark.parametrize("run_type", ["asset_triggered", "dataset_triggered", SimpleNamespace(value="asset_triggered")])
def test_a_run_that_assets_started_owns_no_time_of_its_schedule_and_is_told_the_truth(run_type):
    cron = timetables("CronTriggerTimetable")[0].values[0]
    schedule = asset_or_time(cron("0 * * * *", timezone="UTC"))
    context = run_without_interval(schedule, run_type=run_type)
    for dates in ({}, {"data_interval_start": NOON, "data_interval_end": NOON}):
        with pytest.raises(UndeterminedWindowError) as caught:
            resolve_run_window({**context, **dates})
        assert "none of their events carries a window" in str(caught.value)
        assert "let a task of this provider update the asset" in str(caught.value)
        assert "cron" not in str(caught.value)


def test_a_partition_that_is_no_time_is_not_replaced_by_the_last_period():
    with pytest.raises(UndeterminedWindowError, match="partition key is not a time") as caught:
        resolve_run_window({**run_without_interval("@hourly"), "partition_key": "patient-7"})
    assert "patient-7" not in str(caught.value)


@pytest.mark.parametrize("schedule", [None, "@once"])
def test_a_schedule_without_periods_is_called_so(schedule):
    with pytest.raises(UndeterminedWindowError, match="its DAG is not scheduled by"):
        resolve_run_window(run_without_interval(schedule))


@pytest.mark.parametrize("run_type", ["manual", SimpleNamespace(value="manual")])
def test_a_run_without_a_window_is_told_what_it_is_and_the_ways_out(run_type):
    context = {"dag": dag(), "dag_run": SimpleNamespace(run_type=run_type)}
    with pytest.raises(UndeterminedWindowError) as caught:
        resolve_run_window(context)
    for words in ("type manual", "Neither window_start nor window_end", "window_start and", "time_field=None"):
        assert words in str(caught.value)
    assert caught.value.retryable is False


@pytest.mark.parametrize("context", [{}, {"dag": dag(), "dag_run": None}, {"triggering_asset_events": {}}])
def test_a_context_with_nothing_in_it_gives_the_same_error(context):
    with pytest.raises(UndeterminedWindowError, match="type unknown"):
        resolve_run_window(context)


# The same run, the same window


def test_the_order_of_the_rules_is_the_order_of_their_numbers():
    cron = CronTriggerTimetable("@hourly", timezone="UTC")
    everything = {
        **events(event({"start": "2020-01-01T00:00:00Z", "end": "2021-01-01T00:00:00Z"})),
        "dag": dag(cron),
        "partition_date": pendulum.datetime(2022, 1, 1),
        "data_interval_start": NOON,
        "data_interval_end": NOON,
        "dag_run": SimpleNamespace(run_type="manual", run_after=NOON),
    }
    without_interval = {k: v for k, v in everything.items() if not k.startswith("data_interval")}
    without_partition = {k: v for k, v in without_interval.items() if k != "partition_date"}
    without_events = {k: v for k, v in without_partition.items() if k != "triggering_asset_events"}
    contexts = [
        everything | {"data_interval_start": NOON - 2 * HOUR},
        everything,
        without_interval,
        without_partition,
        without_events,
    ]
    rules = [resolve_run_window(each).rule[:6] for each in contexts]
    assert rules == ["rule 2", "rule 3", "rule 4", "rule 5", "rule 6"]
    assert resolve_run_window(everything, window_start=NOON, window_end=NOON + HOUR).rule.startswith("rule 1")


@pytest.mark.parametrize("now", ["2001-01-01T00:00:00Z", "2026-01-31T12:00:01Z", "2099-12-31T23:59:59Z"])
def test_a_run_that_is_cleared_owns_the_same_window_whatever_the_clock_says(monkeypatch, now):
    clock = pendulum.parse(now)
    for module in (trigger, interval, __import__("airflow.timetables._cron", fromlist=["_"])):
        if hasattr(module, "utcnow"):
            monkeypatch.setattr(module, "utcnow", lambda: clock)
    cron = CronTriggerTimetable("@hourly", timezone="UTC")
    assert edges(resolve_run_window(instant_run(cron, NOON))) == (NOON - HOUR, NOON)
    assert edges(resolve_run_window({"dag": dag(cron), "partition_date": NOON})) == (NOON, NOON + HOUR)
    assert edges(resolve_run_window(run_without_interval("@hourly"))) == (NOON - HOUR, NOON)
