"""A client that was refused for quota goes on at the rate that the service gives it; no Airflow, no pages.

Between two refusals the service's bucket goes from empty to empty, so what it took in between is what it refills:
the rate to keep. It is tried a little faster all the time, as the account's other users may leave. Until the first
refusal nothing waits. Why not botocore's own modes: docs/adr/0004.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

ONE_EVENT = 0.2
"""Seconds within which refusals are one event: the calls that were under way."""

MEASURABLE = (1.0, 30.0)
"""Seconds between refusals from which the service's rate can be told."""

PAUSE = 2.0
"""Seconds without a call after which nothing is known any more: the service's bucket has filled up meanwhile."""

LEAST_RATE = 1.0
"""Calls per second that are tried whatever was refused; the wait before a repeated call grows by itself."""

CAREFUL, SEARCHING = 0.01, 0.5
"""How much faster it gets each second, where the rate is known and where it is not."""

LONGEST_WAIT = 20.0
"""Seconds before a refused call is sent again, as in botocore's standard mode."""


class Pace:
    """When the calls of all threads may be sent, in calls per second."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        """Begin without a limit."""
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._rate = math.inf
        self._growth = SEARCHING
        self._refused_at = -math.inf
        self._taken_since = 0
        self._taken = deque([self._clock()], maxlen=20)
        self._next = -math.inf

    def wait(self) -> None:
        """Wait for this call's turn."""
        with self._lock:
            now = self._clock()
            if now > self._next + PAUSE:
                self._rate, self._refused_at = math.inf, -math.inf
            turn = max(now, self._next)
            self._next = turn + 1 / self._rate_at(now)
        if turn > now:
            self._sleep(turn - now)

    def taken(self) -> None:
        """Note that the service took a call."""
        with self._lock:
            self._taken_since += 1
            self._taken.append(self._clock())

    def refused(self) -> None:
        """Note that the service refused a call, and slow down."""
        with self._lock:
            now = self._clock()
            since = now - self._refused_at
            if since < ONE_EVENT:
                return
            if MEASURABLE[0] <= since <= MEASURABLE[1] and self._taken_since:
                self._rate, self._growth = max(self._taken_since / since, LEAST_RATE), CAREFUL
            else:
                lately = len(self._taken) / max(now - self._taken[0], 1e-3)
                self._rate = max(min(lately, self._rate_at(now)) / 2, LEAST_RATE)
                self._growth = SEARCHING
            self._refused_at, self._taken_since = now, 0
            self._next = max(self._next, now + 1 / self._rate)

    def _rate_at(self, now: float) -> float:
        if math.isinf(self._rate):
            return self._rate
        return self._rate * math.exp(min(self._growth * (now - self._refused_at), 50.0))


def keep_pace(client: Any) -> None:
    """Make the calls of ``client`` to SearchImageSets keep pace, and repeat the refused ones.

    A client in botocore's adaptive mode, which does that its own way, is left as it is.
    """
    retries = client.meta.config.retries
    if retries["mode"] == "adaptive":
        return
    pace = Pace()

    def before_send(**_: Any) -> None:
        pace.wait()

    def needs_retry(response: Any, attempts: int, **_: Any) -> float | None:
        if response is None:
            return None
        if response[0].status_code != 429:  # noqa: PLR2004
            pace.taken()
            return None
        pace.refused()
        if attempts >= retries["total_max_attempts"]:
            return None
        jitter = random.uniform(0.5, 1)  # noqa: S311 - no secret
        return jitter * min(0.1 * 2.0 ** (attempts - 1), LONGEST_WAIT)

    client.meta.events.register("before-send.medical-imaging.SearchImageSets", before_send)
    client.meta.events.register_first("needs-retry.medical-imaging.SearchImageSets", needs_retry)
