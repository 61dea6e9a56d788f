"""A trigger that waits on behalf of a task: it polls until it is done, until it fails, or until a deadline."""

from __future__ import annotations

import asyncio
import math
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

from airflow.triggers.base import TriggerEvent

from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.search.criteria import parse_bool
from airflow_provider_healthimaging.search.validation import parse_duration
from airflow_provider_healthimaging.triggers.feed import Feed, Source
from airflow_provider_healthimaging.triggers.polling import PollingTrigger, initial_delay, run_blocking, with_jitter
from airflow_provider_healthimaging.window import format_utc, parse_instant

LAST_POLL_SECONDS = 60.0
"""How long after the deadline a poll may end that began before it."""

ROUTINE_POLLS = 20
"""Every so many polls a trigger asks for itself, in case the feed missed something."""

POLLS_AFTER_NEWS = 3
"""How often a trigger asks for itself after the feed brought something. The service may not show it to all at once."""


class Status(TypedDict, total=False):
    """The payload of the event. ``status`` is ``"ready"``, ``"timeout"`` or ``"failed"``, with an ``error``.

    ``started`` and ``resolved_search`` are what the task gave to the trigger, ``job_id`` the import job waited for.
    """

    status: str
    deadline: str
    started: str | None
    error: str
    job_id: str | None
    resolved_search: Mapping[str, object] | None


class WaitingTrigger(PollingTrigger):
    """Fires one event. A subclass implements :meth:`is_ready`, :meth:`feed` and :meth:`has_news`.

    Triggers that wait in one data store share a feed, and ask for themselves only if it has news for them.

    Throttling and other retryable errors are logged, and do not end the wait.

    :param deadline: ISO 8601 time at which to give up.
    :param started: ISO 8601 time at which the task began. The event hands it back.
    :param exponential_backoff: let the pause double from poll to poll, counted from ``started``.
    :param max_wait: the longest pause then: ``timedelta`` or seconds; ``None`` for any.
    """

    def __init__(
        self,
        *,
        deadline: str,
        started: str | None,
        exponential_backoff: bool,
        max_wait: timedelta | float | None,
        **kwargs: Any,  # the arguments of the base class
    ) -> None:
        """Hold the arguments."""
        super().__init__(**kwargs)
        self._deadline = parse_instant(deadline, "deadline")
        self.deadline = format_utc(self._deadline)
        self._started = None if started is None else parse_instant(started, "started")
        self.started = None if self._started is None else format_utc(self._started)
        self.exponential_backoff = parse_bool("exponential_backoff", exponential_backoff)
        self.max_wait = None if max_wait is None else parse_duration("max_wait", max_wait).total_seconds()
        self._polls_until_routine = 0
        self._polls_after_news = 0
        self._unanswered: str | None = None

    @abstractmethod
    def is_ready(self) -> bool:
        """Ask once whether the wait is over; this blocks."""

    @abstractmethod
    def feed(self) -> Feed[Any]:
        """Return the feed that this trigger shares with others."""

    @abstractmethod
    def has_news(self, source: Any) -> bool:
        """Whether the feed's source shows something new that this trigger may wait for."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until ready, failed or too late. The task has just asked, so the first poll waits a little."""
        await asyncio.sleep(min(initial_delay(self.poke_interval), self._seconds_left()))
        feed = self.feed()
        with feed.joined():
            while True:
                with suppress(TimeoutError):
                    limit = self._seconds_left() + LAST_POLL_SECONDS
                    if status := await asyncio.wait_for(self._poll_if_due(feed), limit):
                        yield TriggerEvent(status)  # type: ignore[no-untyped-call]
                        return
                left = self._seconds_left()
                if left <= 0:
                    timeout = self.status("timeout")
                    if self._unanswered:
                        timeout["error"] = self._unanswered
                    yield TriggerEvent(timeout)  # type: ignore[no-untyped-call]
                    return
                pause = min(self._pause(datetime.now(UTC)), left)
                self.log.info("Not there yet. Next poll in %.0f s, until %s.", pause, self.deadline)
                await asyncio.sleep(pause)

    def status(self, status: str) -> Status:
        """Return the payload of an event."""
        return {"status": status, "deadline": self.deadline, "started": self.started}

    def _pause(self, now: datetime) -> float:
        """Return the seconds until the next poll."""
        if self._started is None or not self.exponential_backoff:
            return with_jitter(self.poke_interval)
        # To wait as long as has been waited already doubles the pause each time, and needs no count of the polls.
        waited = (now - self._started).total_seconds()
        return min(with_jitter(max(self.poke_interval, waited)), self.max_wait or math.inf)

    def _seconds_left(self) -> float:
        return (self._deadline - datetime.now(UTC)).total_seconds()

    async def _poll_if_due(self, feed: Feed[Source]) -> Status | None:
        return await run_blocking(self._poll) if await self._is_due(feed) else None

    async def _is_due(self, feed: Feed[Source]) -> bool:
        """Whether this trigger has to ask for itself."""
        if self.exponential_backoff or not feed.is_cheaper():
            return True
        await feed.refresh(self.poke_interval / 2)
        if not feed.is_cheaper():
            return True
        try:
            if self.has_news(feed.source):
                self._polls_after_news = POLLS_AFTER_NEWS
        except HealthImagingError:
            # The poll fails in the same way, and reports it.
            return True
        self._polls_until_routine -= 1
        if self._polls_after_news:
            return True
        if self._polls_until_routine >= 0 or not feed.take_turn():
            self._unanswered = feed.unanswered
            return False
        self._polls_until_routine = ROUTINE_POLLS
        return True

    def _poll(self) -> Status | None:
        """Ask once, and return the status to fire, or ``None`` to wait on."""
        self._unanswered = "There was no answer in time."
        try:
            if self.is_ready():
                return self.status("ready")
            self._unanswered = None
            self._polls_after_news = max(self._polls_after_news - 1, 0)
        except HealthImagingError as error:
            if not error.retryable:
                return {**self.status("failed"), "error": str(error)}
            self._unanswered = str(error)
            self.log.warning("Poke failed with a retryable error; trying again: %s", error)
        return None
