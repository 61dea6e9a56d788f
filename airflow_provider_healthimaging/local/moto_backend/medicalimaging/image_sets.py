"""Image sets, and the image sets of a data store in the sort orders of a search.

This module does not know requests or search criteria. An ``ImageSet`` never changes. A new version is a new object,
so that pages that were read before do not change.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import heappop, heappush
from itertools import count
from operator import itemgetter
from types import MappingProxyType

from .exceptions import ResourceNotFoundError

TagValue = str | int | None

# DICOMTags in the API Reference, and the type of each member.
TAG_TYPES: Mapping[str, type] = MappingProxyType(
    {
        "DICOMPatientId": str,
        "DICOMPatientName": str,
        "DICOMPatientBirthDate": str,
        "DICOMPatientSex": str,
        "DICOMStudyInstanceUID": str,
        "DICOMStudyId": str,
        "DICOMStudyDescription": str,
        "DICOMNumberOfStudyRelatedSeries": int,
        "DICOMNumberOfStudyRelatedInstances": int,
        "DICOMAccessionNumber": str,
        "DICOMSeriesInstanceUID": str,
        "DICOMSeriesModality": str,
        "DICOMSeriesBodyPart": str,
        "DICOMSeriesNumber": int,
        "DICOMStudyDate": str,
        "DICOMStudyTime": str,
    }
)

# The sort key of an image set without a valid study date. AWS does not document its position.
NO_STUDY_DATE = datetime.min.replace(tzinfo=UTC)


def parse_study_moment(date: str, time: str | None = None) -> datetime:
    """Return a study's date and time in UTC, only to compare them: DICOM gives no time zone.

    :param date: ``YYYYMMDD``, or ``yyMMdd`` as the API Reference has it (69 and later are 19xx).
    :param time: ``HH``, ``HHMM``, ``HHMMSS`` or ``HHMMSS.ffffff``; if it is missing, midnight.
    :raises ValueError: for anything else.
    """
    clock, _, fraction = (time or "00").partition(".")
    digits = date + clock + fraction
    if len(date) not in {6, 8} or len(clock) not in {2, 4, 6} or not (digits.isascii() and digits.isdigit()):
        raise ValueError("not a study date and time")
    if len(date) == len("yyMMdd"):
        date = ("19" if date >= "69" else "20") + date
    hour, minute, second = (int(f"{clock:0<6}"[place : place + 2]) for place in (0, 2, 4))
    microsecond = int(f"{fraction:0<6}"[:6])
    return datetime(int(date[:4]), int(date[4:6]), int(date[6:]), hour, minute, second, microsecond, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ImageSet:
    """One version of one image set. Times are timezone-aware, and stored in UTC with microseconds.

    :param dicom_tags: members of ``DICOMTags``; a missing member is ``null`` in a response.
    :param sop_instance_uids: the UIDs of its instances, if they are known.
    """

    image_set_id: str
    created_at: datetime
    updated_at: datetime
    version: int = 1
    is_primary: bool = True
    dicom_tags: Mapping[str, TagValue] = field(default_factory=dict)
    sop_instance_uids: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Raise for naive times, unknown tags, and tags of the wrong type."""
        for name in ("created_at", "updated_at"):
            moment = getattr(self, name)
            if moment.tzinfo is None:
                raise ValueError(f"{name} must be an aware datetime")
            object.__setattr__(self, name, moment.astimezone(UTC))
        for name, value in self.dicom_tags.items():
            if name not in TAG_TYPES:
                raise ValueError(f"{name!r} is not one of DICOMTags")
            if value is not None and type(value) is not TAG_TYPES[name]:
                raise TypeError(f"{name} must be {TAG_TYPES[name].__name__} or None")

    @property
    def study_moment(self) -> datetime | None:
        """Study date and time, or ``None`` without a valid date."""
        date, time = self.dicom_tags.get("DICOMStudyDate"), self.dicom_tags.get("DICOMStudyTime")
        try:
            return parse_study_moment(str(date or ""), str(time or ""))
        except ValueError:
            return None


SORT_KEYS: Mapping[str, Callable[[ImageSet], datetime]] = MappingProxyType(
    {
        "createdAt": lambda row: row.created_at,
        "updatedAt": lambda row: row.updated_at,
        "DICOMStudyDateAndTime": lambda row: row.study_moment or NO_STUDY_DATE,
    }
)

_position = itemgetter(0, 1)


