"""Wait for image sets on behalf of a task. What ``serialize()`` returns is all that the trigger knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.search.readiness import is_ready
from airflow_provider_healthimaging.triggers.polling import (
    class_path,
    fired,
    in_thread,
    jittered,
    search,
    shown,
    somewhen,
)
from airflow_provider_healthimaging.privacy.encryption import seal
from airflow_provider_healthimaging.window import TimeWindow, parse_instant, window_until

LAST_LOOK = 60.0
"""Seconds by which a search that began before the deadline may outlast it."""


class HealthImagingImageSetTrigger(BaseTrigger):
    """Wait until enough image sets are found, and quiet, or until a deadline.

    Fires one event, ``{"status": "ready" | "timeout" | "failed", "deadline": ..., "error": ...}``; the task looks
    again itself. Throttling and passing faults are logged, and do not end the wait.

    :param datastore_id: the data store's id.
    :param window_start: start of the window, ISO 8601; ``None`` with ``window_end`` for no window.
    :param window_end: end of the window, ISO 8601; ``None`` with a start for one that follows the clock.
    :param time_field: the timestamp that the window is about, or ``None``.
    :param search_criteria: AWS's ``searchCriteria`` as JSON text, or sealed as :meth:`serialize` returns it.
    :param match: as the sensor's, as JSON text, or sealed.
    :param min_image_sets: how many are enough.
    :param quiet_period: seconds for which none of them may have changed; ``None`` for any.
    :param poke_interval: seconds between two searches, more or less a fifth.
    :param deadline: ISO 8601 time at which to give up.
    :param aws_conn_id: the Airflow connection used for AWS credentials.
    :param region_name: AWS region; default that of the connection.
    :param verify: whether to verify SSL certificates.
    :param botocore_config: settings for botocore's client, merged with the connection's.
    """

    def __init__(
        self,
        *,
        datastore_id: str,
        window_start: str | None,
        window_end: str | None,
        time_field: str | None,
        search_criteria: str,
        match: str,
        min_image_sets: int,
        quiet_period: float | None,
        poke_interval: float,
        deadline: str,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        """Hold the arguments; nothing is called before :meth:`run`."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._deadline = parse_instant(deadline, "deadline")
        self._given: dict[str, Any] = {
            "datastore_id": datastore_id,
            "window_start": window_start,
            "window_end": window_end,
            "time_field": time_field,
            "search_criteria": seal(search_criteria),
            "match": seal(match),
            "min_image_sets": min_image_sets,
            "quiet_period": quiet_period,
            "poke_interval": poke_interval,
            "deadline": deadline,
            "aws_conn_id": aws_conn_id,
            "region_name": region_name,
            "verify": verify,
            "botocore_config": botocore_config,
        }

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, encrypted where they may be patient data."""
        return class_path(self), dict(self._given)

    def __repr__(self) -> str:
        """Show what is no patient data."""
        return shown(self, self._given, "datastore_id", "window_start", "window_end", "deadline")

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Search until ready, failed or too late; the task has just looked, so the first search can wait a little."""
        await asyncio.sleep(min(somewhen(self._given["poke_interval"]), self._left()))
        while True:
            with suppress(TimeoutError):
                status = await asyncio.wait_for(in_thread(self._look), self._left() + LAST_LOOK)
                if status["status"] != "waiting":
                    yield fired(status)
                    return
            left = self._left()
            if left <= 0:
                yield fired({"status": "timeout", "deadline": self._given["deadline"]})
                return
            pause = min(jittered(self._given["poke_interval"]), left)
            self.log.info("Not there yet; looking again in %.0f s, until %s.", pause, self._given["deadline"])
            await asyncio.sleep(pause)

    def _left(self) -> float:
        """Return the seconds to the deadline."""
        return (self._deadline - datetime.now(UTC)).total_seconds()

    def _look(self) -> dict[str, Any]:
        given = self._given
        now = datetime.now(UTC)
        quiet = given["quiet_period"]
        status = "waiting"
        try:
            found = search(given, _window(given["window_start"], given["window_end"], now))
            if is_ready(
                found,
                min_image_sets=given["min_image_sets"],
                quiet_since=None if quiet is None else now - timedelta(seconds=quiet),
            ):
                status = "ready"
        except HealthImagingError as error:
            if not error.retryable:
                return {"status": "failed", "deadline": given["deadline"], "error": str(error)}
            self.log.warning("Could not look, and will again: %s", error)
        return {"status": status, "deadline": given["deadline"]}


def _window(start: str | None, end: str | None, now: datetime) -> TimeWindow | None:
    if start is None:
        return None
    return window_until(start, now) if end is None else TimeWindow(start, end)
