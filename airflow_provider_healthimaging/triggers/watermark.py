"""How far a watched data store has been announced, kept in the state store of the asset (Airflow 3.3 and later)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, TypedDict, cast

import airflow
from airflow.triggers.base import BaseTrigger

from airflow_provider_healthimaging.exceptions import ConfigurationError
from airflow_provider_healthimaging.triggers.polling import run_blocking

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError:
    # Airflow 2
    BaseEventTrigger = BaseTrigger  # type: ignore[misc,assignment]

if TYPE_CHECKING:
    from airflow.sdk.execution_time.context import AssetStateStoreAccessors
    from pydantic import JsonValue

__all__ = ["ArrivalEvent", "BaseEventTrigger", "Watermark", "check_supported"]

WATERMARK_KEY = "healthimaging_watermark"

HANDOVER_SECONDS = 3.0
"""The time in which the triggerer hands an event over for certain; it does so every second."""


class ArrivalEvent(TypedDict):
    """The payload of an event: where how many image sets arrived, and when. It never holds a tag."""

    datastore_id: str
    window: dict[str, str]
    count: int


class _State(TypedDict, total=False):
    """What the state store keeps: the watermark, and an event that may not have been handed over yet."""

    start: str
    event: ArrivalEvent


def check_supported() -> None:
    """Raise :class:`ConfigurationError` on an Airflow whose assets have no state store."""
    if tuple(int(part) for part in airflow.__version__.split(".")[:2]) < (3, 3):
        raise ConfigurationError(
            "HealthImagingNewImageSetsTrigger keeps its watermark in the asset state store, which Airflow has since "
            f"3.3. This is Airflow {airflow.__version__}. Schedule the DAG by time, or use HealthImagingImageSetSensor."
        )


class Watermark:
    """Where the next window starts, and the event that may not have been handed over yet."""

    def __init__(self, state_store: AssetStateStoreAccessors | None) -> None:
        """Use the state store that Airflow gives to the trigger."""
        self._store = state_store

    async def get(self, initial: str) -> str:
        """Return the watermark, an ISO 8601 time; the first time, set it to ``initial``."""
        start = (await self._read()).get("start")
        if start is None:
            await self.advance(initial)
            return initial
        return start

    async def announce(self, start: str, event: ArrivalEvent) -> None:
        """Keep the event that is about to be fired."""
        await self._write({"start": start, "event": event})

    async def unconfirmed(self) -> ArrivalEvent | None:
        """Return the event that was about to be fired when the triggerer ended, if there is one."""
        return (await self._read()).get("event")

    async def confirm(self, event: ArrivalEvent) -> None:
        """Move the watermark to the end of the event's window, once the event is in the database.

        The triggerer answers the requests of its runner in order, and stores the events of one handover before it
        takes the next request. The first request here ends when no earlier handover is waiting. The pause covers the
        next handover, which carries the event. So the last request is answered after the event was stored.
        """
        await self._read()
        await asyncio.sleep(HANDOVER_SECONDS)
        await self.advance(event["window"]["end"])

    async def advance(self, start: str) -> None:
        """Let the next window start at ``start``."""
        await self._write({"start": start})

    async def _read(self) -> _State:
        store = self._store
        if store is None:
            raise ConfigurationError("Airflow gave this trigger no asset state store. Use it in an AssetWatcher.")
        try:
            # Airflow has the asynchronous calls since 3.3.2.
            if hasattr(store, "aget"):
                state = await store.aget(WATERMARK_KEY)
            else:
                state = await run_blocking(partial(store.get, WATERMARK_KEY))
        except ValueError:
            raise ConfigurationError(
                "Several assets share this trigger, because their watchers have triggers with the same arguments, so "
                "its watermark cannot be kept. Give each watcher other arguments, such as another poke_interval."
            ) from None
        return cast("_State", state or {})

    async def _write(self, state: _State) -> None:
        store = cast("AssetStateStoreAccessors", self._store)
        value = cast("JsonValue", state)
        if hasattr(store, "aset"):
            await store.aset(WATERMARK_KEY, value)
        else:
            await run_blocking(partial(store.set, WATERMARK_KEY, value))
