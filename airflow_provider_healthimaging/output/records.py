"""The record: the JSON object that tasks hand on for one image set. Its columns stand here and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Literal, NotRequired, TypedDict, cast

from airflow_provider_healthimaging.search.image_set import DICOM_TAGS, SearchHit, get_field
from airflow_provider_healthimaging.search.pages import Log
from airflow_provider_healthimaging.search.rendered import is_unicode
from airflow_provider_healthimaging.window import format_utc

REPLACEMENT_CHARACTER = "\ufffd"
"""What Unicode has for a character that could not be read."""

_SURROGATE = re.compile("[\ud800-\udfff]")
"""Halves of characters. Alone, they are no text, and cannot be encoded."""

ColumnType = Literal["string", "integer", "timestamp", "boolean"]


class Record(TypedDict):
    """One image set in JSON types only. Times are ISO 8601 text in UTC with milliseconds.

    ``DICOMTags`` is there only where tags were asked for; a tag that the image set lacks is ``None``.
    """

    datastoreId: str
    imageSetId: str
    version: int | None
    createdAt: str | None
    updatedAt: str | None
    isPrimary: bool | None
    DICOMTags: NotRequired[dict[str, str | int | None]]


COLUMNS: Mapping[str, ColumnType] = {
    "datastoreId": "string",
    "imageSetId": "string",
    "version": "integer",
    "createdAt": "timestamp",
    "updatedAt": "timestamp",
    "isPrimary": "boolean",
}
"""The columns of a record without ``DICOMTags``, in order."""

_TAG_TYPES: Mapping[type, ColumnType] = {str: "string", int: "integer"}


def tag_column_type(tag: str) -> ColumnType:
    """Return the type of a DICOM tag's column."""
    return _TAG_TYPES[DICOM_TAGS[tag]]


def to_records(hits: Iterable[SearchHit], datastore_id: str, tags: tuple[str, ...], log: Log) -> Iterator[Record]:
    """Yield the record of each search hit. A text that is no Unicode is repaired, and the log says how many were.

    :param tags: the DICOM tags to keep under ``DICOMTags``.
    """
    repaired = 0
    for hit in hits:
        record = to_record(hit, datastore_id, tags)
        kept = record.get("DICOMTags", {})
        for tag, value in kept.items():
            if isinstance(value, str) and not is_unicode(value):
                kept[tag] = _SURROGATE.sub(REPLACEMENT_CHARACTER, value)
                repaired += 1
        yield record
    if repaired:
        log.warning(
            "%s DICOM tags had characters that are no Unicode text, probably from a wrong character set. Each of these "
            "characters was replaced by U+FFFD.",
            repaired,
        )


def to_record(hit: SearchHit, datastore_id: str, tags: Iterable[str] = ()) -> Record:
    """Return the record of a search hit.

    :param tags: the DICOM tags to keep under ``DICOMTags``.
    """
    record: Record = {
        "datastoreId": datastore_id,
        "imageSetId": hit["imageSetId"],
        "version": hit.get("version"),
        "createdAt": _to_milliseconds(hit.get("createdAt")),
        "updatedAt": _to_milliseconds(hit.get("updatedAt")),
        "isPrimary": hit.get("isPrimary"),
    }
    if tags:
        record["DICOMTags"] = {tag: cast("str | int | None", get_field(hit, tag)) for tag in tags}
    return record


def _to_milliseconds(moment: datetime | None) -> str | None:
    return None if moment is None else format_utc(moment, timespec="milliseconds")
