"""One version of an image set, with its DICOM tags, and the sort keys of a search.

This module does not know requests, search criteria or data stores. An ``ImageSet`` never changes. A new version is a
new object, so pages that were read before do not change.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

TagValue = str | int | None
Content = bytes | Path
"""A DICOM file: its bytes, or where it is on disk."""

_NATIVE_TRANSFER_SYNTAXES = {
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
}

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
class Instance:
    """One DICOM instance: its UIDs, and its file. Its image set knows its study and series.

    :param content: the file as it was imported. An instance that a test creates may have none.
    """

    sop_instance_uid: str
    transfer_syntax: str = "1.2.840.10008.1.2.1"
    content: Content = field(default=b"", repr=False)
    derived: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)
    """What was computed from the file, such as its stored pixels, so that it is computed once."""

    @property
    def is_encapsulated(self) -> bool:
        """Whether the pixel data are in fragments, as all compressed ones are (DICOM PS3.5, A.4)."""
        return self.transfer_syntax not in _NATIVE_TRANSFER_SYNTAXES

    def open(self) -> BinaryIO:
        """Open the file. The caller closes it."""
        return BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")


def by_uid(instances: Iterable[Instance]) -> dict[str, Instance]:
    """Return the instances by SOP instance UID, in the same order. The last one with a UID wins."""
    return {instance.sop_instance_uid: instance for instance in instances}


@dataclass(frozen=True, slots=True)
class ImageSet:
    """One version of one image set. Times are timezone-aware, and stored in UTC with microseconds.

    :param dicom_tags: members of ``DICOMTags``; a missing member is ``null`` in a response.
    :param instances: its instances by SOP instance UID, in the order of their first import.
    """

    image_set_id: str
    created_at: datetime
    updated_at: datetime
    version: int = 1
    is_primary: bool = True
    dicom_tags: Mapping[str, TagValue] = field(default_factory=dict)
    instances: Mapping[str, Instance] = field(default_factory=dict, repr=False)

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
        "createdAt": lambda image_set: image_set.created_at,
        "updatedAt": lambda image_set: image_set.updated_at,
        "DICOMStudyDateAndTime": lambda image_set: image_set.study_moment or NO_STUDY_DATE,
    }
)
