"""Events that a watcher fired twice: which of a run's windows an earlier run of the same DAG has already.

A triggerer that ends between storing an event and noting that it is stored fires the event again, as it was. Airflow
then starts another run. Airflow knows all events of an asset, and which runs each of them started. So the task can see
that an earlier run of its DAG has the same window of the same data store.

Only events of watchers count. If a task that updates an asset is cleared, its event is repeated on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.window import TimeWindow, format_utc

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

CLOCK_SKEW = timedelta(minutes=10)
"""How far the clock of Airflow's database may differ from the triggerer's. No event is older than its window's end."""


class AssetEvent(Protocol):
    """What is read of an asset event."""

    extra: Mapping[str, object] | None
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class EventWindow:
    """A window that an asset event carries.

    :param asset: the asset of the event.
    :param datastore_id: the data store that the event names, if it names one.
    """

    window: TimeWindow
    datastore_id: str | None
    asset: object
    event: AssetEvent

    @classmethod
    def parse(cls, asset: object, event: AssetEvent) -> EventWindow | None:
        """Return the window of an event, or ``None`` if it carries none.

        :raises InvalidArgumentError: for a window whose edges are no times.
        """
        extra = getattr(event, "extra", None) or {}
        payload = extra.get("payload", extra)
        window = payload.get("window") if isinstance(payload, Mapping) else None
        if not isinstance(window, Mapping) or not {"start", "end"} <= window.keys():
            return None
        return cls(TimeWindow(window["start"], window["end"]), payload.get("datastore_id"), asset, event)

    @property
    def is_from_watcher(self) -> bool:
        """Whether a trigger fired the event."""
        return bool((self.event.extra or {}).get("from_trigger"))

    def repeats(self, earlier: AssetEvent) -> bool:
        """Whether ``earlier`` is the same event, fired before this one."""
        if earlier.timestamp >= self.event.timestamp:
            return False
        try:
            other = EventWindow.parse(self.asset, earlier)
        except InvalidArgumentError:
            return False
        return (
            other is not None
            and other.is_from_watcher
            and (other.window, other.datastore_id) == (self.window, self.datastore_id)
        )


def find_earlier_runs(context: Context, windows: Sequence[EventWindow]) -> dict[int, str]:
    """Return which of ``windows`` an earlier run has: the position of each, and the id of the run.

    On Airflow before 3.3, which has no watchers, there are none.
    """
    if "task_state_store" not in context:
        # Airflow has watchers with state since the version that gives this to tasks.
        return {}
    runs = {i: _earlier_run(context, each) for i, each in enumerate(windows) if each.is_from_watcher}
    return {i: run_id for i, run_id in runs.items() if run_id}


def _earlier_run(context: Context, own: EventWindow) -> str | None:
    run: Any = context["dag_run"]
    for event in _events_before(context, own):
        if own.repeats(event):
            for other in event.created_dagruns:
                if other.dag_id == run.dag_id and other.run_id != run.run_id:
                    return str(other.run_id)
    return None


def _events_before(context: Context, own: EventWindow) -> Sequence[Any]:
    """Return the asset's events from the end of the window to the event, oldest first."""
    # Airflow gives a task the events of the assets in its inlets only. The asset is in the schedule of the DAG. So the
    # same accessor is made for it.
    accessors: Any = type(context["inlet_events"])
    events: Any = accessors([own.asset])[own.asset]
    first = own.window.end - CLOCK_SKEW
    found: Sequence[Any] = events.after(format_utc(first)).before(own.event.timestamp.isoformat())
    return found
