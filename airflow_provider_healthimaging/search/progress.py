"""How far a long reading is, told in the log; it knows pages and nothing of where they come from."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_healthimaging.search.pages import Page, ScanStats
    from airflow_provider_healthimaging.window import TimeWindow

PROGRESS_EVERY = 10.0
"""Seconds between two lines of progress in the log."""


def with_progress(pages: Iterable[Page], window: TimeWindow | None, stats: ScanStats, log: Any) -> Iterator[Page]:
    """Pass pages on, and say every ten seconds how far the reading is.

    :param stats: what has been read, kept up to date by whoever takes the pages.
    """
    started = said = time.monotonic()
    for page in pages:
        yield page
        now = time.monotonic()
        if now - said >= PROGRESS_EVERY:
            said = now
            read, calls = stats.read + page.rows_ahead, stats.calls + page.calls_ahead
            unread = None if window is None or page.left is None else page.left / (window.whole_end() - window.start)
            part = "" if unread is None else f", {1 - unread:.0%} of the window"
            rate = read / (now - started)
            log.info("Read %s image sets in %s calls%s; %.0f image sets/s.", f"{read:,}", f"{calls:,}", part, rate)
