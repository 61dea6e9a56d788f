"""The periods of a DAG's schedule, by Airflow's own timetables.

Airflow 3 gives ``schedule="@hourly"`` runs a data interval of no length. What the run would have had is what
``CronDataIntervalTimetable`` and ``DeltaDataIntervalTimetable`` give for the same cron expression or timedelta, so
these are asked, time zones and daylight saving included.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pendulum

if TYPE_CHECKING:
    from airflow.timetables.base import Timetable

Period = tuple[datetime, datetime]


def last_complete_period(dag: Any, moment: datetime) -> Period | None:
    """Return start and end of the last period of the DAG's schedule that was over at ``moment``.

    :param dag: the run's DAG.
    :param moment: at a tick, the period that ends there.
    :return: ``None`` where the schedule has no periods (none, ``@once``, assets, listed events).
    """
    timetables = _interval_timetables(dag)
    if not timetables:
        return None
    at = pendulum.instance(moment)
    if len(timetables) == 1:
        interval = timetables[0].infer_manual_data_interval(run_after=at)
        return interval.start, interval.end
    end = _last_tick(timetables, at)
    return _last_tick(timetables, end - timedelta(microseconds=1)), end


def next_tick(dag: Any, moment: datetime) -> datetime | None:
    """Return the first tick of the DAG's schedule after ``moment``, or ``None`` where it has none."""
    from airflow.timetables.base import DataInterval, TimeRestriction

    at = pendulum.instance(moment)
    long_ago = at.subtract(years=100)
    upcoming = (
        timetable.next_dagrun_info(
            last_automated_data_interval=DataInterval(long_ago, at),
            restriction=TimeRestriction(earliest=None, latest=None, catchup=True),
        )
        for timetable in _interval_timetables(dag)
    )
    return min((info.data_interval.end for info in upcoming if info and info.data_interval), default=None)


def partition_start(dag: Any, partition_key: str) -> datetime | None:
    """Return the time that a partition's key stands for (Airflow 3.2 gives tasks the key, and 3.3 the time too)."""
    timetable = _time_based(dag)
    key_format = _attribute(timetable, "key_format")
    if not key_format:
        return None
    try:
        local = datetime.strptime(partition_key, key_format)  # noqa: DTZ007 - the schedule's zone comes next
    except ValueError:
        return None
    return pendulum.instance(local, tz=_attribute(timetable, "timezone"))


def _last_tick(timetables: list[Timetable], at: pendulum.DateTime) -> pendulum.DateTime:
    return max(timetable.infer_manual_data_interval(run_after=at).end for timetable in timetables)


def _interval_timetables(dag: Any) -> list[Timetable]:
    """Return data-interval timetables for the cron expressions or the timedelta that the DAG runs by."""
    from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable

    timetable = _time_based(dag)
    if (delta := _attribute(timetable, "delta")) is not None:
        return [DeltaDataIntervalTimetable(delta)]
    crons = [
        (_attribute(each, "expression"), _attribute(each, "timezone"))
        for each in _attribute(timetable, "timetables") or [timetable]
    ]
    return [CronDataIntervalTimetable(expression, zone) for expression, zone in crons if expression]


def _time_based(dag: Any) -> Any:
    """Return the DAG's timetable, or what is inside it where it waits for time or assets."""
    return getattr(dag.timetable, "timetable", dag.timetable)


def _attribute(timetable: Any, name: str) -> Any:
    """Read what authors' timetables (Airflow 3.2+) call ``name``, and the scheduler's call ``_name``."""
    return getattr(timetable, name, getattr(timetable, f"_{name}", None))
