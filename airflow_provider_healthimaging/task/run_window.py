"""Which window a DAG run owns.

The first of these rules that applies:

1. ``window_start`` / ``window_end`` were given.
2. The run's data interval, if its start is before its end.
3. A data interval of length zero, widened to the schedule's last complete period.
4. A partitioned run: from the partition's date to the schedule's next tick.
5. Asset events whose payload carries our windows: from the smallest start to the largest end. An event that a watcher
   has repeated does not count, if asked for; a run that has only such events is skipped.
6. A run without a data interval that no asset started: the schedule's last complete period at the run's ``run_after``.
   Airflow 3 starts such runs for ``airflow dags trigger``, and for REST with ``logical_date: null``.
7. Otherwise an error that names the run type and the ways out.

Rules 3 and 6 give no window to a run that assets started. The runs that the schedule starts search that time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, cast

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_healthimaging.exceptions import InvalidArgumentError, UndeterminedWindowError
from airflow_provider_healthimaging.search.rendered import NATIVE_RENDERING, is_empty
from airflow_provider_healthimaging.task.repeated_events import AssetEvent, EventWindow, find_earlier_runs
from airflow_provider_healthimaging.window import TimeWindow, parse_instant

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


ASSET_RUN_TYPES = ("asset_triggered", "dataset_triggered")
"""The types of runs that assets start, in Airflow 3 and 2."""


@dataclass(frozen=True, slots=True)
class ResolvedWindow:
    """A run's window, and where it comes from, for the log.

    :param rule: the rule that gave it, with its number.
    """

    window: TimeWindow
    rule: str


Rule = Callable[["Context"], ResolvedWindow | None]
"""Returns the window that a run owns by a rule, or ``None`` if the rule does not apply."""


def resolve_run_window(
    context: Context,
    *,
    window_start: object = None,
    window_end: object = None,
    datastore_id: str | None = None,
    skip_repeated_events: bool = False,
) -> ResolvedWindow:
    """Return the window that the run in ``context`` owns. It is the same each time the run is cleared.

    :param window_start: aware datetime or ISO 8601 string; ``None`` and ``""`` mean not given.
    :param window_end: the same.
    :param datastore_id: ignore asset events of other data stores.
    :param skip_repeated_events: ignore events that a watcher has repeated, and that an earlier run of the DAG has.
    :raises AirflowSkipException: if all events of the run are repeated, and ``skip_repeated_events`` is true.
    :raises UndeterminedWindowError: if no rule applies.
    :raises InvalidArgumentError: for naive, reversed or equal edges.
    """
    start = parse_edge(window_start, "window_start")
    end = parse_edge(window_end, "window_end")
    from_events = partial(_from_events, datastore_id=datastore_id, skip_repeated=skip_repeated_events)
    if start and end:
        return ResolvedWindow(TimeWindow(start, end), "rule 1: window_start and window_end")
    if start or end:
        own = _resolve_by_run(context, from_events, f"Only window_{'start' if start else 'end'} was given.")
        window = TimeWindow(start or own.window.start, end or own.window.end)
        given, other = ("window_start", "end") if start else ("window_end", "start")
        return ResolvedWindow(window, f"rule 1: {given}, and the run's own {other} by {own.rule}")
    return _resolve_by_run(context, from_events, "Neither window_start nor window_end was given.")


def parse_edge(value: object, name: str) -> datetime | None:
    """Return an edge of the window in UTC, or ``None`` if it was not given: ``None``, or empty text."""
    # With native rendering, an edge that Airflow does not know may be a proxy of None.
    if is_empty(value):
        return None
    if isinstance(value, int | float):
        wanted = "Give an aware datetime or an ISO 8601 string."
        raise InvalidArgumentError(f"{name} is a {type(value).__name__}. {wanted}{NATIVE_RENDERING}")
    if isinstance(value, str) and value.strip() == "None":
        raise InvalidArgumentError(
            f"{name} rendered to 'None': what the template refers to has no value in this run. "
            "Give a time, or let the template render to an empty string to use the run's own window."
        )
    return parse_instant(value, name)


def _resolve_by_run(context: Context, from_events: Rule, missing: str) -> ResolvedWindow:
    for rule in (_from_data_interval, _from_last_period, _from_partition, from_events, _from_run_after):
        if resolved := rule(context):
            return resolved
    reason, way_out = _why_none(context)
    raise UndeterminedWindowError(
        f"This run (type {_run_type(context)}) owns no time window. {missing} {reason} Give window_start and "
        f"window_end (templated), {way_out}, or set time_field=None to search without a window."
    )


def _why_none(context: Context) -> tuple[str, str]:
    """Return why no rule gives the run a window, and what else than a given window would."""
    if _is_started_by_assets(context):
        return (
            "Assets triggered it, and none of their events carries a window of this data store.",
            "let a task of this provider update the asset",
        )
    if _partition_key(context):
        return "Its partition key is not a time of the DAG's schedule.", "partition the DAG by time"
    reason = "It has no data interval longer than zero, and its DAG is not scheduled by cron or timedelta."
    return reason, "schedule the DAG by time"


def _run_type(context: Context) -> str:
    run_type = getattr(context.get("dag_run"), "run_type", None) or "unknown"
    return str(getattr(run_type, "value", run_type))


def _is_started_by_assets(context: Context) -> bool:
    return _run_type(context) in ASSET_RUN_TYPES


def _partition_key(context: Context) -> str | None:
    # Airflow 3.2 has the partition key in the run, and not in the context.
    values = cast("Mapping[str, str | None]", context)
    return values.get("partition_key") or getattr(context.get("dag_run"), "partition_key", None)


def _data_interval(context: Context) -> tuple[datetime, datetime] | None:
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    return (start, end) if start and end else None


def _from_data_interval(context: Context) -> ResolvedWindow | None:
    interval = _data_interval(context)
    if interval and interval[0] < interval[1]:
        return ResolvedWindow(TimeWindow(*interval), "rule 2: the run's data interval")
    return None


def _from_last_period(context: Context) -> ResolvedWindow | None:
    # Airflow's timetables take seconds to import, and most runs do not need them.
    from airflow_provider_healthimaging.task.schedule import last_complete_period

    interval = None if _is_started_by_assets(context) else _data_interval(context)
    if interval and interval[0] == interval[1] and (period := last_complete_period(context["dag"], interval[1])):
        rule = "rule 3: the data interval has no length, so the schedule's last complete period"
        return ResolvedWindow(TimeWindow(*period), rule)
    return None


def _from_partition(context: Context) -> ResolvedWindow | None:
    from airflow_provider_healthimaging.task.schedule import next_tick, partition_start

    start = cast("Mapping[str, datetime | None]", context).get("partition_date")
    if not start and (key := _partition_key(context)):
        start = partition_start(context["dag"], key)
    if start and (end := next_tick(context["dag"], start)):
        return ResolvedWindow(TimeWindow(start, end), "rule 4: the run's partition, to the schedule's next tick")
    return None


def _from_events(context: Context, *, datastore_id: str | None, skip_repeated: bool) -> ResolvedWindow | None:
    windows = list(_event_windows(context, datastore_id))
    if not windows:
        return None
    repeated = find_earlier_runs(context, windows) if skip_repeated else {}
    runs = ", ".join(sorted(set(repeated.values())))
    if len(repeated) == len(windows):
        raise AirflowSkipException(
            f"Nothing to search: all {len(windows)} asset event(s) of this run are repeated, and run {runs} has their "
            "windows. To search all the same, set skip_repeated_events=False."
        )
    new = [each.window for i, each in enumerate(windows) if i not in repeated]
    window = TimeWindow(min(each.start for each in new), max(each.end for each in new))
    rule = f"rule 5: the windows of {len(new)} asset event(s)"
    if repeated:
        rule += f", without {len(repeated)} repeated event(s) that run {runs} has"
    return ResolvedWindow(window, rule)


def _event_windows(context: Context, datastore_id: str | None) -> Iterator[EventWindow]:
    values = cast("Mapping[str, Mapping[object, Iterable[AssetEvent]] | None]", context)
    # Airflow 2 calls assets datasets.
    by_asset = values.get("triggering_asset_events") or values.get("triggering_dataset_events") or {}
    for asset, events in by_asset.items():
        for event in events:
            found = EventWindow.parse(asset, event)
            if found and (not datastore_id or (found.datastore_id or datastore_id) == datastore_id):
                yield found


def _from_run_after(context: Context) -> ResolvedWindow | None:
    from airflow_provider_healthimaging.task.schedule import last_complete_period

    run_after: datetime | None = getattr(context.get("dag_run"), "run_after", None)
    if run_after is None or _is_started_by_assets(context) or _partition_key(context):
        return None
    if period := last_complete_period(context["dag"], run_after):
        rule = "rule 6: the run has no data interval, so the schedule's last complete period at its run_after"
        return ResolvedWindow(TimeWindow(*period), rule)
    return None
