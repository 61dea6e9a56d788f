"""The trigger that waits for a time on behalf of an operator. Its event hands back what the operator gave it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from airflow.triggers.base import TriggerEvent

try:
    from airflow.providers.standard.triggers.temporal import DateTimeTrigger
except ImportError:
    # Airflow 2
    from airflow.triggers.temporal import DateTimeTrigger  # type: ignore[import-not-found,no-redef]


class WaitUntilTrigger(DateTimeTrigger):
    """Wait until ``moment``, then fire ``{"resolved_search": ..., "started": ...}``.

    The arguments of a deferral (``kwargs``) would do the same in a deployment, but ``dag.test()`` drops them.
    """

    def __init__(self, *, moment: datetime, resolved_search: Mapping[str, object], started: str) -> None:
        """Hold the arguments."""
        super().__init__(moment)
        self.resolved_search = resolved_search
        self.started = started

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        path = f"{type(self).__module__}.{type(self).__name__}"
        return path, {"moment": self.moment, **self._event()}

    def __repr__(self) -> str:
        """Show the time only; Airflow's own shows every argument."""
        return f"<{type(self).__name__} moment={self.moment}>"

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait as Airflow's trigger does."""
        await anext(super().run())
        yield TriggerEvent(self._event())  # type: ignore[no-untyped-call]

    def _event(self) -> dict[str, object]:
        return {"resolved_search": self.resolved_search, "started": self.started}
