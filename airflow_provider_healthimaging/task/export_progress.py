"""How far a task is with copying image sets, and how it ended: counts, the log, the summary, the error."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, TypedDict

from airflow_provider_healthimaging.exceptions import (
    ConfigurationError,
    ExportFailedError,
    HealthImagingError,
    InvalidArgumentError,
)

if TYPE_CHECKING:
    from airflow_provider_healthimaging.export.request import Content, ExportRequest
    from airflow_provider_healthimaging.search.pages import Log

PROGRESS_LOG_SECONDS = 10.0

MAX_NAMED_FAILURES = 50
"""Image sets that the log names before it only counts them."""


class ExportSummary(TypedDict):
    """The XCom ``summary``. ``objects`` and ``bytes`` are what was copied; skipped is what was there already.

    ``image_sets`` counts those that are complete now, skipped ones included.
    """

    image_sets: int
    image_sets_skipped: int
    image_sets_missing: int
    image_sets_failed: int
    failed_by_type: dict[str, int]
    objects: int
    objects_skipped: int
    objects_missing: int
    bytes: int
    seconds: float
    content: list[Content]
    output: str


def two_datastores_error(folder: str) -> InvalidArgumentError:
    """Return the error for a folder to which image sets of two data stores would go."""
    return InvalidArgumentError(
        f"{folder} has a copy of an image set of another data store. Give each data store an s3_uri of its own."
    )


class ExportProgress:
    """Counts what workers do. All of its methods may be called from several threads."""

    def __init__(self, request: ExportRequest, total: int, log: Log) -> None:
        """Start at zero.

        :param total: how many image sets there are.
        """
        self._request, self._total, self._log = request, total, log
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._counts: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._retryable = False
        self._records: dict[int, dict[str, object]] = {}
        self._claimed: dict[str, str] = {}

    def claim(self, folder: str, datastore_id: str) -> bool:
        """Return whether no other image set of the task goes to a folder, as a record without a version may.

        :raises InvalidArgumentError: if one of another data store does.
        """
        with self._lock:
            is_first = folder not in self._claimed
            claimed_by = self._claimed.setdefault(folder, datastore_id)
            is_same = claimed_by == datastore_id
            self._total -= is_same and not is_first
        if not is_same:
            raise two_datastores_error(folder)
        return is_first

    def add_object(self, size: int, *, copied: bool) -> None:
        """Count an object that was copied, or that was there already."""
        with self._lock:
            if copied:
                self._counts["objects"] += 1
                self._counts["bytes"] += size
            else:
                self._counts["objects_skipped"] += 1

    def add_missing_object(self) -> None:
        """Count an object that the service does not have."""
        with self._lock:
            self._counts["objects_missing"] += 1

    def add_copied(self, number: int, record: dict[str, object]) -> None:
        """Count an image set that is complete now."""
        with self._lock:
            self._records[number] = record

    def add_complete(self, number: int, record: dict[str, object], *, objects: int) -> None:
        """Count an image set that was complete before."""
        with self._lock:
            self._records[number] = record
            self._counts["skipped"] += 1
            self._counts["objects_skipped"] += objects

    def add_missing(self, image_set_id: str) -> None:
        """Count an image set that does not exist."""
        with self._lock:
            self._counts["missing"] += 1
        self._log.warning("Image set %s does not exist any more. It is skipped.", image_set_id)

    def add_failed(self, image_set_id: str, error: HealthImagingError) -> None:
        """Count an image set that was not copied. An error of the configuration ends the task, because all would fail.

        :raises ConfigurationError: if ``error`` is one.
        """
        if isinstance(error, ConfigurationError):
            raise error
        with self._lock:
            self._errors[type(error).__name__] += 1
            self._retryable = self._retryable or error.retryable
            is_named = self._errors.total() <= MAX_NAMED_FAILURES
        if is_named:
            self._log.warning("Image set %s was not copied: %s: %s", image_set_id, type(error).__name__, error)

    def log(self) -> None:
        """Log how far the task is."""
        with self._lock:
            counts, done = self._counts.copy(), self._done()
        seconds = time.monotonic() - self._started
        self._log.info(
            "Copied %s of %s image sets (%.0f%%), %s objects, %s MB; %.1f objects/s, %.1f MB/s.",
            *(f"{done:,}", f"{self._total:,}", 100 * done / max(self._total, 1), f"{counts['objects']:,}"),
            *(f"{counts['bytes'] / 1e6:,.1f}", counts["objects"] / seconds, counts["bytes"] / 1e6 / seconds),
        )

    def records(self) -> list[dict[str, object]]:
        """Return the records of the image sets that are complete, in the order of the task's input."""
        return [self._records[number] for number in sorted(self._records)]

    def summary(self) -> ExportSummary:
        """Return the summary."""
        return {
            "image_sets": len(self._records),
            "image_sets_skipped": self._counts["skipped"],
            "image_sets_missing": self._counts["missing"],
            "image_sets_failed": self._errors.total(),
            "failed_by_type": dict(self._errors.most_common()),
            "objects": self._counts["objects"],
            "objects_skipped": self._counts["objects_skipped"],
            "objects_missing": self._counts["objects_missing"],
            "bytes": self._counts["bytes"],
            "seconds": round(time.monotonic() - self._started, 3),
            "content": [*self._request.content],
            "output": self._request.uri,
        }

    def raise_if_failed(self) -> None:
        """Raise if an image set was not copied.

        :raises ExportFailedError: with counts by the type of the error.
        """
        if not self._errors:
            return
        types = ", ".join(f"{kind}: {count}" for kind, count in self._errors.most_common())
        raise ExportFailedError(
            f"{self._errors.total()} of {self._total} image sets were not copied ({types}). The log says why. The "
            "others are complete. Clear the task, and it continues with what is missing.",
            errors=dict(self._errors),
            retryable=self._retryable,
        )

    def _done(self) -> int:
        return len(self._records) + self._counts["missing"] + self._errors.total()
