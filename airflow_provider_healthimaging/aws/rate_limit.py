"""Paces the calls of a client, so that the tasks of an account share its quotas without knowing of each other.

Until the quota is used up, no call waits. Then each client keeps to the share of the quota that it has had so far,
tries a little more from time to time, and gives way when it is throttled. Throttling that has nothing to do with the
rate of this client does not slow it down. docs/adr/0004 has the reasons, and what else was tried.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_healthimaging.aws.client_config import retry_settings

if TYPE_CHECKING:
    from botocore.hooks import BaseEventHooks
    from types_boto3_medical_imaging import HealthImagingClient

    from airflow_provider_healthimaging.aws.truncated_responses import HTTPResponse

QUOTAS = {
    "SearchImageSets": 25,
    "GetImageSet": 25,
    "GetImageSetMetadata": 50,
    "GetImageFrame": 1000,
    "GetDICOMInstance": 50,
}
"""Calls per second of an account (AWS's quotas page). Each operation has a limiter of its own in a client.

An account may have other quotas, and other users of the account may use most of them. So a quota does not limit the
rate. It only says how fast the rate grows."""

BURST_SECONDS = 3.4
"""A full bucket is worth two seconds of the quota (AWS's quotas page). More seconds keep the first rate low: the
bucket keeps what is not used at first."""

GROWTH, GROWTH_OF_QUOTA = 0.0065, 0.00032
"""The rate grows to ``rate * exp(GROWTH * t**2) + quota * GROWTH_OF_QUOTA * t**2``, ``t`` seconds after it was reduced.
The first part lets a client alone reach the quota soon. The second part is the same for all clients, so their rates
become equal."""

REDUCTION, REDUCTION_PAUSE_SECONDS = 0.83, 1.0
"""The factor for a rate at which a call was throttled. Throttled calls within the pause count as one."""

REDUCED_IN_VAIN, VAIN_SHARE = 0.7, 0.2
"""If calls are throttled now and then at this part of the first rate, a lower rate does not help: no limit any more."""

THROTTLED_IN_A_ROW, THROTTLED_SHARE, SHARE_CALLS, FIRST_CALLS = 3, 0.36, 14, 5
"""What shows that the quota is used up, once a few calls have succeeded: three throttled calls in a row, or a share of
about the last 14 calls."""

SENSITIVE_WORKERS = 2
"""With two calls at a time, three in a row come too late. So one throttled call is enough, until it has misled once."""

IDLE_SECONDS = 2.0
"""After this time without a call, the bucket is full again."""

MAX_BACKOFF_SECONDS = 20.0
"""The longest pause before a throttled call is sent again, as in botocore's standard mode."""


class RateLimiter:
    """Says when the calls of all threads may be sent."""

    def __init__(
        self,
        quota: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Start without a limit.

        :param quota: calls per second that an account usually has.
        """
        self._growth_calls = quota * GROWTH_OF_QUOTA
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        # The time before the first call does not count: a task makes its clients before it needs them.
        self._next_turn = self._started = -math.inf
        self._rate, self._first_rate, self._reduced_at = math.inf, math.inf, -math.inf
        self._sent = self._answered = self._succeeded = self._most_under_way = 0
        self._share = 0.0
        self._throttled: list[int] = []
        self._was_misled = False

    def acquire(self) -> int:
        """Wait for this call's turn, and return its number in the order of sending."""
        with self._lock:
            now = self._clock()
            if now > self._next_turn + IDLE_SECONDS:
                self._started, self._succeeded = now, 0
                self._remove_limit()
            turn = max(now, self._next_turn)
            self._next_turn = turn + 1 / self._rate_at(now)
        if turn > now:
            self._sleep(turn - now)
        with self._lock:
            self._sent += 1
            self._most_under_way = max(self._most_under_way, self._sent - self._answered)
            return self._sent

    def on_success(self, number: int) -> None:
        """Note that a call was not throttled."""
        with self._lock:
            self._answered += 1
            self._succeeded += 1
            self._share -= self._share / SHARE_CALLS
            self._throttled = [each for each in self._throttled if each > number]

    def on_throttle(self, number: int, backoff: float = 0.0) -> None:
        """Note that a call was throttled, and slow down if that helps.

        :param backoff: seconds until the call is sent again.
        """
        with self._lock:
            now = self._clock()
            self._answered += 1
            self._share += (1 - self._share) / SHARE_CALLS
            self._throttled.append(number)
            if math.isinf(self._rate):
                self._next_turn = max(self._next_turn, now + backoff)
                if self._quota_is_used_up():
                    under_way = self._sent - self._answered
                    self._first_rate = (self._succeeded + under_way) / (now - self._started + BURST_SECONDS)
                    self._set_rate(self._first_rate, now)
            elif now - self._reduced_at >= REDUCTION_PAUSE_SECONDS:
                rate = REDUCTION * self._rate_at(now)
                if rate < REDUCED_IN_VAIN * self._first_rate and self._share < VAIN_SHARE:
                    self._remove_limit()
                    self._was_misled = True
                else:
                    self._set_rate(rate, now)

    def _remove_limit(self) -> None:
        self._rate, self._share, self._throttled = math.inf, 0.0, []

    def _quota_is_used_up(self) -> bool:
        is_sensitive = self._most_under_way == SENSITIVE_WORKERS and not self._was_misled
        enough = 1 if is_sensitive else THROTTLED_IN_A_ROW
        sent_since_the_first = self._sent - min(self._throttled) + 1
        in_a_row = len(self._throttled) >= max(enough, 0.75 * sent_since_the_first)
        return self._succeeded >= FIRST_CALLS and (in_a_row or self._share >= THROTTLED_SHARE)

    def _set_rate(self, rate: float, now: float) -> None:
        self._rate, self._reduced_at = rate, now
        jitter = random.random()  # noqa: S311 - not a secret
        self._next_turn = max(self._next_turn, now + jitter / rate)

    def _rate_at(self, now: float) -> float:
        if math.isinf(self._rate):
            return math.inf
        square = (now - self._reduced_at) ** 2
        return self._rate * math.exp(min(GROWTH * square, 50.0)) + self._growth_calls * square


def backoff_seconds(attempt: int) -> float:
    """Return the pause after a throttled attempt. It is short at first, because the rate itself makes calls wait."""
    jitter = random.uniform(0.5, 1.5)  # noqa: S311 - not a secret
    return jitter * min(0.02 * 3.0 ** (attempt - 1), MAX_BACKOFF_SECONDS)


def install_rate_limiter(client: HealthImagingClient) -> None:
    """Pace the calls of ``client`` to the operations of which tasks make many, and retry those that are throttled.

    A client in botocore's adaptive mode paces its calls by itself, and is not changed.
    """
    retries = retry_settings(client)
    if retries["mode"] != "adaptive":
        for operation, quota in QUOTAS.items():
            _pace(client.meta.events, operation, RateLimiter(quota), retries["total_max_attempts"])


def _pace(events: BaseEventHooks, operation: str, limiter: RateLimiter, attempts_at_most: int) -> None:
    this_thread = threading.local()

    def before_send(**_: object) -> None:
        this_thread.number = limiter.acquire()

    def needs_retry(response: tuple[HTTPResponse, object] | None, attempts: int, **_: object) -> float | None:
        if response is None:
            return None
        if response[0].status_code != HTTPStatus.TOO_MANY_REQUESTS:
            limiter.on_success(this_thread.number)
            return None
        backoff = backoff_seconds(attempts)
        limiter.on_throttle(this_thread.number, backoff)
        return backoff if attempts < attempts_at_most else None

    events.register(f"before-send.*.{operation}", before_send)
    # The stubs let handlers return nothing, but botocore takes the seconds until the next attempt from this one.
    events.register_first(f"needs-retry.*.{operation}", cast("Any", needs_retry))
