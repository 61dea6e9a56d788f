"""One look for all triggers of a process that wait for the same kind of thing in one data store.

A thousand sensors that each poll every 30 seconds would make 33 calls a second, and an account has 25. So they share
what one of them asks for. Nothing rests on a feed: each trigger also looks for itself from time to time. A feed keeps
nothing that must outlive the process.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.triggers.polling import run_blocking

LONGEST_LOOK_SECONDS = 30.0
"""How long a trigger waits for a look of the feed. It ends later, for the next trigger that asks."""

COST_SECONDS = 600.0
"""How long a look that was too expensive, or not allowed, keeps the triggers from sharing another."""

TURN_SECONDS = 0.4
"""The time between two routine looks of triggers that share a feed: a tenth of the account's 25 calls a second."""

log = logging.getLogger(__name__)


class Source(Protocol):
    """What a feed asks for."""

    def look(self) -> int:
        """Ask what is new, and return how many calls it took; this blocks."""


S = TypeVar("S", bound=Source)

_feeds: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, Feed[Source]]] = WeakKeyDictionary()


class Feed(Generic[S]):
    """Looks on behalf of its members. All of them run in one event loop.

    ``unanswered`` says why the last look brought no answer, if it brought none.
    """

    def __init__(self, source: S) -> None:
        """Start without members."""
        self.source = source
        self._members = 0
        self.unanswered: str | None = None
        self._calls: float = 1
        self._looked_at = self._next_turn = -math.inf
        self._look: asyncio.Task[None] | None = None

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Be a member while the context is active."""
        self._members += 1
        try:
            yield
        finally:
            self._members -= 1

    def is_cheaper(self) -> bool:
        """Whether one look for all takes fewer calls than one look of each member."""
        if _now() - self._looked_at > COST_SECONDS:
            self._calls = 1
        return self._members > self._calls

    def take_turn(self) -> bool:
        """Whether a member may make a routine look of its own now."""
        if _now() < self._next_turn:
            return False
        self._next_turn = _now() + TURN_SECONDS
        return True

    async def refresh(self, max_age: float) -> None:
        """Look, unless the last look began less than ``max_age`` seconds ago."""
        if self._look is None or (self._look.done() and _now() - self._looked_at >= max_age):
            self._looked_at = _now()
            self._look = asyncio.ensure_future(self._ask())
        _, running = await asyncio.wait({self._look}, timeout=LONGEST_LOOK_SECONDS)
        if running:
            self.unanswered = "There was no answer in time."

    async def _ask(self) -> None:
        try:
            self._calls = await run_blocking(self.source.look)
            self.unanswered = None
        except HealthImagingError as error:
            log.warning("The shared poll of %s triggers failed; trying again: %s", self._members, error)
            self.unanswered = str(error)
            if not error.retryable:
                self._calls = math.inf


def shared_feed(key: Hashable, source: Callable[[], S]) -> Feed[S]:
    """Return the feed that all triggers of this event loop with the same key share."""
    feeds = _feeds.setdefault(asyncio.get_running_loop(), {})
    return cast("Feed[S]", feeds.setdefault(key, cast("Feed[Source]", Feed(source()))))


def _now() -> float:
    return asyncio.get_running_loop().time()
