"""A stretch of a window that one worker reads, page by page.

A segment ends on a whole second, because the service may sort and compare by whole seconds only (see
:meth:`~airflow_provider_healthimaging.window.TimeWindow.query_bounds`). Where a segment was split, a hit at or after
its end shows that no hit of this segment follows. At the window's own end, only the service's last page shows that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from airflow_provider_healthimaging.exceptions import HealthImagingError, RejectedRequestError, ServiceError
from airflow_provider_healthimaging.search.image_set import SearchHit
from airflow_provider_healthimaging.search.pages import Page, check_sorted, hit_timestamp
from airflow_provider_healthimaging.window import TimeWindow

Fetch = Callable[[TimeWindow, str | None], Page]
"""Fetches a page of a window, oldest first; with a token, the page that follows."""

MAX_RESTARTS_WITHOUT_PROGRESS = 10
"""How many restarts in a row may bring no new hit, as many as botocore's attempts at one call."""

DENSITY_DECAY = 0.9
"""The weight of earlier pages in the measured density, for each page that follows."""

Version = tuple[str, int | None]


class Segment:
    """Reads ``window``, or the part of it that :meth:`split_at` leaves.

    :param sort_field: the timestamp that the hits are sorted by.
    """

    def __init__(self, window: TimeWindow, sort_field: str, *, is_continuation: bool = False) -> None:
        """Start at the window's start.

        :param is_continuation: whether hits may lie right before the start, as they do where a segment was split.
        """
        self.end = window.end_ceiling()
        self.position = window.start
        self.done = False
        self.hits_per_second = 0.0
        self._hits = self._seconds = 0.0
        self._query_window = window
        self._start = window.start
        self._sort_field = sort_field
        self._is_continuation = is_continuation
        self._is_split = False
        self._token: str | None = None
        self._last_second_read: datetime | None = None
        self._versions_of_last_second: list[Version] = []
        self._already_emitted: frozenset[Version] = frozenset()
        self._restarts_without_progress = 0

    @property
    def hits_left(self) -> float:
        """How many hits are unread, estimated from the density of the latest pages."""
        return self.hits_per_second * self.remaining.total_seconds()

    @property
    def remaining(self) -> timedelta:
        """How much time of it is unread."""
        return timedelta(0) if self.done else self.end - self.position

    def fetch(self, fetch: Fetch) -> Page:
        """Fetch the next page.

        If the service rejects a page token, the search restarts at the last second read.

        :raises ServiceError: if ten restarts in a row brought no new hit.
        """
        try:
            return self._require_new_token(fetch(self._query_window, self._token))
        except RejectedRequestError as error:
            if self._token is None:
                raise
            code = error.code
        if self._last_second_read and self._last_second_read >= self.end:
            return Page([])
        if self._restarts_without_progress == MAX_RESTARTS_WITHOUT_PROGRESS:
            raise tokens_rejected_error(code)
        self._restart()
        page = self._require_new_token(fetch(self._query_window, None))
        return replace(page, calls=page.calls + 1)

    def accept(self, page: Page) -> Page:
        """Move on behind ``page``, and return it without the hits that are not new, or not of this segment.

        :raises HealthImagingError: if its hits are not sorted.
        """
        moments = [hit_timestamp(hit, self._sort_field) for hit in page.hits]
        self._last_second_read = check_sorted(page.hits, self._sort_field, self._last_second_read)
        self._token = page.next_token
        reached_end = self._last_second_read is not None and self._last_second_read >= self.end
        self.done = page.next_token is None or (self._is_split and reached_end)
        new = [
            hit
            for hit, moment in zip(page.hits, moments, strict=True)
            if self._start <= moment < self.end and _version(hit) not in self._already_emitted
        ]
        if new:
            self._advance(new)
        return replace(page, hits=new)

    def split_at(self, moment: datetime) -> Segment:
        """Keep what lies before ``moment``, a whole second, and return the segment that starts there."""
        rest = Segment(TimeWindow(moment, self.end), self._sort_field, is_continuation=True)
        rest.hits_per_second = self.hits_per_second
        rest._is_split, self._is_split = self._is_split, True
        self.end = moment
        return rest

    def _advance(self, hits: list[SearchHit]) -> None:
        first, last = (hit_timestamp(hits[i], self._sort_field) for i in (0, -1))
        second = last.replace(microsecond=0)
        kept = self._versions_of_last_second if self.position >= second else []
        of_second = [_version(hit) for hit in hits if hit_timestamp(hit, self._sort_field) >= second]
        self._versions_of_last_second = kept + of_second
        density_known = self._hits or self._is_continuation
        self._update_density(len(hits), last - (self.position if density_known else first))
        self.position = max(self.position, last)
        self._restarts_without_progress = 0

    def _update_density(self, hits: int, span: timedelta) -> None:
        self._hits = self._hits * DENSITY_DECAY + hits
        self._seconds = self._seconds * DENSITY_DECAY + max(span, timedelta(0)).total_seconds()
        self.hits_per_second = self._hits / max(self._seconds, 1.0)

    def _restart(self) -> None:
        second = self.position.replace(microsecond=0)
        self._query_window = TimeWindow(second, self.end)
        self._start = max(self._start, second)
        self._already_emitted = frozenset(self._versions_of_last_second)
        self._token = self._last_second_read = None
        self._restarts_without_progress += 1

    def _require_new_token(self, page: Page) -> Page:
        if page.next_token is not None and page.next_token == self._token:
            raise HealthImagingError(
                "HealthImaging returned the same page token twice, so the search would never end. Report this to AWS."
            )
        return page


def tokens_rejected_error(code: str) -> ServiceError:
    """Return the error for a search that cannot be read to its end, because its page tokens are rejected."""
    return ServiceError(
        f"HealthImaging answered {code} to page tokens that it had just returned, so the result would be incomplete. "
        "They may have expired. Retry. If the error stays, search shorter windows, and report it to AWS.",
        code=code,
    )


def _version(hit: SearchHit) -> Version:
    return hit["imageSetId"], hit.get("version")
