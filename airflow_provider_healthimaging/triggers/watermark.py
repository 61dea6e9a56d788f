"""How far a watched data store has been announced, kept in the state store of the asset.

The value is ``{"start": "<ISO 8601>"}``: the next window starts there. While an event is on its way to Airflow's
database, the value has the event too, under ``event``. Users may write ``{"start": ...}`` to move the watermark.

Two triggerers may run the same trigger for a moment, and a user may write at any time. So each change is made only if
the value is still what the watcher has read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypedDict, cast

from airflow_provider_healthimaging.exceptions import ConfigurationError, InvalidArgumentError
from airflow_provider_healthimaging.window import format_utc, parse_instant

if TYPE_CHECKING:
    from airflow_provider_healthimaging.triggers.airflow_events import StateStore

WATERMARK_KEY = "healthimaging_watermark"
"""The key in the state store of the asset. It is documented, so that users can read and write it."""


class ArrivalEvent(TypedDict):
    """The payload of an event: where how many image sets arrived, and when. It never holds a tag."""

    datastore_id: str
    window: dict[str, str]
    count: int


@dataclass(frozen=True, slots=True)
class State:
    """What the state store holds.

    :param start: where the next window starts.
    :param event: the event that was announced, and that may not be in Airflow's database yet.
    """

    start: datetime
    event: ArrivalEvent | None = None


class Watermark:
    """Reads and moves the watermark."""

    def __init__(self, store: StateStore) -> None:
        """Use the state store of the asset."""
        self._store = store

    def __str__(self) -> str:
        """Say where it is kept, for the log."""
        return str(self._store)

    async def read(self, initial: Callable[[], datetime]) -> State:
        """Return what is kept; the first time, and if somebody deleted it, keep ``initial()`` as the start."""
        if state := await self._read():
            return state
        start = initial()
        await self._store.write({"start": format_utc(start)})
        return State(start)

    async def announce(self, start: datetime, event: ArrivalEvent) -> bool:
        """Keep the event that is about to be fired; return whether the watermark was still at ``start``."""
        if await self._read() != State(start):
            return False
        await self._store.write({"start": format_utc(start), "event": event})
        return True

    async def confirm(self, event: ArrivalEvent) -> None:
        """Move the watermark to the end of the event's window, because the event is in Airflow's database."""
        state = await self._read()
        if state and state.event == event:
            await self._store.write({"start": event["window"]["end"]})

    async def advance(self, start: datetime, end: datetime) -> None:
        """Move the watermark from ``start`` to ``end``, if it is still at ``start``."""
        if await self._read() == State(start):
            await self._store.write({"start": format_utc(end)})

    async def _read(self) -> State | None:
        value = await self._store.read()
        if value is None:
            return None
        try:
            given = cast("Mapping[str, object]", value if isinstance(value, Mapping) else {"start": value})
            return State(parse_instant(given.get("start"), "start"), cast("ArrivalEvent | None", given.get("event")))
        except InvalidArgumentError as error:
            raise ConfigurationError(
                f"The key {WATERMARK_KEY} in the state store of the asset is not a watermark: {error} "
                'Write {"start": "2026-01-31T13:00:00Z"}, or delete the key to start at the current time.'
            ) from None
