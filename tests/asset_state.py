"""Airflow's own asset state store (3.3 and later), whose requests a dictionary answers in the triggerer's place."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any


class Supervisor:
    """Answers the requests of Airflow's accessors, and outlives triggerers.

    :param kept: what the store holds.
    """

    def __init__(self, kept: MutableMapping[str, Any]) -> None:
        self.kept = kept

    def send(self, message: Any) -> Any:
        from airflow.sdk.execution_time import comms

        if isinstance(message, comms.SetAssetStateStoreByName):
            self.kept[message.key] = message.value
            return comms.OKResponse(ok=True)
        if message.key in self.kept:
            return comms.AssetStateStoreResult(value=self.kept[message.key])
        return comms.ErrorResponse(error=comms.ErrorType.ASSET_STORE_NOT_FOUND)

    async def asend(self, message: Any) -> Any:
        return self.send(message)


def state_store(monkeypatch: Any, kept: MutableMapping[str, Any], *assets: str) -> Any:
    """Return what Airflow gives to the trigger of these assets' watchers; ``kept`` holds the state."""
    from airflow.sdk import Asset
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.context import AssetStateStoreAccessors

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Supervisor(kept), raising=False)
    return AssetStateStoreAccessors([Asset(name) for name in assets])
