"""Several workers read one window; its pages still come in order of time.

If the first page is the last, that is all. Otherwise each worker reads a segment of the window, and a worker without a
segment splits another's and takes the later part. The pages of the earliest segment are given as they come. Those of
the other segments wait for their turn, within bounds.

    window   |----segment----|---segment---|------------segment------------|
             given           read ahead    read ahead, and split when a worker is free
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

SPLIT_COST_HITS = 25
"""Hits that a split costs: half a page, because no page ends exactly at it."""

TARGET_SHARE = 96
"""The share that a split leaves to the worker before it, in units of the cost of a split."""

MIN_HITS_TO_SPLIT = 10
"""What a segment must have left to be split, in units of the cost of a split."""

READ_AHEAD_HITS = 3000
"""Hits for each worker that may wait for their turn. This bounds the memory that the workers take."""

WARMUP_PAGES, WARMUP_HITS = 3, 10_000
"""Pages before the first split, unless so many hits seem to be left. One page says little about the density."""

PAGES_PER_SPLIT_CREDIT = 8
"""Pages that pay for one split. A split that finds hits pays for two more, until all workers are busy."""


def read_window(
    fetch: Fetch, window: TimeWindow, sort_field: str, *, workers: int, read_ahead: int | None = None
) -> Generator[Page]:
    """Yield the pages of ``window`` in order of time, each hit in one of them.

    With one worker, nothing is read before it is asked for. With more, threads read ahead. They end before this
    iterator ends: with its last page, with an error in one of them, or by :meth:`close`.

    :param fetch: fetches a page; with several workers, several threads call it.
    :param sort_field: the timestamp that the hits are sorted by.
    :param workers: the most calls at a time.
    :param read_ahead: hits for each worker that may wait for their turn; at most and by default 3,000. A smaller number
        costs more calls, and loses less if the task dies.
    """
    scale = min(1.0, read_ahead / READ_AHEAD_HITS) if read_ahead else 1.0
    segment = Segment(window, sort_field)
    for pages in itertools.count(1):
        page = segment.accept(segment.fetch(fetch))
        yield replace(page, remaining=segment.remaining)
        if segment.done:
            return
        warmed_up = pages >= WARMUP_PAGES or segment.hits_left >= WARMUP_HITS
        if workers > 1 and warmed_up and _find_split(segment, scale):
            yield from _Workers(fetch, segment, workers, scale).pages()
            return


class _Workers:
    """Threads that read segments, and what they share. Every attribute is changed under ``_changed`` only."""

    def __init__(self, fetch: Fetch, segment: Segment, workers: int, scale: float) -> None:
        self._fetch = fetch
        self._workers = workers
        self._scale = scale
        self._changed = threading.Condition()
        self._unread_segments = [segment]
        self._segments = [segment]
        self._waiting: dict[Segment, deque[Page]] = {segment: deque()}
        self._hits_waiting = self._calls_waiting = 0
        self._split_credit = 1.0
        self._untested_segments: set[Segment] = set()
        self._helpful_splits = 0
        self._error: BaseException | None = None
        self._closed = False

    def pages(self) -> Iterator[Page]:
        """Start the threads, and yield pages in order until all are read."""
        threads = [
            threading.Thread(target=self._work, name=f"image-set-worker-{number}", daemon=True)
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
                    self._hits_waiting -= len(page.hits)
                    self._calls_waiting -= page.calls
                    self._changed.notify_all()
                    remaining = sum((segment.remaining for segment in self._segments), timedelta(0))
                    return replace(
                        page, remaining=remaining, hits_ahead=self._hits_waiting, calls_ahead=self._calls_waiting
                    )
                del self._waiting[self._segments.pop(0)]
                self._changed.notify_all()
            return None

    def _work(self) -> None:
        try:
            while segment := self._next_segment():
                while not segment.done and self._wait_for_room(segment):
                    page = segment.fetch(self._fetch)
                    with self._changed:
                        self._enqueue(segment, segment.accept(page))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that reads the pages
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _next_segment(self) -> Segment | None:
        with self._changed:
            while not self._is_finished():
                segment = self._unread_segments.pop() if self._unread_segments else self._steal_segment()
                if segment:
                    return segment
                self._changed.wait()
            return None

    def _is_finished(self) -> bool:
        return self._closed or self._error is not None or all(segment.done for segment in self._segments)

    def _steal_segment(self) -> Segment | None:
        """Split the segment that has the most hits left, if that is worth its cost, and return the later part."""
        if self._split_credit <= 0:
            return None
        largest = max((segment for segment in self._segments if not segment.done), key=lambda each: each.hits_left)
        moment = _find_split(largest, self._scale)
        if moment is None:
            return None
        self._split_credit -= _split_cost(largest) / SPLIT_COST_HITS
        rest = largest.split_at(moment)
        self._segments.insert(self._segments.index(largest) + 1, rest)
        self._waiting[rest] = deque()
        self._untested_segments.add(rest)
        return rest

    def _wait_for_room(self, segment: Segment) -> bool:
        """Wait until there is room for another page of ``segment``, or it is the earliest and no page of it waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._error or self._has_room(segment))
            return not (self._closed or self._error)

    def _has_room(self, segment: Segment) -> bool:
        needed_now = segment is self._segments[0] and not self._waiting[segment]
        return needed_now or self._hits_waiting < self._workers * READ_AHEAD_HITS * self._scale

    def _enqueue(self, segment: Segment, page: Page) -> None:
        self._waiting[segment].append(page)
        self._hits_waiting += len(page.hits)
        self._calls_waiting += page.calls
        self._split_credit += 1 / PAGES_PER_SPLIT_CREDIT
        if segment in self._untested_segments:
            self._untested_segments.remove(segment)
            self._record_split_result(found=bool(page.hits))
        self._changed.notify_all()

    def _record_split_result(self, *, found: bool) -> None:
        """Allow more splits after one that found hits, and fewer after one that did not."""
        self._helpful_splits += found
        if not found:
            self._split_credit -= 2
        elif self._helpful_splits < self._workers:
            self._split_credit += 2


def _find_split(segment: Segment, scale: float) -> datetime | None:
    """Return the second at which to split: it leaves the worker its share, or half of what is left if that is less.

    :param scale: the size of a share, relative to the usual one.
    """
    cost = _split_cost(segment)
    if segment.hits_left < MIN_HITS_TO_SPLIT * cost:
        return None
    share = min(TARGET_SHARE * scale * cost / segment.hits_left, 0.5)
    moment = (segment.position + (segment.end - segment.position) * share).replace(microsecond=0) + timedelta(seconds=1)
    return moment if moment < segment.end else None


def _split_cost(segment: Segment) -> float:
    """Return how many hits are read twice because of a split, with the hits of the second before it."""
    return SPLIT_COST_HITS + segment.hits_per_second
