"""One span of a window, read page by page by one reader; told how to fetch, it knows no boto3 and no threads.

A segment ends on a whole second, as what the service sorts and compares by may be no finer (see
:meth:`~airflow_provider_healthimaging.window.TimeWindow.server_bounds`). So where another segment was cut off, a row at
or after the end means that nothing of this one can follow; the window's own end is where the service has nothing more.
A page may begin with rows of the one before; else what goes back by a second is not sorted.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_healthimaging.exceptions import HealthImagingError, RejectedRequestError, ServiceError
from airflow_provider_healthimaging.search.image_set import Summary
from airflow_provider_healthimaging.search.pages import Page, not_sorted, timestamp
from airflow_provider_healthimaging.window import TimeWindow

Fetch = Callable[[TimeWindow, str | None], Page]
"""Asks the service for a page of a window, oldest first; with a token, for the page that follows."""

NEW_SEARCHES = 10
"""How many searches in a row may begin again and gain nothing, as botocore's attempts at one call."""

MEMORY = 0.9
"""What a page counts for, in judging how dense rows lie, by the time the next one has come."""


class Segment:
    """Reads ``window``, or the part of it that :meth:`cut_at` leaves.

    :param order: the timestamp that rows are sorted by.
    """

    def __init__(self, window: TimeWindow, order: str, *, is_rest: bool = False) -> None:
        """Begin at the window's start.

        :param is_rest: whether it begins where another was cut, and not where rows may begin late.
        """
        self.end = window.whole_end()
        self.reached = window.start
        self.done = False
        self.rows_per_second = 0.0
        self._rows = self._seconds = 0.0
        self._asked = window
        self._first = window.start
        self._order = order
        self._is_rest = is_rest
        self._token: str | None = None
        self._is_cut = False
        self._read_to: datetime | None = None
        self._page_before: frozenset[tuple[str, Any]] = frozenset()
        self._last_second: list[tuple[str, Any]] = []
        self._given_before: frozenset[tuple[str, Any]] = frozenset()
        self._begun_in_vain = 0

    @property
    def rows_left(self) -> float:
        """How many rows are still to come, by the latest page's measure."""
        return self.rows_per_second * self.left.total_seconds()

    @property
    def left(self) -> timedelta:
        """How much time of it is unread."""
        return timedelta(0) if self.done else self.end - self.reached

    def fetch(self, fetch: Fetch) -> Page:
        """Ask for the next page.

        A token that the service takes no more is given up for a new search from the last second read; if that one is
        behind the end, nothing was to come but what a service that does not sort might have kept.

        :raises ServiceError: when that was done ten times in a row and nothing gained.
        """
        try:
            return self._checked(fetch(self._asked, self._token))
        except RejectedRequestError as error:
            if self._token is None:
                raise
            code = error.code
        if self._read_to and self._read_to >= self.end:
            return Page([])
        if self._begun_in_vain == NEW_SEARCHES:
            raise tokens_refused(code)
        self._begin_again()
        page = self._checked(fetch(self._asked, None))
        return replace(page, calls=page.calls + 1)

    def take(self, page: Page) -> Page:
        """Go on behind ``page``, and return it without the rows that are not this segment's to give.

        :raises HealthImagingError: for what is not sorted, since nobody knows then what is still to come.
        """
        fresh = [row for row in page.rows if _version(row) not in self._page_before]
        moments = [timestamp(row, self._order, self._asked) for row in fresh]
        if not _is_sorted(moments):
            return self.take(self._put_in_order(page))
        if moments:
            if self._read_to and moments[0] < self._read_to:
                raise not_sorted(self._order)
            self._read_to = moments[-1].replace(microsecond=0)
        self._page_before = frozenset(map(_version, page.rows))
        self._token = page.next_token
        self.done = page.next_token is None or (self._is_cut and any(moment >= self.end for moment in moments[-1:]))
        rows = [
            row
            for row, moment in zip(fresh, moments, strict=True)
            if self._first <= moment < self.end and _version(row) not in self._given_before
        ]
        if rows:
            self._advance(rows)
        return replace(page, rows=rows)

    def cut_at(self, moment: datetime) -> Segment:
        """Leave what lies at or after ``moment``, a whole second, to the segment returned."""
        rest = Segment(TimeWindow(moment, self.end), self._order, is_rest=True)
        rest.rows_per_second = self.rows_per_second
        rest._is_cut, self._is_cut = self._is_cut, True
        self.end = moment
        return rest

    def _advance(self, rows: list[Summary]) -> None:
        last: datetime = rows[-1][self._order]
        second = last.replace(microsecond=0)
        kept = self._last_second if self.reached >= second else []
        self._last_second = kept + [_version(row) for row in rows if row[self._order] >= second]
        self._judge(len(rows), last - (self.reached if self._rows or self._is_rest else rows[0][self._order]))
        self.reached = max(self.reached, last)
        self._begun_in_vain = 0

    def _judge(self, rows: int, span: timedelta) -> None:
        self._rows = self._rows * MEMORY + rows
        self._seconds = self._seconds * MEMORY + max(span, timedelta(0)).total_seconds()
        self.rows_per_second = self._rows / max(self._seconds, 1.0)

    def _put_in_order(self, page: Page) -> Page:
        """Return ``page`` with its rows in order, if it is the only one; of others, nobody knows what is to come."""
        if self._read_to or page.next_token:
            raise not_sorted(self._order)
        return replace(page, rows=sorted(page.rows, key=lambda row: row[self._order]))

    def _begin_again(self) -> None:
        second = self.reached.replace(microsecond=0)
        self._asked = TimeWindow(second, self.end)
        self._first = max(self._first, second)
        self._given_before = frozenset(self._last_second)
        self._token = self._read_to = None
        self._begun_in_vain += 1

    def _checked(self, page: Page) -> Page:
        if page.next_token is not None and page.next_token == self._token:
            raise HealthImagingError(
                "The service gave the same page token twice, so the result would have no end. Report this to AWS."
            )
        return page


def tokens_refused(code: str) -> ServiceError:
    """Return the error for a result that cannot be read to its end, though its beginning could."""
    return ServiceError(
        f"HealthImaging answered {code} to page tokens that it had just given, so the result would not be complete. "
        "They may have expired: retry; if it stays so, search shorter windows and report it to AWS.",
        code=code,
    )


def _is_sorted(moments: list[datetime]) -> bool:
    """Whether no moment is in an earlier second than one before it; a service may sort no finer."""
    if all(map(operator.le, moments, moments[1:])):
        return True
    seconds = [moment.replace(microsecond=0) for moment in moments]
    return seconds == sorted(seconds)


def _version(row: Summary) -> tuple[str, Any]:
    return row["imageSetId"], row.get("version")
