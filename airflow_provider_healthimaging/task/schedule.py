"""The periods of a DAG's schedule, from Airflow's own timetables.

Airflow 3 gives the runs of ``schedule="@hourly"`` a data interval of length zero. The interval that such a run would
have had is what ``CronDataIntervalTimetable`` or ``DeltaDataIntervalTimetable`` gives for the same cron expression or
timedelta. So these are asked; time zones and daylight saving time are theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

import pendulum
from airflow.timetables.base import DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable
from pendulum import DateTime

if TYPE_CHECKING:
    from airflow.timetables.base import DagRunInfo
    from pendulum.tz.timezone import FixedTimezone, Timezone

    Zone = Timezone | FixedTimezone

Period = tuple[datetime, datetime]
Cron = tuple[str, "Zone"]
"""A cron expression, and its time zone."""


class ScheduledDag(Protocol):
    """What is read of a DAG."""

    @property
    def timetable(self) -> object:
        """The DAG's schedule."""


def last_complete_period(dag: ScheduledDag, moment: datetime) -> Period | None:
    """Return start and end of the last period of the DAG's schedule that was over at ``moment``.

    Near a change of the clocks, Airflow's timetables step back in another way than they step forward. Runs are made by
    stepping forward, so there the periods are those between the steps forward, without gaps and overlaps.

    :param moment: if it is a tick of the schedule, the period that ends there.
    :return: ``None`` if the schedule has no periods (``None``, ``@once``, assets, listed events).
    """
    at = pendulum.instance(moment)
    timetable = _time_based(dag)
    if (by_delta := _delta_timetable(timetable)) is not None:
        interval = by_delta.infer_manual_data_interval(run_after=at)
        return interval.start, interval.end
    crons = _crons(timetable)
    if not crons:
        return None
    period = _step_back(crons, at)
    return period if _has_steady_clock(crons, *period) else _step_forward(crons, at)


def next_tick(dag: ScheduledDag, moment: datetime) -> datetime | None:
    """Return the first tick of the DAG's cron schedule after ``moment``, or ``None`` if it has no cron schedule."""
    crons = _crons(_time_based(dag))
    return _Ticks(crons).after(pendulum.instance(moment)) if crons else None


def partition_start(dag: ScheduledDag, partition_key: str) -> datetime | None:
    """Return the time that a partition key stands for: Airflow 3.2 gives a run only the key, Airflow 3.3 both."""
    timetable = _time_based(dag)
    key_format = _read(timetable, "key_format")
    crons = _crons(timetable)
    if not isinstance(key_format, str) or not crons:
        return None
    try:
        local = datetime.strptime(partition_key, key_format)  # noqa: DTZ007 - the schedule's time zone follows
    except ValueError:
        return None
    return pendulum.instance(local, tz=crons[0][1])


def _step_back(crons: list[Cron], at: DateTime) -> tuple[DateTime, DateTime]:
    """Return the last period up to ``at``: of one schedule, or between the ticks of several."""
    timetables = [CronDataIntervalTimetable(*cron) for cron in crons]
    last = max((each.infer_manual_data_interval(run_after=at) for each in timetables), key=lambda each: each.end)
    if len(timetables) == 1:
        return last.start, last.end
    before = last.end.subtract(microseconds=1)
    return max(each.infer_manual_data_interval(run_after=before).end for each in timetables), last.end


def _step_forward(crons: list[Cron], at: DateTime) -> Period:
    """Step forward from some days before ``at``, and return the last two ticks up to it."""
    ticks = _Ticks(crons)
    start = end = _step_back(crons, at.subtract(days=3))[0]
    while (tick := ticks.after(end)) <= at:
        start, end = end, tick
    return start, end


class _Ticks:
    """The ticks of cron schedules, as the scheduler steps from run to run."""

    def __init__(self, crons: list[Cron]) -> None:
        self._timetables = [CronTriggerTimetable(expression, timezone=zone) for expression, zone in crons]

    def after(self, moment: DateTime) -> DateTime:
        """Return the first tick after ``moment``."""
        return min(map(partial(_next_tick, moment), self._timetables))


def _next_tick(moment: DateTime, timetable: CronTriggerTimetable) -> DateTime:
    no_limit = TimeRestriction(earliest=None, latest=None, catchup=True)
    last = DataInterval(moment, moment)
    info = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=no_limit)
    return cast("DagRunInfo", info).run_after


def _has_steady_clock(crons: list[Cron], *moments: DateTime) -> bool:
    """Whether no clock changes within a day of any of ``moments``."""
    local = (moment.in_timezone(zone) for _, zone in crons for moment in moments)
    return all(moment.subtract(days=1).offset == moment.add(days=1).offset for moment in local)


def _crons(timetable: object) -> list[Cron]:
    """Return the cron expressions of a timetable."""
    if (several := getattr(timetable, "timetables", None)) is not None:
        return [cron for each in several for cron in _crons(each)]
    expressions = _read(timetable, "expressions") or [_read(timetable, "expression")]
    zone = _read(timetable, "timezone")
    known = [each for each in cast("list[str | None]", expressions) if each and zone is not None]
    return [(each, _to_zone(zone)) for each in known]


def _delta_timetable(timetable: object) -> DeltaDataIntervalTimetable | None:
    """Return Airflow's timetable of data intervals for the timedelta of a timetable, if it has one."""
    if (delta := _read(timetable, "delta")) is None:
        return None
    if isinstance(delta, int | float | dict):
        return cast("DeltaDataIntervalTimetable", DeltaDataIntervalTimetable.deserialize({"delta": delta}))
    return DeltaDataIntervalTimetable(delta)


def _time_based(dag: ScheduledDag) -> object:
    """Return the DAG's timetable, or the one inside of it if the DAG waits for time or assets."""
    return getattr(dag.timetable, "timetable", dag.timetable)


def _read(timetable: object, name: str) -> object:
    """Return a value of a timetable: Airflow 3.2 and later have public attributes, earlier ones have ``serialize``."""
    if hasattr(timetable, name):
        return getattr(timetable, name)
    serialized: Mapping[str, object] = getattr(timetable, "serialize", dict)()
    return serialized.get(name)


def _to_zone(zone: object) -> Zone:
    """Return a time zone. Serialized, it is its name, or its offset in seconds."""
    return pendulum.timezone(zone) if isinstance(zone, str | int) else cast("Zone", zone)
