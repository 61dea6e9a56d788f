"""One search hit, as the service gives it, and the JSON record made from it; nothing of Airflow or boto3.

Shapes are those of ``ImageSetsMetadataSummary`` in the AWS HealthImaging API reference.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.window import isoformat

Summary = Mapping[str, Any]
"""An image set as ``search_image_sets`` returns it: ``imageSetId``, ``version``, ``createdAt``, ..."""

Record = dict[str, Any]
"""An image set in JSON types only."""

DICOM_TAGS: Mapping[str, type] = {
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
"""The tags of a search hit and their types, in the order of the API reference."""

NEARLY = 0.65
"""How much of two names must be the same for one to be taken for the other (``difflib``'s ratio, up to 1)."""

SHORTEST = 6
"""Letters that are left of a tag's name without its prefixes, if it is to be known by them."""

_PREFIXES = (re.compile("^dicom"), re.compile("^dicom(series|study|patient)"))

NOT_PATIENT_DATA = frozenset({"DICOMNumberOfStudyRelatedSeries", "DICOMNumberOfStudyRelatedInstances"})
"""The only tags that AWS's service model does not mark ``sensitive``."""


def unknown_name(
    kind: str, name: object, known: Iterable[str], *, private: bool = False, example: str = ""
) -> InvalidArgumentError:
    """Make the error for a name that does not exist, with the nearest that does.

    :param private: whether a search value may stand where the name should; then it is not shown, be it nearly one:
        surnames are.
    :param example: how it is written, where the names alone do not say it.
    """
    names = sorted(known)
    near = nearest_name(name, names)
    hint = f"Did you mean {near!r}? " if near else ""
    shown = "" if private else f" {name!r}"
    return InvalidArgumentError(f"Unknown {kind}{shown}. {hint}Known: {', '.join(names)}.{example}")


def nearest_name(name: object, known: Iterable[str]) -> str | None:
    """Return the known name that ``name`` is nearly; the tags of DICOM have their names without ``DICOM`` there."""
    spelt = {spelling: each for each in known for spelling in _spellings(each)}
    written = str(name).lower()
    begun = sorted(each for each in spelt if len(written) >= SHORTEST and each.startswith(written))
    near = begun or difflib.get_close_matches(written, spelt, n=1, cutoff=NEARLY)
    return spelt[near[0]] if near else None


def _spellings(name: str) -> set[str]:
    letters = name.lower()
    return {letters, *(short for short in (p.sub("", letters) for p in _PREFIXES) if len(short) >= SHORTEST)}


def chosen_tags(dicom_tags: Iterable[str] | str | None) -> tuple[str, ...]:
    """Return the tags that ``dicom_tags`` asks for, in the order of the API reference.

    :param dicom_tags: names of tags, ``"all"``, or ``None`` for none.
    :raises InvalidArgumentError: for a name that is no tag of a search hit; it is not shown, since a filter's value may
        have slipped there.
    """
    if dicom_tags is None or dicom_tags == "":
        return ()
    if dicom_tags == "all":
        return tuple(DICOM_TAGS)
    if isinstance(dicom_tags, str | Mapping) or not isinstance(dicom_tags, Iterable):
        given, known = type(dicom_tags).__name__, ", ".join(DICOM_TAGS)
        raise InvalidArgumentError(
            f"dicom_tags must be a list of tag names or 'all', not a {given}. Known tags: {known}."
        )
    wanted = list(dicom_tags)
    for tag in wanted:
        if tag not in tuple(DICOM_TAGS):
            raise unknown_name("DICOM tag", tag, DICOM_TAGS, private=True)
    return tuple(tag for tag in DICOM_TAGS if tag in wanted)


def field(summary: Summary, name: str) -> Any:
    """Return a field of a hit by name, be it a DICOM tag or not; ``None`` if it is missing."""
    if name in DICOM_TAGS:
        return (summary.get("DICOMTags") or {}).get(name)
    return summary.get(name)


def _milliseconds(moment: datetime | None) -> str | None:
    return None if moment is None else isoformat(moment, timespec="milliseconds")


def to_record(summary: Summary, datastore_id: str, tags: Iterable[str] = ()) -> Record:
    """Return the hit as JSON types: ids, version, times in UTC with milliseconds, ``isPrimary``, and ``tags``.

    :param tags: DICOM tags to keep under ``DICOMTags``; one that is missing becomes ``None``. The key itself
        is left out where no tag is asked for.
    """
    record: Record = {
        "datastoreId": datastore_id,
        "imageSetId": summary["imageSetId"],
        "version": summary.get("version"),
        "createdAt": _milliseconds(summary.get("createdAt")),
        "updatedAt": _milliseconds(summary.get("updatedAt")),
        "isPrimary": summary.get("isPrimary"),
    }
    if tags:
        record["DICOMTags"] = {tag: field(summary, tag) for tag in tags}
    return record
