"""A token bucket, which is how AWS documents that calls are throttled; it knows numbers and a clock.

"AWS HealthImaging endpoints and quotas", throttling limits: so many calls a second sustained, and a burst above it.
"""

import math
from collections.abc import Callable
from threading import Lock
from time import monotonic


class TokenBucket:
    """Holds the calls that may be made now: full at first, refilled all the time. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """Begin full, whatever size it will be given.

        :param clock: seconds since any moment; never goes back.
        """
        self._clock = clock
        self._tokens = math.inf
        self._refilled = clock()
        self._lock = Lock()

    def take(self, per_second: float | None, size: int) -> bool:
        """Take a token for one call; ``False``, and nothing is taken, where there is no whole one.

        Rate and size are given each time, so that they can change in between.

        :param per_second: tokens that come in a second; ``None`` for as many as are asked for, which fills it.
        :param size: how many tokens it holds at most.
        """
        with self._lock:
            now = self._clock()
            if per_second is None:
                self._tokens, self._refilled = math.inf, now
                return True
            self._tokens = min(size, self._tokens + (now - self._refilled) * per_second)
            self._refilled = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
