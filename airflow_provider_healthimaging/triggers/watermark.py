"""How far a watched data store has been announced, kept where Airflow keeps an asset's state (3.3 and later)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import airflow
from airflow.triggers.base import BaseTrigger

from airflow_provider_healthimaging.exceptions import ConfigurationError
from airflow_provider_healthimaging.triggers.polling import in_thread

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError:
    # Airflow 2
    BaseEventTrigger = BaseTrigger  # type: ignore[misc,assignment]

__all__ = ["BaseEventTrigger", "Watermark", "check_supported"]

KEY = "healthimaging_watermark"

HANDOVER = 3.0
"""Seconds in which an event is sure to be handed over by the triggerer's runner, which does so every second."""


def check_supported() -> None:
    """Raise :class:`ConfigurationError` on an Airflow whose assets have no state store."""
    if tuple(int(part) for part in airflow.__version__.split(".")[:2]) < (3, 3):
        raise ConfigurationError(
            "HealthImagingNewImageSetsTrigger keeps its watermark in the asset state store, which Airflow has since "
            f"3.3; this is {airflow.__version__}. Schedule the DAG by time, or wait with HealthImagingImageSetSensor."
        )


class Watermark:
    """Where the next window starts, and the event that may not have got through yet."""

    def __init__(self, state_store: Any) -> None:
        """Use the state store of the asset that is watched; of the first by name, where several share a trigger."""
        names = sorted(state_store._by_name)  # noqa: SLF001 - there is no public way to name them
        self._store = state_store._by_name[names[0]] if names else state_store  # noqa: SLF001

    async def get(self, initial: str) -> str:
        """Return the watermark, an ISO 8601 time; at the first look set it to ``initial``."""
        kept = await self._read()
        if kept is None:
            await self.advance(initial)
            return initial
        return str(kept["start"])

    async def announce(self, start: str, event: dict[str, Any]) -> None:
        """Keep the event that is about to be fired."""
        await self._write({"start": start, "event": event})

    async def unconfirmed(self) -> dict[str, Any] | None:
        """Return the event that was about to be fired when the triggerer ended, if any."""
        kept = await self._read() or {}
        return kept.get("event")

    async def confirm(self, event: dict[str, Any]) -> None:
        """Let the next window start where that of ``event`` ends, once the event is in the database.

        The triggerer answers its runner's requests in order, and stores the events handed over by one before it takes
        the next. The first request here ends when no earlier handover is waiting any more, the pause takes in the
        next one, which carries the event, and so the last request is answered after the event was stored.
        """
        await self._read()
        await asyncio.sleep(HANDOVER)
        await self.advance(event["window"]["end"])

    async def advance(self, start: str) -> None:
        """Let the next window start at ``start``."""
        await self._write({"start": start})

    async def _read(self) -> Any:
        # Airflow has the asynchronous calls since 3.3.2.
        if hasattr(self._store, "aget"):
            return await self._store.aget(KEY)
        return await in_thread(partial(self._store.get, KEY))

    async def _write(self, value: dict[str, Any]) -> None:
        if hasattr(self._store, "aset"):
            await self._store.aset(KEY, value)
        else:
            await in_thread(partial(self._store.set, KEY, value))
