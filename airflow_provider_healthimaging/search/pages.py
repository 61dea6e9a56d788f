"""The pages of a search, and the image sets in them: each once, at its highest version.

Pages come in order of one timestamp, to the second at least. Only hits with the same second can be the same image set.
So duplicates are found within one second at a time, and memory does not grow with the result.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, cast

from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.search.image_set import SearchHit
from airflow_provider_healthimaging.window import TimeWindow

END_OF_TIME = datetime.max.replace(tzinfo=UTC)

CLOCK_SKEW = timedelta(minutes=1)
"""How far the clock of this machine may differ from the service's."""

PROGRESS_LOG_SECONDS = 10.0
"""The time between two progress lines in the log."""


class Log(Protocol):
    """A logger: Airflow 2 has Python's, Airflow 3 has structlog's."""

    def info(self, message: str, /, *args: object) -> object:
        """Log at INFO."""

    def warning(self, message: str, /, *args: object) -> object:
        """Log at WARNING."""


@dataclass(slots=True)
class ScanStats:
    """The counts of a search so far.

    :param pages: pages read.
    :param empty_pages: those of them that the service returned without a hit although more pages followed.
    :param calls: requests sent, with those that were retried.
    :param read: search hits as the service returned them.
    :param in_window: those of them that lie in the window, matching or not.
    :param image_sets: image sets that were passed on.
    :param changed: the latest ``updatedAt`` of these; the end of time if one has none.
    :param reached: the timestamp of the last hit that was read.
    :param next_token: the token to resume from, if ``MaxItems`` ended the search.
    """

    pages: int = 0
    empty_pages: int = 0
    calls: int = 0
    read: int = 0
    in_window: int = 0
    image_sets: int = 0
    changed: datetime | None = None
    reached: datetime | None = None
    next_token: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One response of the service.

    :param hits: the search hits, as they came.
    :param calls: the requests that it took.
    :param next_token: the token for the next page; ``None`` on the last.
    :param remaining: how much of the window was unread when the page was given.
    :param hits_ahead: hits that workers had read by then, beyond this page.
    :param calls_ahead: the requests that these took.
    :param is_empty: whether the service returned no hit although more pages follow.
    """

    hits: list[SearchHit]
    calls: int = 1
    next_token: str | None = None
    remaining: timedelta | None = None
    hits_ahead: int = 0
    calls_ahead: int = 0
    is_empty: bool = False


def deduplicate_hits(
    pages: Iterable[Page],
    *,
    sort_field: str,
    window: TimeWindow | None,
    match: Callable[[SearchHit], bool],
    order_may_change: bool,
    stats: ScanStats,
) -> Generator[SearchHit]:
    """Yield each matching image set of the window once, at its highest version.

    :param pages: pages in ascending order of ``sort_field``.
    :param sort_field: the field that the hits are sorted by, and that the window is about.
    :param window: keep only hits in it; ``None`` keeps all.
    :param match: keep only hits for which this is true.
    :param order_may_change: whether an image set can change its place while pages are read. Then the whole result is
        held in memory before the first hit is given.
    :param stats: updated while reading.
    """
    hits = _in_window(_hits_of(pages, sort_field, stats), window, sort_field, stats)
    groups: Iterable[tuple[object, Iterable[SearchHit]]] = (
        [("", hits)]
        if order_may_change
        else itertools.groupby(hits, key=lambda hit: _group_key(_timestamp(hit, sort_field), window))
    )
    for _, group in groups:
        latest = _latest_versions(group)
        if not order_may_change and window:
            latest.sort(key=lambda hit: (hit_timestamp(hit, sort_field), hit["imageSetId"]))
        elif not order_may_change:
            latest.sort(key=lambda hit: str(hit["imageSetId"]))
        for hit in filter(match, latest):
            stats.image_sets += 1
            changed = hit.get("updatedAt") or END_OF_TIME
            stats.changed = max(stats.changed or changed, changed)
            yield hit


def closing_pages(pages: Generator[Page], hits: Iterator[SearchHit]) -> Generator[SearchHit]:
    """Yield the hits of ``pages``, and close ``pages`` at the end, because workers may be reading them ahead."""
    with closing(pages):
        yield from hits


def has_stable_order(sort_field: str, window: TimeWindow | None) -> bool:
    """Whether no image set can change its place in the order of ``sort_field`` while it is read.

    An update sets ``updatedAt`` to now. So it moves an image set out of a window that is over, but to a later place
    in a window that is not. The effect of a changed study date on the order is not documented.
    """
    if sort_field == "createdAt":
        return True
    return sort_field == "updatedAt" and window is not None and window.end <= datetime.now(UTC) - CLOCK_SKEW


def require_monotonic(pages: Iterable[Page], sort_field: str, *, ascending: bool) -> Generator[Page]:
    """Yield pages, and raise if their hits are not sorted."""
    position: datetime | None = None
    for page in pages:
        position = check_sorted(page.hits, sort_field, position, ascending=ascending)
        yield page


def check_sorted(
    hits: Iterable[SearchHit], sort_field: str, position: datetime | None, *, ascending: bool = True
) -> datetime | None:
    """Raise if ``hits`` are not sorted to the second, or do not follow ``position``; return the last second of them.

    In a result that is not sorted, some hits may be repeated and others may be missing.

    :param position: the last second of the page before; ``None`` for the first page.
    """
    for hit in hits:
        if (moment := _timestamp(hit, sort_field)) is None:
            continue
        second = moment.replace(microsecond=0)
        if position is not None and (second < position if ascending else second > position):
            raise HealthImagingError(
                f"HealthImaging returned image sets that are not sorted by {sort_field}, so the result could be "
                "incomplete. Check where endpoint_url in the connection leads; if it is AWS, report this to AWS."
            )
        position = second
    return position


def hit_timestamp(hit: SearchHit, sort_field: str) -> datetime:
    """Return when the image set was created or updated.

    :raises HealthImagingError: if the hit does not say.
    """
    moment = _timestamp(hit, sort_field)
    if moment is None:
        raise HealthImagingError(
            f"HealthImaging returned image set {hit['imageSetId']} without {sort_field}, so it is unknown whether it "
            "lies in the window. Report this to AWS, and search without a window (time_field=None) until then."
        )
    return moment


def with_progress(pages: Iterable[Page], window: TimeWindow | None, stats: ScanStats, log: Log) -> Iterator[Page]:
    """Yield pages, and log every ten seconds how far the search is.

    :param stats: the counts so far. The code that consumes the pages updates them.
    """
    started = logged = time.monotonic()
    for page in pages:
        yield page
        now = time.monotonic()
        if now - logged < PROGRESS_LOG_SECONDS:
            continue
        logged = now
        read, calls = stats.read + page.hits_ahead, stats.calls + page.calls_ahead
        share = ""
        if window is not None and page.remaining is not None:
            share = f", {1 - page.remaining / (window.end_ceiling() - window.start):.0%} of the window"
        rate = read / (now - started)
        log.info("Read %s image sets in %s calls%s; %.0f image sets/s.", f"{read:,}", f"{calls:,}", share, rate)


def _hits_of(pages: Iterable[Page], sort_field: str, stats: ScanStats) -> Iterator[SearchHit]:
    for page in pages:
        stats.pages += 1
        stats.empty_pages += page.is_empty
        stats.calls += page.calls
        stats.read += len(page.hits)
        if page.hits:
            stats.reached = _timestamp(page.hits[-1], sort_field)
        yield from page.hits


def _in_window(
    hits: Iterable[SearchHit], window: TimeWindow | None, sort_field: str, stats: ScanStats
) -> Iterator[SearchHit]:
    """Yield the hits in the window, and skip the others. Only the service's last page proves that no hit follows."""
    for hit in hits:
        if window is None or hit_timestamp(hit, sort_field) in window:
            stats.in_window += 1
            yield hit


def _group_key(moment: datetime | None, window: TimeWindow | None) -> datetime | None:
    """Return the second of a hit. Without a window, the order is the caller's, and equal values stand together."""
    return moment.replace(microsecond=0) if moment and window else moment


def _timestamp(hit: SearchHit, sort_field: str) -> datetime | None:
    return cast("Mapping[str, datetime | None]", hit).get(sort_field)


def _latest_versions(hits: Iterable[SearchHit]) -> list[SearchHit]:
    """Return each image set once, at its highest version, in the place of that version."""
    latest: dict[str, SearchHit] = {}
    for hit in hits:
        known = latest.get(hit["imageSetId"])
        if known is None or (hit.get("version") or 0) > (known.get("version") or 0):
            latest.pop(hit["imageSetId"], None)
            latest[hit["imageSetId"]] = hit
    return list(latest.values())
