"""How far a watched data store has been announced, kept where Airflow keeps an asset's state (3.3 and later)."""

from __future__ import annotations

from typing import Any

import airflow
from airflow.triggers.base import BaseTrigger

from airflow_provider_healthimaging.exceptions import ConfigurationError

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError:
    # Airflow 2
    BaseEventTrigger = BaseTrigger  # type: ignore[misc,assignment]

__all__ = ["BaseEventTrigger", "Watermark", "check_supported"]

KEY = "healthimaging_watermark"


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
        kept = await self._store.aget(KEY)
        if kept is None:
            await self.advance(initial)
            return initial
        return str(kept["start"])

    async def announce(self, start: str, event: dict[str, Any]) -> None:
        """Keep the event that is about to be fired."""
        await self._store.aset(KEY, {"start": start, "event": event})

    async def unconfirmed(self) -> dict[str, Any] | None:
        """Return the event that was about to be fired when the triggerer ended, if any."""
        kept = await self._store.aget(KEY) or {}
        return kept.get("event")

    async def advance(self, start: str) -> None:
        """Let the next window start at ``start``."""
        await self._store.aset(KEY, {"start": start})
