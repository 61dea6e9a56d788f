"""Which window does this DAG run own?  Airflow's context in, a ``TimeWindow`` and the rule that gave it out.

The rules, in this order; the first that applies wins:

1. ``window_start`` / ``window_end`` were given.
2. The run's data interval, where its start is before its end.
3. A zero-length data interval, widened to the schedule's last complete period.
4. A partitioned run: from the partition's date to the schedule's next tick.
5. Asset events whose payload carries our windows: from the first start to the last end.
6. None: an error that names the run type and the ways out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_healthimaging.exceptions import InvalidArgumentError, UndeterminedWindowError
from airflow_provider_healthimaging.window import TimeWindow, parse_instant

Context = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OwnedWindow:
    """A run's window, and the words for the log that say which rule gave it."""

    window: TimeWindow
    rule: str


def resolve_window(
    context: Context,
    *,
    window_start: datetime | str | None = None,
    window_end: datetime | str | None = None,
    datastore_id: str | None = None,
) -> OwnedWindow:
    """Return the window that the run in ``context`` owns; the same each time the run is cleared.

    :param window_start: aware datetime or ISO 8601 string; ``None`` and ``""`` mean not given.
    :param window_end: the same.
    :param datastore_id: asset events of other data stores are left aside.
    :raises UndeterminedWindowError: where no rule applies.
    :raises InvalidArgumentError: for naive, reversed or empty edges.
    """
    start = parse_edge(window_start, "window_start")
    end = parse_edge(window_end, "window_end")
    if start and end:
        return OwnedWindow(TimeWindow(start, end), "rule 1: window_start and window_end")
    if start or end:
        own = _by_run(context, datastore_id, f"Only window_{'start' if start else 'end'} was given.")
        window = TimeWindow(start or own.window.start, end or own.window.end)
        which, other = ("window_start", "end") if start else ("window_end", "start")
        return OwnedWindow(window, f"rule 1: {which}, and the run's own {other} by {own.rule}")
    return _by_run(context, datastore_id, "Neither window_start nor window_end was given.")


def parse_edge(value: datetime | str | None, name: str) -> datetime | None:
    """Return a given edge in UTC, or ``None`` where it was not given: ``None``, or an empty string."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str) and value.strip() == "None":
        raise InvalidArgumentError(
            f"{name} rendered to 'None': what the template names has no value in this run. "
            "Give a time, or let the template render to an empty string for the run's own window."
        )
    return parse_instant(value, name)


def _by_run(context: Context, datastore_id: str | None, missing: str) -> OwnedWindow:
    for rule in (_data_interval, _last_period, _partition, lambda each: _events(each, datastore_id)):
        if owned := rule(context):
            return owned
    run_type = getattr(context.get("dag_run"), "run_type", None) or "unknown"
    raise UndeterminedWindowError(
        f"This run (type {getattr(run_type, 'value', run_type)}) owns no time window. {missing} The run has no data "
        "interval longer than zero, its DAG no cron or timedelta schedule with a last complete period, it has no "
        "partition date, and no triggering asset event carries a window. Give window_start and window_end "
        "(templated), schedule the DAG by time, or set time_field=None to search without a window."
    )


def _data_interval(context: Context) -> OwnedWindow | None:
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start and end and start < end:
        return OwnedWindow(TimeWindow(start, end), "rule 2: the run's data interval")
    return None


def _last_period(context: Context) -> OwnedWindow | None:
    from airflow_provider_healthimaging.task.schedule import last_complete_period

    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if not (start and end and start == end):
        return None
    if period := last_complete_period(context["dag"], end):
        return OwnedWindow(
            TimeWindow(*period), "rule 3: the data interval has no length, so the schedule's last complete period"
        )
    return None


def _partition(context: Context) -> OwnedWindow | None:
    from airflow_provider_healthimaging.task.schedule import next_tick, partition_start

    # Airflow 3.2 tells the run its key, and not the context.
    key = context.get("partition_key") or getattr(context.get("dag_run"), "partition_key", None)
    start = context.get("partition_date")
    if not start and key:
        start = partition_start(context["dag"], key)
    if start and (end := next_tick(context["dag"], start)):
        return OwnedWindow(TimeWindow(start, end), "rule 4: the run's partition, to the schedule's next tick")
    return None


def _events(context: Context, datastore_id: str | None) -> OwnedWindow | None:
    windows = list(_event_windows(context, datastore_id))
    if not windows:
        return None
    return OwnedWindow(
        TimeWindow(min(each.start for each in windows), max(each.end for each in windows)),
        f"rule 5: the windows of {len(windows)} asset event(s)",
    )


def _event_windows(context: Context, datastore_id: str | None) -> Iterator[TimeWindow]:
    by_asset = context.get("triggering_asset_events") or context.get("triggering_dataset_events") or {}
    for events in by_asset.values():
        for event in events:
            extra = getattr(event, "extra", None) or {}
            payload = extra.get("payload", extra)
            window = payload.get("window") if isinstance(payload, Mapping) else None
            if not isinstance(window, Mapping) or not {"start", "end"} <= window.keys():
                continue
            if datastore_id and payload.get("datastore_id", datastore_id) != datastore_id:
                continue
            yield TimeWindow(window["start"], window["end"])
