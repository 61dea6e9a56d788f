"""Several readers of one window, and its pages in order of time; told how to fetch, it knows no boto3.

The first page decides: if it is the last, that was all. Otherwise each reader has a segment of the window, and one
that has none takes the later part of another's. The pages of the earliest segment are given as they come; those of
the others wait, within bounds, for their turn.

    window   |----segment----|---segment---|------------segment------------|
             given           read ahead    read ahead, and cut when a reader is free
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from airflow_provider_healthimaging.search.pages import Page
from airflow_provider_healthimaging.search.segment import Fetch, Segment
from airflow_provider_healthimaging.window import TimeWindow

A_CUT = 25
"""Rows that a cut costs: half a page, as the pages of neither side end at it."""

SEGMENT = 96
"""How many cuts' cost of rows a reader is left with when the rest is cut off."""

WORTH_A_CUT = 10
"""How many cuts' cost of rows a segment must have left for another reader to help with."""

READ_AHEAD_ROWS = 3000
"""Rows for each reader that may wait for their turn: what memory the readers take."""

PAGES_TO_JUDGE, ROWS_TO_RISK = 3, 10_000
"""No cut is made before so many pages, unless there seem to be so many rows: one page is little to judge by."""

PAGES_A_CUT = 8
"""Pages that pay for a cut's cost. A cut that finds rows pays for two more, until all readers are busy."""


def read_window(
    fetch: Fetch, window: TimeWindow, order: str, *, workers: int, read_ahead: int | None = None
) -> Generator[Page]:
    """Yield the pages of ``window`` in order of time, each row in one of them.

    With one worker nothing is read before it is asked for. With more, threads read ahead; they end before this
    iterator does, be it by its last page, an error of any of them, or :meth:`close`.

    :param fetch: asks for a page; called from several threads where there are several workers.
    :param order: the timestamp that the rows are sorted by.
    :param workers: the most calls at a time.
    :param read_ahead: rows for each worker that may wait for their turn, at most and by default 3,000. With fewer,
        less is read in vain by a task that dies, and more calls are needed.
    """
    scale = min(1.0, read_ahead / READ_AHEAD_ROWS) if read_ahead else 1.0
    segment = Segment(window, order)
    for pages in itertools.count(1):
        page = segment.take(segment.fetch(fetch))
        yield replace(page, left=segment.left)
        if segment.done:
            return
        judged = pages >= PAGES_TO_JUDGE or segment.rows_left >= ROWS_TO_RISK
        if workers > 1 and judged and _where_to_cut(segment, scale):
            yield from _Readers(fetch, segment, workers, scale).pages()
            return


class _Readers:
    """Threads that read segments, and what they share: everything below is changed under ``_changed`` only."""

    def __init__(self, fetch: Fetch, segment: Segment, workers: int, scale: float) -> None:
        self._fetch = fetch
        self._workers = workers
        self._scale = scale
        self._changed = threading.Condition()
        self._unread = [segment]
        self._segments = [segment]
        self._waiting: dict[Segment, deque[Page]] = {segment: deque()}
        self._rows_waiting = self._calls_waiting = 0
        self._credit = 1.0
        self._unproven: set[Segment] = set()
        self._helpful_cuts = 0
        self._error: BaseException | None = None
        self._closed = False

    def pages(self) -> Iterator[Page]:
        """Start the threads, and yield pages in order until all is read."""
        threads = [
            threading.Thread(target=self._work, name=f"image-set-reader-{number}", daemon=True)
            for number in range(self._workers)
        ]
        try:
            for thread in threads:
                thread.start()
            while (page := self._next_page()) is not None:
                yield page
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()

    def _next_page(self) -> Page | None:
        with self._changed:
            while self._segments:
                first = self._segments[0]
                waiting = self._waiting[first]
                self._changed.wait_for(lambda: self._error or waiting or first.done)  # noqa: B023 - waits here
                if self._error:
                    raise self._error
                if waiting:
                    page = waiting.popleft()
                    self._rows_waiting -= len(page.rows)
                    self._calls_waiting -= page.calls
                    self._changed.notify_all()
                    left = sum((segment.left for segment in self._segments), timedelta(0))
                    return replace(page, left=left, rows_ahead=self._rows_waiting, calls_ahead=self._calls_waiting)
                del self._waiting[self._segments.pop(0)]
                self._changed.notify_all()
            return None

    def _work(self) -> None:
        try:
            while segment := self._next_segment():
                while not segment.done and self._wait_for_room(segment):
                    page = segment.fetch(self._fetch)
                    with self._changed:
                        self._put(segment, segment.take(page))
        except BaseException as error:  # noqa: BLE001 - raised again where the pages are asked for
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _next_segment(self) -> Segment | None:
        with self._changed:
            while not self._over():
                segment = self._unread.pop() if self._unread else self._cut_off()
                if segment:
                    return segment
                self._changed.wait()
            return None

    def _over(self) -> bool:
        return self._closed or self._error is not None or all(segment.done for segment in self._segments)

    def _cut_off(self) -> Segment | None:
        """Take the later part of the segment that has most before it, if that is worth a cut."""
        if self._credit <= 0:
            return None
        largest = max((segment for segment in self._segments if not segment.done), key=lambda each: each.rows_left)
        moment = _where_to_cut(largest, self._scale)
        if moment is None:
            return None
        self._credit -= _cost(largest) / A_CUT
        rest = largest.cut_at(moment)
        self._segments.insert(self._segments.index(largest) + 1, rest)
        self._waiting[rest] = deque()
        self._unproven.add(rest)
        return rest

    def _wait_for_room(self, segment: Segment) -> bool:
        """Wait until ``segment`` may be read on; the earliest always may when nothing of it waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._error or self._has_room(segment))
            return not (self._closed or self._error)

    def _has_room(self, segment: Segment) -> bool:
        needed_now = segment is self._segments[0] and not self._waiting[segment]
        return needed_now or self._rows_waiting < self._workers * READ_AHEAD_ROWS * self._scale

    def _put(self, segment: Segment, page: Page) -> None:
        self._waiting[segment].append(page)
        self._rows_waiting += len(page.rows)
        self._calls_waiting += page.calls
        self._credit += 1 / PAGES_A_CUT
        if segment in self._unproven:
            self._unproven.remove(segment)
            self._prove(found=bool(page.rows))
        self._changed.notify_all()

    def _prove(self, *, found: bool) -> None:
        """Cut more where a cut has found rows, and less where it has not."""
        self._helpful_cuts += found
        if not found:
            self._credit -= 2
        elif self._helpful_cuts < self._workers:
            self._credit += 2


def _where_to_cut(segment: Segment, scale: float) -> datetime | None:
    """Return the second that leaves a reader its share, or half of what is left if that is less.

    :param scale: how large a share may be, beside the usual.
    """
    cost = _cost(segment)
    if segment.rows_left < WORTH_A_CUT * cost:
        return None
    share = min(SEGMENT * scale * cost / segment.rows_left, 0.5)
    moment = (segment.reached + (segment.end - segment.reached) * share).replace(microsecond=0) + timedelta(seconds=1)
    return moment if moment < segment.end else None


def _cost(segment: Segment) -> float:
    """Return how many rows are read twice for a cut: also those of the second before it."""
    return A_CUT + segment.rows_per_second
