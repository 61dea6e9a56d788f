"""What arrived or changed lately in a data store, for all triggers that wait for image sets there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_healthimaging.search.criteria import filtered_attributes
from airflow_provider_healthimaging.search.decision import meets_criteria
from airflow_provider_healthimaging.search.image_set import DICOM_TAGS, SearchHit, get_field
from airflow_provider_healthimaging.search.pages import ScanStats
from airflow_provider_healthimaging.search.request import SearchRequest
from airflow_provider_healthimaging.window import TimeWindow

if TYPE_CHECKING:
    from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook

INDEX_LAG = timedelta(minutes=5)
"""How late the index may show a change. So much of what was searched is searched again."""

LONGEST_GAP = timedelta(hours=1)
"""How far back a look goes after looks that failed. Each trigger finds by itself what is older."""


REMEMBERED = timedelta(minutes=10)
"""How long a hit is remembered for triggers that poll seldom. Later, they ask for themselves."""


class _Seen(NamedTuple):
    position: int
    at: datetime
    hit: SearchHit


class RecentHits:
    """Searches by ``updatedAt``, without a filter, and remembers what it found lately."""

    def __init__(self, datastore_id: str, hook: Callable[[], HealthImagingHook]) -> None:
        """Remember nothing yet."""
        self.position = 0
        self._hook = hook
        self._request = SearchRequest.parse(datastore_id, time_field="updatedAt")
        self._complete_until: datetime | None = None
        self._seen: dict[str, _Seen] = {}
        self._forgotten = 0

    def look(self) -> int:
        """Search for what was updated since the last look, and return how many calls it took; this blocks."""
        now, stats = datetime.now(UTC), ScanStats()
        start = max((self._complete_until or now) - INDEX_LAG, now - LONGEST_GAP)
        found = list(self._hook().search(self._request.with_window(TimeWindow(start, now)), stats=stats))
        position, searched = self.position + 1, {hit["imageSetId"] for hit in found}
        for hit in found:
            known = self._seen.get(hit["imageSetId"])
            if known is None or known.hit != hit:
                self._seen[hit["imageSetId"]] = _Seen(position, now, hit)
        for image_set_id, seen in list(self._seen.items()):
            if image_set_id not in searched and seen.at < now - REMEMBERED:
                self._forgotten = max(self._forgotten, seen.position)
                del self._seen[image_set_id]
        self.position, self._complete_until = position, now
        return stats.calls

    def since(self, position: int | None) -> list[SearchHit] | None:
        """Return the hits that looks after ``position`` brought; with ``None``, all that are remembered.

        :return: ``None`` if some of them are forgotten.
        """
        if position is not None and position < self._forgotten:
            return None
        return [seen.hit for seen in self._seen.values() if seen.position > (position or 0)]


def may_be_found(hit: SearchHit, request: SearchRequest) -> bool:
    """Whether a search may find ``hit``. Only the service knows: see ``search/decision.py``.

    A tag that is missing in ``hit`` is taken as no match, because many image sets lack an accession number.
    """
    moment = hit.get(request.time_field) if request.window and request.time_field else None
    if moment and request.window and moment not in request.window:
        return False
    filtered = [name for name in filtered_attributes(request.search_criteria) if name in DICOM_TAGS]
    if any(get_field(hit, name) is None for name in filtered) or not request.matches(hit):
        return False
    return meets_criteria(hit, request.search_criteria) is not False
