"""A trigger that waits on behalf of a task: it polls until it is done, until it fails, or until a deadline."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypedDict

from airflow.triggers.base import TriggerEvent

from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.triggers.polling import PollingTrigger, initial_delay, run_blocking, with_jitter
from airflow_provider_healthimaging.window import format_utc, parse_instant

LAST_POLL_SECONDS = 60.0
"""How long after the deadline a poll may end that began before it."""


class Status(TypedDict, total=False):
    """The payload of the event. ``status`` is ``"ready"``, ``"timeout"`` or ``"failed"``, with an ``error``.

    ``job_id`` is the import job that was waited for, and ``resolved_search`` what the sensor gave to the trigger.
    """

    status: str
    deadline: str
    error: str
    job_id: str | None
    resolved_search: Mapping[str, object] | None


class WaitingTrigger(PollingTrigger):
    """Fires one event. A subclass implements :meth:`is_ready`.

    Throttling and other retryable errors are logged, and do not end the wait.

    :param deadline: ISO 8601 time at which to give up.
    """

    def __init__(self, *, deadline: str, **kwargs: Any) -> None:
        """Hold the arguments."""
        super().__init__(**kwargs)
        self._deadline = parse_instant(deadline, "deadline")
        self.deadline = format_utc(self._deadline)

    @abstractmethod
    def is_ready(self) -> bool:
        """Ask once whether the wait is over; this blocks."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until ready, failed or too late. The task has just asked, so the first poll waits a little."""
        await asyncio.sleep(min(initial_delay(self.poke_interval), self._seconds_left()))
        while True:
            with suppress(TimeoutError):
                status = await asyncio.wait_for(run_blocking(self._poll), self._seconds_left() + LAST_POLL_SECONDS)
                if status:
                    yield TriggerEvent(status)  # type: ignore[no-untyped-call]
                    return
            left = self._seconds_left()
            if left <= 0:
                yield TriggerEvent(self.status("timeout"))  # type: ignore[no-untyped-call]
                return
            pause = min(with_jitter(self.poke_interval), left)
            self.log.info("Not there yet. Next poll in %.0f s, until %s.", pause, self.deadline)
            await asyncio.sleep(pause)

    def status(self, status: str) -> Status:
        """Return the payload of an event."""
        return {"status": status, "deadline": self.deadline}

    def _seconds_left(self) -> float:
        return (self._deadline - datetime.now(UTC)).total_seconds()

    def _poll(self) -> Status | None:
        """Ask once, and return the status to fire, or ``None`` to wait on."""
        try:
            if self.is_ready():
                return self.status("ready")
        except HealthImagingError as error:
            if not error.retryable:
                return {**self.status("failed"), "error": str(error)}
            self.log.warning("Poke failed with a retryable error; trying again: %s", error)
        return None
