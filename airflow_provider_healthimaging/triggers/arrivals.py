"""What one watcher makes of the polls that it shares with others: its own events, and its own watermark."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.search.decision import meets_criteria
from airflow_provider_healthimaging.search.pages import ScanStats, hit_timestamp
from airflow_provider_healthimaging.triggers.polling import run_blocking
from airflow_provider_healthimaging.window import TimeWindow, format_utc

if TYPE_CHECKING:
    from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
    from airflow_provider_healthimaging.search.image_set import SearchHit
    from airflow_provider_healthimaging.search.request import SearchRequest
    from airflow_provider_healthimaging.triggers.shared_poll import Poll
    from airflow_provider_healthimaging.triggers.watermark import ArrivalEvent, State, Watermark

PULSE_SECONDS = 300.0
"""The time between two lines in the log that say that a watcher is alive."""

PATIENCE_SECONDS = 30.0
"""How long a watcher waits for its own search, or for the confirmation of its event, before it looks at other polls.

Airflow fails a watcher that stays at one poll for ``[triggerer] shared_stream_ack_timeout``, which is five minutes.
"""


class Log(Protocol):
    """A logger of Python or of structlog."""

    def log(self, level: int, message: str, /, *args: object) -> object:
        """Log at ``level``."""

    def info(self, message: str, /, *args: object) -> object:
        """Log at INFO."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a watcher knows about a window.

    :param count: the image sets in it that meet the watcher's conditions.
    :param read: whether image sets were read, or pages that the service left empty. They need not be read again.
    """

    window: TimeWindow
    count: int
    read: bool


class ArrivalWatch:
    """Turns polls into events.

    :param request: the watcher's own search, without a window.
    :param hook: returns the hook; it may block.
    :param watermark: where the next window starts.
    :param initial: returns where the first window starts, if the data store was not watched before.
    """

    def __init__(
        self,
        request: SearchRequest,
        hook: Callable[[], HealthImagingHook],
        watermark: Watermark,
        *,
        initial: Callable[[], datetime],
        log: Log,
    ) -> None:
        """Hold the arguments; nothing is called before :meth:`events`."""
        self._request = request
        self._hook = hook
        self._watermark = watermark
        self._initial = initial
        self._log = log
        self._start: datetime | None = None
        self._searched_to = initial()
        self._announced: tuple[ArrivalEvent, asyncio.Future[bool]] | None = None
        self._own_search: asyncio.Task[Findings] | None = None
        self._patient_until = 0.0
        self._pulsed = time.monotonic()
        self._polls = self._failures = self._events = self._image_sets = 0

    async def events(self, polls: AsyncIterator[Poll]) -> AsyncGenerator[ArrivalEvent]:
        """Yield an event for each batch of arrivals; the event of a poll comes before the next poll is asked for."""
        await self._read_watermark()
        try:
            async for poll in polls:
                event = await self._event_after(poll)
                self._pulse(poll)
                if event:
                    yield event
                    self._announced = event, poll.settled
                    self._patient_until = time.monotonic() + PATIENCE_SECONDS
        finally:
            if self._own_search:
                self._own_search.cancel()

    async def _event_after(self, poll: Poll) -> ArrivalEvent | None:
        """Return the event to fire now, if there is one. It is kept in the state store before it is fired."""
        if self._announced and not await self._confirmed(*self._announced):
            return None
        state = await self._read_watermark()
        if state.event:
            # A triggerer ended before it knew whether this event is stored. It is repeated as it was.
            self._log.info("Repeating the event of the window [%s, %s).", *state.event["window"].values())
            return state.event
        findings = await self._findings(state.start, poll)
        if findings is None:
            return None
        if findings.count:
            return await self._announce(findings)
        self._searched_to = findings.window.end
        if findings.read:
            self._start = findings.window.end
            await self._watermark.advance(state.start, self._start)
        return None

    async def _confirmed(self, event: ArrivalEvent, settled: asyncio.Future[bool]) -> bool:
        """Wait a little until the event is settled, and return whether it is. Move the watermark if it is stored."""
        if not await self._is_done(settled):
            return False
        self._announced = None
        if settled.result():
            await self._watermark.confirm(event)
        return True

    async def _announce(self, findings: Findings) -> ArrivalEvent | None:
        window = findings.window
        event: ArrivalEvent = {
            "datastore_id": self._request.datastore_id,
            "window": window.to_dict(),
            "count": findings.count,
        }
        if not await self._watermark.announce(window.start, event):
            return None
        self._log.info("Found %s image sets in [%s, %s). Firing an event.", findings.count, *event["window"].values())
        self._events += 1
        self._image_sets += findings.count
        self._start = self._searched_to = window.end
        return event

    async def _read_watermark(self) -> State:
        """Return what is kept. What the watcher knows of the data store is void if somebody else has moved it."""
        state = await self._watermark.read(self._initial)
        start = state.start
        if start != self._start and not state.event:
            where = self._request.datastore_id, self._watermark
            self._log.info("Watching data store %s for %s from %s on.", *where, format_utc(start))
            self._start = self._searched_to = start
        return state

    async def _findings(self, start: datetime, poll: Poll) -> Findings | None:
        """Return what is known about the time from ``start`` on; ``None`` if nothing is known yet."""
        if self._own_search is None:
            if poll.window is None or poll.window.end <= start:
                return None
            if (findings := self._decide(start, poll)) is not None:
                return findings
            own = partial(self._search, TimeWindow(start, poll.window.end))
            self._own_search = asyncio.create_task(run_blocking(own))
            self._patient_until = time.monotonic() + PATIENCE_SECONDS
        if not await self._is_done(self._own_search):
            return None
        search, self._own_search = self._own_search, None
        try:
            findings = search.result()
        except HealthImagingError as error:
            level = logging.WARNING if error.retryable else logging.ERROR
            self._log.log(level, "Search failed; trying again: %s", error)
            return None
        return findings if findings.window.start == start else None

    async def _is_done(self, awaited: asyncio.Future[Any]) -> bool:
        await asyncio.wait({awaited}, timeout=max(0.0, self._patient_until - time.monotonic()))
        return awaited.done()

    def _decide(self, start: datetime, poll: Poll) -> Findings | None:
        """Return what the poll says about the time from ``start`` on; ``None`` if it does not say all."""
        if poll.window is None or poll.hits is None or poll.window.start > self._searched_to:
            return None
        window = TimeWindow(start, poll.window.end)
        field = self._request.with_window(window).sort_field
        hits = [hit for hit in poll.hits if hit_timestamp(hit, field) >= start]
        decisions = [self._wants(hit) for hit in hits]
        if None in decisions:
            return None
        return Findings(window, decisions.count(True), read=bool(hits))

    def _wants(self, hit: SearchHit) -> bool | None:
        return self._request.matches(hit) and meets_criteria(hit, self._request.search_criteria)

    def _search(self, window: TimeWindow) -> Findings:
        """Ask the service about this watcher's own image sets; this blocks."""
        stats = ScanStats()
        count = sum(1 for _ in self._hook().search(self._request.with_window(window), stats=stats))
        return Findings(window, count, read=bool(stats.in_window or stats.empty_pages))

    def _pulse(self, poll: Poll) -> None:
        self._polls += poll.window is not None
        self._failures += poll.failed
        seconds = time.monotonic() - self._pulsed
        if seconds < PULSE_SECONDS or self._start is None:
            return
        self._log.info(
            "Watching data store %s for %s: in %.0f s %s polls, %s failed polls, %s events with %s image sets. "
            "Searched to %s; the watermark is %s.",
            self._request.datastore_id,
            self._watermark,
            seconds,
            self._polls,
            self._failures,
            self._events,
            self._image_sets,
            format_utc(self._searched_to),
            format_utc(self._start),
        )
        self._pulsed = time.monotonic()
        self._polls = self._failures = self._events = self._image_sets = 0
