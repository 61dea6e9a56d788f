"""Paces the calls to SearchImageSets after the service has throttled one.

Between two throttled calls, the service's bucket is emptied once. So the calls that succeeded in between are what the
quota refills in that time, and this is the rate to keep. The rate then grows slowly, because other users of the account
may stop. Until the first throttled call, no call waits. docs/adr/0004 compares this with botocore's own modes.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_healthimaging.aws.client_config import retry_settings

if TYPE_CHECKING:
    from types_boto3_medical_imaging import HealthImagingClient

    from airflow_provider_healthimaging.aws.truncated_responses import HTTPResponse

THROTTLE_BURST_SECONDS = 0.2
"""Throttled calls within this time count as one: these calls were under way together."""

RATE_SAMPLE_SECONDS = (1.0, 30.0)
"""The shortest and the longest time between throttled calls from which the service's rate can be measured."""

IDLE_RESET_SECONDS = 2.0
"""After this time without a call the rate is unknown again, because the service's bucket has filled up."""

MIN_RATE = 1.0
"""Calls per second that are always tried. The back-off before a retry grows by itself."""

GROWTH_KNOWN, GROWTH_UNKNOWN = 0.01, 0.5
"""How much the rate grows each second, after it was measured and before."""

MAX_BACKOFF_SECONDS = 20.0
"""The longest pause before a throttled call is retried, as in botocore's standard mode."""


class RateLimiter:
    """Says when the calls of all threads may be sent."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        """Start without a limit."""
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._rate = math.inf
        self._growth = GROWTH_UNKNOWN
        self._throttled_at = -math.inf
        self._successes_since = 0
        self._recent = deque([self._clock()], maxlen=20)
        self._next = -math.inf

    def acquire(self) -> None:
        """Wait for this call's turn."""
        with self._lock:
            now = self._clock()
            if now > self._next + IDLE_RESET_SECONDS:
                self._rate, self._throttled_at = math.inf, -math.inf
            turn = max(now, self._next)
            self._next = turn + 1 / self._rate_at(now)
        if turn > now:
            self._sleep(turn - now)

    def on_success(self) -> None:
        """Note that a call was not throttled."""
        with self._lock:
            self._successes_since += 1
            self._recent.append(self._clock())

    def on_throttle(self) -> None:
        """Note that a call was throttled, and slow down."""
        with self._lock:
            now = self._clock()
            since = now - self._throttled_at
            if since < THROTTLE_BURST_SECONDS:
                return
            if RATE_SAMPLE_SECONDS[0] <= since <= RATE_SAMPLE_SECONDS[1] and self._successes_since:
                self._rate, self._growth = max(self._successes_since / since, MIN_RATE), GROWTH_KNOWN
            else:
                lately = len(self._recent) / max(now - self._recent[0], 1e-3)
                self._rate = max(min(lately, self._rate_at(now)) / 2, MIN_RATE)
                self._growth = GROWTH_UNKNOWN
            self._throttled_at, self._successes_since = now, 0
            self._next = max(self._next, now + 1 / self._rate)

    def _rate_at(self, now: float) -> float:
        if math.isinf(self._rate):
            return self._rate
        return self._rate * math.exp(min(self._growth * (now - self._throttled_at), 50.0))


def install_rate_limiter(client: HealthImagingClient) -> None:
    """Pace the calls of ``client`` to SearchImageSets, and retry those that are throttled.

    A client in botocore's adaptive mode paces its calls by itself, and is not changed.
    """
    retries = retry_settings(client)
    if retries["mode"] == "adaptive":
        return
    limiter = RateLimiter()

    def before_send(**_: object) -> None:
        limiter.acquire()

    def needs_retry(response: tuple[HTTPResponse, object] | None, attempts: int, **_: object) -> float | None:
        if response is None:
            return None
        if response[0].status_code != HTTPStatus.TOO_MANY_REQUESTS:
            limiter.on_success()
            return None
        limiter.on_throttle()
        if attempts >= retries["total_max_attempts"]:
            return None
        jitter = random.uniform(0.5, 1)  # noqa: S311 - not a secret
        return jitter * min(0.1 * 2.0 ** (attempts - 1), MAX_BACKOFF_SECONDS)

    client.meta.events.register("before-send.medical-imaging.SearchImageSets", before_send)
    # The stubs let handlers return nothing, but botocore takes the seconds until the next attempt from this one.
    client.meta.events.register_first("needs-retry.medical-imaging.SearchImageSets", cast("Any", needs_retry))