class SortedIndex:
    """Image sets sorted by one key, and by id for equal keys. Single changes and adding many at once are fast."""

    # For fewer new rows than this, inserting each is faster than sorting again.
    _FEW = 100

    def __init__(self, key: Callable[[ImageSet], datetime]) -> None:
        """Sort by ``key``. The key of a row must not change."""
        self._key = key
        self._entries: list[tuple[datetime, str, ImageSet]] = []
        self._new: list[tuple[datetime, str, ImageSet]] = []

    def add(self, row: ImageSet) -> None:
        """Add ``row``. It is sorted in when the order is needed."""
        self._new.append((self._key(row), row.image_set_id, row))

    def remove(self, row: ImageSet) -> None:
        """Remove ``row``, which must be present."""
        entries = self._settled()
        del entries[bisect_left(entries, (self._key(row), row.image_set_id), key=_position)]

    def walk(
        self, lower: datetime, upper: datetime, *, after: tuple[datetime, str] | None, descending: bool
    ) -> Iterator[ImageSet]:
        """Yield the rows with ``lower <= key <= upper`` in order, after the position ``after``."""
        entries = self._settled()
        low = bisect_left(entries, lower, key=itemgetter(0))
        high = bisect_right(entries, upper, key=itemgetter(0))
        if after and descending:
            high = min(high, bisect_left(entries, after, key=_position))
        elif after:
            low = max(low, bisect_right(entries, after, key=_position))
        places = range(high - 1, low - 1, -1) if descending else range(low, high)
        return (entries[place][2] for place in places)

    def _settled(self) -> list[tuple[datetime, str, ImageSet]]:
        if len(self._new) < self._FEW:
            for entry in self._new:
                insort(self._entries, entry, key=_position)
        else:
            self._entries += self._new
            self._entries.sort(key=_position)
        self._new.clear()
        return self._entries


class ImageSetStore:
    """The image sets of one data store, with all versions. Not thread-safe: the caller must hold a lock.

    A search may see older versions: ``_lagging`` has the version that searches see of image sets with a newer one.
    """

    def __init__(self) -> None:
        """Create an empty store."""
        self._versions: dict[str, list[ImageSet]] = {}
        self._indexes: dict[str, SortedIndex] = {}
        self._lagging: dict[str, ImageSet | None] = {}
        self._visible_at: list[tuple[float, int, ImageSet]] = []
        self._numbers = count()

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

    def put(self, row: ImageSet, due: float | None = None) -> None:
        """Make ``row`` the current version. Versions with the same or a higher number are removed.

        :param due: when searches see it, on the clock of ``publish_due``; ``None`` for at once.
        """
        seen = self._visible_version(row.image_set_id)
        versions = self._versions.get(row.image_set_id, [])
        self._versions[row.image_set_id] = [old for old in versions if old.version < row.version] + [row]
        if due is None:
            self._lagging.pop(row.image_set_id, None)
            self._reindex(row, seen)
        else:
            self._lagging[row.image_set_id] = seen
            heappush(self._visible_at, (due, next(self._numbers), row))

    def publish_due(self, now: float) -> None:
        """Make the versions visible to searches that are due at ``now``."""
        while self._visible_at and self._visible_at[0][0] <= now:
            row = heappop(self._visible_at)[2]
            if row.image_set_id not in self._lagging or row not in self._versions[row.image_set_id]:
                continue
            seen = self._visible_version(row.image_set_id)
            if seen and seen.version > row.version:
                continue
            self._reindex(row, seen)
            self._lagging[row.image_set_id] = row
            if row is self._versions[row.image_set_id][-1]:
                del self._lagging[row.image_set_id]

    def remove(self, image_set_id: str) -> None:
        """Remove an image set and its versions."""
        self.versions(image_set_id)
        self._reindex(None, self._visible_version(image_set_id))
        del self._versions[image_set_id]
        self._lagging.pop(image_set_id, None)

    def ordered_by(self, sort_field: str) -> SortedIndex:
        """Return the index for a ``SortField``. It is built at first use."""
        if sort_field not in self._indexes:
            index = self._indexes[sort_field] = SortedIndex(SORT_KEYS[sort_field])
            for row in filter(None, map(self._visible_version, self._versions)):
                index.add(row)
        return self._indexes[sort_field]

    def _visible_version(self, image_set_id: str) -> ImageSet | None:
        if image_set_id in self._lagging:
            return self._lagging[image_set_id]
        return self._versions.get(image_set_id, [None])[-1]

    def _reindex(self, row: ImageSet | None, instead_of: ImageSet | None) -> None:
        for index in self._indexes.values():
            if instead_of:
                index.remove(instead_of)
            if row:
                index.add(row)
