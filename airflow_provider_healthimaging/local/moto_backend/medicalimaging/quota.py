"""A token bucket, as AWS documents its throttling. It knows numbers and a clock.

Source: "AWS HealthImaging endpoints and quotas", throttling limits: a rate in calls per second, and a burst.
"""

import math
from collections.abc import Callable
from threading import Lock
from time import monotonic


class TokenBucket:
    """Contains one token for each call that is allowed now. Full at first, refilled continuously. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """Create a full bucket.

        :param clock: returns seconds that never decrease.
        """
        self._clock = clock
        self._tokens = math.inf
        self._refilled = clock()
        self._lock = Lock()

    def take(self, per_second: float | None, size: int) -> bool:
        """Take a token for one call. Return ``False`` if there is none.

        Rate and size are arguments of each call, because settings can change.

        :param per_second: new tokens per second; ``None`` for no limit, which also fills the bucket.
        :param size: maximum number of tokens.
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
