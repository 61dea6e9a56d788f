"""The image sets of one data store: all versions, in the sort orders of a search, and with the lag of the index.

This module does not know requests or search criteria.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from datetime import datetime
from heapq import heapify, heappop, heappush
from itertools import count
from operator import itemgetter

from .exceptions import ResourceNotFoundError
from .image_sets import SORT_KEYS, ImageSet

_sort_position = itemgetter(0, 1)


class SortedIndex:
    """Image sets sorted by one key, and by id for equal keys. Single changes and adding many at once are fast."""

    # For fewer new image sets than this, inserting each of them is faster than sorting again.
    _MAX_INSERTS = 100

    def __init__(self, key: Callable[[ImageSet], datetime]) -> None:
        """Sort by ``key``. The key of an image set must not change."""
        self._key = key
        self._entries: list[tuple[datetime, str, ImageSet]] = []
        self._new: list[tuple[datetime, str, ImageSet]] = []

    def add(self, image_set: ImageSet) -> None:
        """Add ``image_set``. It gets its position when the order is needed."""
        self._new.append((self._key(image_set), image_set.image_set_id, image_set))

    def remove(self, image_set: ImageSet) -> None:
        """Remove ``image_set``, which must be present."""
        entries = self._sorted_entries()
        del entries[bisect_left(entries, (self._key(image_set), image_set.image_set_id), key=_sort_position)]

    def walk(
        self, lower: datetime, upper: datetime, *, after: tuple[datetime, str] | None, descending: bool
    ) -> Iterator[ImageSet]:
        """Yield the image sets with ``lower <= key <= upper`` in order, after the position ``after``."""
        entries = self._sorted_entries()
        low = bisect_left(entries, lower, key=itemgetter(0))
        high = bisect_right(entries, upper, key=itemgetter(0))
        if after and descending:
            high = min(high, bisect_left(entries, after, key=_sort_position))
        elif after:
            low = max(low, bisect_right(entries, after, key=_sort_position))
        indices = range(high - 1, low - 1, -1) if descending else range(low, high)
        return (entries[index][2] for index in indices)

    def _sorted_entries(self) -> list[tuple[datetime, str, ImageSet]]:
        if len(self._new) < self._MAX_INSERTS:
            for entry in self._new:
                insort(self._entries, entry, key=_sort_position)
        else:
            self._entries += self._new
            self._entries.sort(key=_sort_position)
        self._new.clear()
        return self._entries


class ImageSetStore:
    """The image sets of one data store, with all versions. Not thread-safe: the caller must hold a lock.

    If the index lags, searches see older versions. ``_lagging`` contains the image sets whose newest version is not
    visible yet, each with the version that searches see, or ``None``. ``_pending`` contains the newer versions.
    """

    def __init__(self) -> None:
        """Create an empty store."""
        self._versions: dict[str, list[ImageSet]] = {}
        self._indexes: dict[str, SortedIndex] = {}
        self._lagging: dict[str, ImageSet | None] = {}
        self._pending: list[tuple[float, int, str, int]] = []
        self._tie_breakers = count()

    def __len__(self) -> int:
        return len(self._versions)

    def __iter__(self) -> Iterator[ImageSet]:
        return (versions[-1] for versions in self._versions.values())

    def versions(self, image_set_id: str) -> list[ImageSet]:
        """Return all versions, oldest first."""
        try:
            return self._versions[image_set_id]
        except KeyError:
            raise ResourceNotFoundError(f"Image set {image_set_id} was not found") from None

    def put(self, image_set: ImageSet, visible_at: float | None = None) -> None:
        """Make ``image_set`` the current version. Versions with the same or a higher number are removed.

        :param visible_at: when searches see it, in seconds of the clock of ``publish_due``; ``None``: at once.
        """
        image_set_id = image_set.image_set_id
        visible = self._visible_version(image_set_id)
        known = self._versions.get(image_set_id, [])
        older = [each for each in known if each.version < image_set.version]
        if len(older) < len(known):
            self._forget_pending(image_set_id, image_set.version)
        self._versions[image_set_id] = [*older, image_set]
        if visible_at is None:
            self._lagging.pop(image_set_id, None)
            self._reindex(image_set, visible)
        else:
            self._lagging[image_set_id] = visible
            heappush(self._pending, (visible_at, next(self._tie_breakers), image_set_id, image_set.version))

    def amend(self, image_set: ImageSet) -> None:
        """Put ``image_set`` in the place of the current version, which differs from it in the counts of its study only.

        Searches see it when they see that version.
        """
        *older, current = self.versions(image_set.image_set_id)
        is_visible = self._visible_version(image_set.image_set_id) is current
        self._versions[image_set.image_set_id] = [*older, image_set]
        if is_visible:
            self._reindex(image_set, current)

    def publish_due(self, now: float) -> None:
        """Make the versions visible to searches whose time has come at ``now``, in seconds."""
        while self._pending and self._pending[0][0] <= now:
            _, _, image_set_id, version = heappop(self._pending)
            image_set = next((each for each in self._versions[image_set_id] if each.version == version), None)
            visible = self._visible_version(image_set_id)
            if image_set_id not in self._lagging or not image_set or (visible and visible.version > version):
                continue
            self._reindex(image_set, visible)
            self._lagging[image_set_id] = image_set
            if image_set is self._versions[image_set_id][-1]:
                del self._lagging[image_set_id]

    def remove(self, image_set_id: str) -> None:
        """Remove an image set and its versions."""
        self.versions(image_set_id)
        self._reindex(None, self._visible_version(image_set_id))
        del self._versions[image_set_id]
        self._lagging.pop(image_set_id, None)
        self._forget_pending(image_set_id, first=0)

    def ordered_by(self, sort_field: str) -> SortedIndex:
        """Return the index for a ``SortField``. It is built at first use."""
        if sort_field not in self._indexes:
            index = self._indexes[sort_field] = SortedIndex(SORT_KEYS[sort_field])
            for image_set in filter(None, map(self._visible_version, self._versions)):
                index.add(image_set)
        return self._indexes[sort_field]

    def _forget_pending(self, image_set_id: str, first: int) -> None:
        self._pending = [each for each in self._pending if each[2] != image_set_id or each[3] < first]
        heapify(self._pending)

    def _visible_version(self, image_set_id: str) -> ImageSet | None:
        if image_set_id in self._lagging:
            return self._lagging[image_set_id]
        return self._versions.get(image_set_id, [None])[-1]

    def _reindex(self, new: ImageSet | None, old: ImageSet | None) -> None:
        for index in self._indexes.values():
            if old:
                index.remove(old)
            if new:
                index.add(new)
