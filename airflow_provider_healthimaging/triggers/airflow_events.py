"""What Airflow 3.3 offers to watchers of assets. All that differs between versions of Airflow stands here."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

import airflow
from airflow.triggers.base import BaseTrigger

from airflow_provider_healthimaging.exceptions import ConfigurationError
from airflow_provider_healthimaging.triggers.polling import run_blocking

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError:
    # Airflow 2
    BaseEventTrigger = BaseTrigger  # type: ignore[misc,assignment]

try:
    from airflow.triggers.shared_stream import SharedStreamProducer
except ImportError:
    # Airflow before 3.3, on which no watcher can be made
    SharedStreamProducer = object  # type: ignore[misc,assignment]

if TYPE_CHECKING:
    from airflow.sdk.execution_time.context import AssetStateStoreAccessors
    from pydantic import JsonValue

__all__ = ["BaseEventTrigger", "SharedStreamProducer", "StateStore", "check_supported"]


def check_supported() -> None:
    """Raise :class:`ConfigurationError` on an Airflow whose assets have no state store."""
    if tuple(int(part) for part in airflow.__version__.split(".")[:2]) < (3, 3):
        raise ConfigurationError(
            "HealthImagingNewImageSetsTrigger keeps its watermark in the asset state store, which Airflow has since "
            f"3.3. This is Airflow {airflow.__version__}. Schedule the DAG by time, or use HealthImagingImageSetSensor."
        )


class StateStore:
    """One key in the state store of the asset that a trigger watches for.

    :param accessors: what Airflow gives to the trigger.
    """

    def __init__(self, accessors: AssetStateStoreAccessors | None, key: str) -> None:
        """Use Airflow's accessors."""
        self._accessors = accessors
        self._key = key

    def __str__(self) -> str:
        """Name the asset, for the log."""
        return str(self._accessors)

    async def read(self) -> object:
        """Return the value, or ``None`` if there is none.

        :raises ConfigurationError: if the trigger belongs to no asset, or to several.
        """
        store = self._accessors
        if store is None:
            raise ConfigurationError("Airflow gave this trigger no asset state store. Use it in an AssetWatcher.")
        try:
            # Airflow has the asynchronous calls since 3.3.2.
            if hasattr(store, "aget"):
                return cast("object", await store.aget(self._key))
            return await run_blocking(partial(store.get, self._key))
        except ValueError:
            raise ConfigurationError(
                "Several assets share this trigger, because their watchers have triggers with the same arguments, so "
                "its watermark cannot be kept. Give each watcher other arguments, such as another start."
            ) from None

    async def write(self, value: object) -> None:
        """Write the value, which has JSON types."""
        store, given = cast("AssetStateStoreAccessors", self._accessors), cast("JsonValue", value)
        if hasattr(store, "aset"):
            await store.aset(self._key, given)
        else:
            await run_blocking(partial(store.set, self._key, given))
