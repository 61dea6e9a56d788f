"""Read a window page by page, and give each image set in it once; told how to fetch, it knows no boto3.

Pages come in ascending order of one timestamp, to the second at least. Only what has the same there may be the same
image set twice, so duplicates are found by holding a second at a time, and memory does not grow with the result.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.search.image_set import Summary
from airflow_provider_healthimaging.window import TimeWindow

END_OF_TIME = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class ScanStats:
    """What a scan has done so far.

    ``calls`` counts every request, retried ones included; ``read`` the rows as they came, ``image_sets`` those that
    were passed on, and ``changed`` is the latest ``updatedAt`` of these, the end of time where one has none;
    ``reached`` is the timestamp of the last row read; ``next_token`` is where ``MaxItems`` cut off.
    """

    pages: int = 0
    calls: int = 0
    read: int = 0
    image_sets: int = 0
    changed: datetime | None = None
    reached: datetime | None = None
    next_token: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of the service: its rows, how many requests it took to get it, and the token for the next.

    ``left`` is how much of the window was unread when the page was given; ``rows_ahead`` and ``calls_ahead`` are what
    several readers had read by then of the pages after it.
    """

    rows: list[Summary]
    calls: int = 1
    next_token: str | None = None
    left: timedelta | None = None
    rows_ahead: int = 0
    calls_ahead: int = 0


def scan(
    pages: Iterable[Page],
    *,
    order: str,
    window: TimeWindow | None,
    match: Callable[[Summary], bool],
    moving: bool,
    stats: ScanStats,
) -> Generator[Summary]:
    """Yield each matching image set of the window once, at its highest version.

    :param pages: answers in ascending order of ``order``.
    :param order: the timestamp that the rows are ordered by, and that ``window`` is about.
    :param window: keep only what lies in it; ``None`` keeps everything.
    :param match: keep only hits of which this is true.
    :param moving: whether an image set may change its place while it is read (an update moves it to a later
        ``updatedAt``). The whole result is then held before the first is given.
    :param stats: kept up to date while reading.
    """
    rows = _in_window(_rows(pages, order, stats), window, order)
    groups = [("", rows)] if moving else itertools.groupby(rows, key=lambda row: _second(row.get(order), window))
    for _, group in groups:
        hits = _latest_versions(group)
        if not moving:
            hits.sort(key=lambda hit: (hit[order] if window else 0, str(hit["imageSetId"])))
        for summary in filter(match, hits):
            stats.image_sets += 1
            changed = summary.get("updatedAt") or END_OF_TIME
            stats.changed = max(stats.changed or changed, changed)
            yield summary


def ending(pages: Generator[Page], found: Iterator[Summary]) -> Generator[Summary]:
    """Yield what was ``found`` in ``pages``, and end them with it: threads may be reading them ahead."""
    with closing(pages):
        yield from found


def _second(moment: datetime | None, window: TimeWindow | None) -> datetime | None:
    """Return what may be no finer in the service's order; without a window, order and value are the caller's."""
    return moment.replace(microsecond=0) if moment and window else moment


def _rows(pages: Iterable[Page], order: str, stats: ScanStats) -> Iterator[Summary]:
    for page in pages:
        stats.pages += 1
        stats.calls += page.calls
        stats.read += len(page.rows)
        if page.rows:
            stats.reached = page.rows[-1].get(order)
        yield from page.rows


def one_way(pages: Iterable[Page], order: str) -> Generator[Page]:
    """Pass pages on, and raise where their order turns round: rows are given again then, or were passed over."""
    last, forward = None, None
    for page in pages:
        for moment in filter(None, (row.get(order) for row in page.rows)):
            second = moment.replace(microsecond=0)
            if last not in {None, second}:
                if forward not in {None, second > last}:
                    raise not_sorted(order)
                forward = second > last
            last = second
        yield page


def _in_window(rows: Iterable[Summary], window: TimeWindow | None, order: str) -> Iterator[Summary]:
    """Pass on what lies in the window; all is read, as an order is a promise and a last page is a fact."""
    return (row for row in rows if window is None or timestamp(row, order, window) in window)


def not_sorted(order: str) -> HealthImagingError:
    """Return the error for rows that are not in the order asked for."""
    return HealthImagingError(
        f"The service did not sort by {order}, as it was asked to, so image sets could be given twice or passed over. "
        "Look at what endpoint_url in the connection leads to, and report this to AWS if it is their service."
    )


def timestamp(row: Summary, order: str, window: TimeWindow) -> datetime:
    """Return when ``row`` was created or updated, which a window cannot do without."""
    moment: datetime | None = row.get(order)
    if moment is None:
        raise HealthImagingError(
            f"The service gave image set {row['imageSetId']} without {order}, so no one can say whether it lies "
            f"in the window {window}. Report this to AWS; search without a window (time_field=None) until then."
        )
    return moment


def _latest_versions(rows: Iterable[Summary]) -> list[Summary]:
    """Return each image set once, at its highest version, and where that one stood."""
    latest: dict[str, Any] = {}
    for row in rows:
        known = latest.get(row["imageSetId"])
        if known is None or (row.get("version") or 0) > (known.get("version") or 0):
            latest.pop(row["imageSetId"], None)
            latest[row["imageSetId"]] = row
    return list(latest.values())
