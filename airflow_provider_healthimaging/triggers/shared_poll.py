"""The one search that all watchers of a data store share. Airflow runs it, and tells when their events are stored.

Airflow calls this a producer in acknowledgement mode:
https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/event-scheduling.html
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.triggers.airflow_events import SharedStreamProducer
from airflow_provider_healthimaging.triggers.polling import run_blocking, with_jitter
from airflow_provider_healthimaging.window import TimeWindow

if TYPE_CHECKING:
    from airflow.triggers.shared_stream import AdvanceItem

    from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
    from airflow_provider_healthimaging.search.image_set import SearchHit
    from airflow_provider_healthimaging.search.request import SearchRequest

MAX_HITS = 1000
"""The most image sets that a poll reads. If there are more, each watcher searches for its own."""

FIRST_POLL_SECONDS = 600.0
"""How far back the first poll searches, so that watchers need no search of their own after a short interruption."""

log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


def settlement() -> asyncio.Future[bool]:
    """Return a future for what becomes of the events that watchers derive from a poll."""
    return asyncio.get_running_loop().create_future()


@dataclass(frozen=True, slots=True, eq=False)
class Poll:
    """What one poll has read. Without a window it is a reminder: a moment at which watchers can look what is settled.

    :param window: what was searched.
    :param hits: all image sets in it; ``None`` if there are more than a poll reads.
    :param failed: whether the search failed.
    :param settled: whether all events that watchers derived from this poll are in Airflow's database. ``False`` means
        that at least one watcher failed, so that nothing is known about any event.
    """

    window: TimeWindow | None = None
    hits: Sequence[SearchHit] | None = field(default=None, repr=False)
    failed: bool = False
    settled: asyncio.Future[bool] = field(default_factory=settlement, repr=False)


class SharedPoll(SharedStreamProducer):
    """Searches a data store without criteria, again and again.

    :param request: the data store and the time field, without criteria.
    :param hook: returns the hook; it may block.
    :param delay: how long the index may take to show what has arrived.
    :param poke_interval: seconds between two polls, plus or minus a fifth.
    """

    def __init__(
        self,
        request: SearchRequest,
        hook: Callable[[], HealthImagingHook],
        *,
        delay: timedelta,
        poke_interval: float,
    ) -> None:
        """Hold the arguments; nothing is called before :meth:`open_stream`."""
        self._request = request
        self._hook = hook
        self._delay = delay
        self._poke_interval = poke_interval
        self._start: datetime | None = None

    async def open_stream(self) -> AsyncIterator[tuple[Poll, Poll]]:
        """Yield polls, until Airflow stops it. A search that fails is logged, and tried again at the next poll."""
        while True:
            poll = await self._poll()
            yield poll, poll
            # Airflow takes a watcher to be done with a poll when it asks for the next one. So one follows at once.
            reminder = Poll()
            yield reminder, reminder
            await asyncio.sleep(with_jitter(self._poke_interval))

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Tell the watchers that their events are in Airflow's database; Airflow calls this."""
        for poll, outcome in batch:
            poll.settled.set_result(outcome.failed == 0)

    async def _poll(self) -> Poll:
        end = utc_now() - self._delay
        start = self._start or end - timedelta(seconds=FIRST_POLL_SECONDS)
        if end <= start:
            return Poll()
        window = TimeWindow(start, end)
        try:
            hits = await run_blocking(partial(self._search, window))
        except HealthImagingError as error:
            log.log(logging.WARNING if error.retryable else logging.ERROR, "Poll failed; trying again: %s", error)
            return Poll(failed=True)
        # While nothing is there, the next poll starts where this one did: it finds what the index shows late.
        self._start = end if hits else start
        return Poll(window, hits if len(hits) <= MAX_HITS else None)

    def _search(self, window: TimeWindow) -> list[SearchHit]:
        with closing(self._hook().search(self._request.with_window(window))) as hits:
            return list(islice(hits, MAX_HITS + 1))
