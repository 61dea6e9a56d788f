"""Airflow's own asset state store (3.3 and later), whose requests a dictionary answers in the triggerer's place."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any


class Supervisor:
    """Answers the requests of Airflow's accessors, and outlives triggerers.

    :param kept: returns what the store of an asset holds, by the asset's name.
    """

    def __init__(self, kept: Callable[[str], MutableMapping[str, Any]]) -> None:
        self.kept = kept

    def send(self, message: Any) -> Any:
        from airflow.sdk.execution_time import comms

        kept = self.kept(message.name)
        if isinstance(message, comms.SetAssetStateStoreByName):
            kept[message.key] = message.value
            return comms.OKResponse(ok=True)
        if message.key in kept:
            return comms.AssetStateStoreResult(value=kept[message.key])
        return comms.ErrorResponse(error=comms.ErrorType.ASSET_STORE_NOT_FOUND)

    async def asend(self, message: Any) -> Any:
        return self.send(message)


def state_store(monkeypatch: Any, kept: MutableMapping[str, Any], *assets: str) -> Any:
    """Return what Airflow gives to the trigger of these assets' watchers; ``kept`` holds the state."""
    return accessors(monkeypatch, lambda _: kept, *assets)


def accessors(monkeypatch: Any, kept: Callable[[str], MutableMapping[str, Any]], *assets: str) -> Any:
    """Return the same; ``kept`` returns the state of an asset."""
    from airflow.sdk import Asset
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.context import AssetStateStoreAccessors

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Supervisor(kept), raising=False)
    return AssetStateStoreAccessors([Asset(name) for name in assets])
