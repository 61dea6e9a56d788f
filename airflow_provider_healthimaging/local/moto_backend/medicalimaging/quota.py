"""The quotas of the operations as token buckets, as AWS documents its throttling.

Source: "AWS HealthImaging endpoints and quotas", throttling limits: a rate in calls per second, and a burst.
"""

import math
from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import NamedTuple

from .settings import Settings


class Quota(NamedTuple):
    """The quota of an operation at AWS.

    :param setting: the setting with the share of the quota that applies here.
    """

    per_second: float
    burst: int
    setting: str


QUOTAS = {
    "StartDICOMImportJob": Quota(1, 2, "import_quota"),
    "GetDICOMImportJob": Quota(25, 50, "import_quota"),
    "ListDICOMImportJobs": Quota(10, 20, "import_quota"),
    "GetImageSetMetadata": Quota(50, 100, "retrieval_quota"),
    "GetDICOMInstance": Quota(50, 100, "retrieval_quota"),
    "GetImageFrame": Quota(1000, 2000, "retrieval_quota"),
}
"""All quotas, but that of SearchImageSets, which has settings of its own."""


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


class Quotas:
    """A token bucket for each operation, with the rates of the settings. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        """Start with full buckets."""
        self._settings = settings
        self._buckets = {operation: TokenBucket() for operation in ("SearchImageSets", *QUOTAS)}

    def take(self, operation: str) -> bool:
        """Count a call. Return ``False`` if it exceeds the quota of the operation."""
        if operation == "SearchImageSets":
            return self._buckets[operation].take(self._settings.calls_per_second, self._settings.burst)
        quota = QUOTAS[operation]
        factor = getattr(self._settings, quota.setting)
        return self._buckets[operation].take(None if factor is None else quota.per_second * factor, quota.burst)
