"""The periods of a DAG's schedule, by Airflow's own timetables.

Airflow 3 gives ``schedule="@hourly"`` runs a data interval of no length. What the run would have had is what
``CronDataIntervalTimetable`` and ``DeltaDataIntervalTimetable`` give for the same cron expression or timedelta, so
these are asked, time zones and daylight saving included.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pendulum
from airflow.timetables.base import DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable
from pendulum import DateTime

if TYPE_CHECKING:
    from airflow.timetables.base import DagRunInfo

Period = tuple[datetime, datetime]
Cron = tuple[str, Any]
"""A cron expression, and the time zone that it is in."""


def last_complete_period(dag: Any, moment: datetime) -> Period | None:
    """Return start and end of the last period of the DAG's schedule that was over at ``moment``.

    Near a change of clocks, Airflow's timetables step back differently than forward. Runs are made stepping forward, so
    there the periods are those between its steps, and still touch.

    :param dag: the run's DAG.
    :param moment: at a tick, the period that ends there.
    :return: ``None`` where the schedule has no periods (none, ``@once``, assets, listed events).
    """
    at = pendulum.instance(moment)
    timetable = _time_based(dag)
    if (delta := _attribute(timetable, "delta")) is not None:
        interval = DeltaDataIntervalTimetable(delta).infer_manual_data_interval(run_after=at)
        return interval.start, interval.end
    crons = _crons(timetable)
    if not crons:
        return None
    period = _step_back(crons, at)
    return period if _steady_clock(crons, *period) else _step_forward(crons, at)


def next_tick(dag: Any, moment: datetime) -> datetime | None:
    """Return the first tick of the DAG's cron schedule after ``moment``, or ``None`` where it has none."""
    crons = _crons(_time_based(dag))
    return _Ticks(crons).after(pendulum.instance(moment)) if crons else None


def partition_start(dag: Any, partition_key: str) -> datetime | None:
    """Return the time that a partition's key stands for (Airflow 3.2 gives runs the key, and 3.3 tasks the time)."""
    timetable = _time_based(dag)
    key_format = _attribute(timetable, "key_format")
    if not key_format:
        return None
    try:
        local = datetime.strptime(partition_key, key_format)  # noqa: DTZ007 - the schedule's zone comes next
    except ValueError:
        return None
    return pendulum.instance(local, tz=_attribute(timetable, "timezone"))


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
        return min(map(partial(_next, moment), self._timetables))


def _next(moment: DateTime, timetable: CronTriggerTimetable) -> DateTime:
    endless = TimeRestriction(earliest=None, latest=None, catchup=True)
    last = DataInterval(moment, moment)
    info = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=endless)
    return cast("DagRunInfo", info).run_after


def _steady_clock(crons: list[Cron], *moments: DateTime) -> bool:
    """Whether clocks change within a day of none of ``moments``."""
    local = (moment.in_timezone(zone) for _, zone in crons for moment in moments)
    return all(moment.subtract(days=1).offset == moment.add(days=1).offset for moment in local)


def _crons(timetable: Any) -> list[Cron]:
    """Return the cron expressions that the DAG runs by, each with its time zone."""
    return [
        (_attribute(each, "expression"), _attribute(each, "timezone"))
        for each in _attribute(timetable, "timetables") or [timetable]
        if _attribute(each, "expression")
    ]


def _time_based(dag: Any) -> Any:
    """Return the DAG's timetable, or what is inside it where it waits for time or assets."""
    return getattr(dag.timetable, "timetable", dag.timetable)


def _attribute(timetable: Any, name: str) -> Any:
    """Read what authors' timetables (Airflow 3.2+) call ``name``, and the scheduler's call ``_name``."""
    return getattr(timetable, name, getattr(timetable, f"_{name}", None))
