"""A search hit as ``SearchImageSets`` returns it, and its DICOM tags.

The shapes are those of ``ImageSetsMetadataSummary`` and ``DICOMTags`` in the AWS HealthImaging API reference.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NotRequired, TypedDict, get_type_hints

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.rendered import is_empty, reject_none_text
from airflow_provider_healthimaging.search.suggestions import unknown_name_error
from airflow_provider_healthimaging.search.validation import load_json


class DicomTags(TypedDict, total=False):
    """The DICOM tags of a search hit, in the order of the API reference. The service leaves out what it lacks."""

    DICOMPatientId: str
    DICOMPatientName: str
    DICOMPatientBirthDate: str
    DICOMPatientSex: str
    DICOMStudyInstanceUID: str
    DICOMStudyId: str
    DICOMStudyDescription: str
    DICOMNumberOfStudyRelatedSeries: int
    DICOMNumberOfStudyRelatedInstances: int
    DICOMAccessionNumber: str
    DICOMSeriesInstanceUID: str
    DICOMSeriesModality: str
    DICOMSeriesBodyPart: str
    DICOMSeriesNumber: int
    DICOMStudyDate: str
    DICOMStudyTime: str


class SearchHit(TypedDict):
    """One image set as boto3 returns it. The service promises ``imageSetId`` only."""

    imageSetId: str
    version: NotRequired[int]
    createdAt: NotRequired[datetime]
    updatedAt: NotRequired[datetime]
    lastAccessedAt: NotRequired[datetime]
    storageTier: NotRequired[str]
    isPrimary: NotRequired[bool]
    DICOMTags: NotRequired[DicomTags]


DICOM_TAGS: Mapping[str, type] = get_type_hints(DicomTags)
"""The name of each tag, and the Python type of its values."""

NOT_PATIENT_DATA = frozenset({"DICOMNumberOfStudyRelatedSeries", "DICOMNumberOfStudyRelatedInstances"})
"""The only tags that AWS's service model does not mark as sensitive."""


def parse_dicom_tags(dicom_tags: object) -> tuple[str, ...]:
    """Return the tags that ``dicom_tags`` asks for, in the order of the API reference.

    :param dicom_tags: names of tags, the JSON text of a list of them, ``"all"``, or ``None`` for none.
    :raises InvalidArgumentError: for a name that is not a tag of a search hit. The message does not repeat it, because
        a search value may stand in its place.
    """
    reject_none_text("dicom_tags", dicom_tags)
    if isinstance(dicom_tags, str) and dicom_tags.strip().startswith(("[", '"')):
        dicom_tags = load_json(dicom_tags)
    if is_empty(dicom_tags):
        return ()
    if dicom_tags == "all":
        return tuple(DICOM_TAGS)
    if isinstance(dicom_tags, str | Mapping) or not isinstance(dicom_tags, Collection):
        raise InvalidArgumentError(
            f"dicom_tags must be a list of tag names or 'all', not a {type(dicom_tags).__name__}. "
            f"Known tags: {', '.join(DICOM_TAGS)}."
        )
    wanted = list(dicom_tags)
    for tag in wanted:
        if tag not in tuple(DICOM_TAGS):
            raise unknown_name_error("DICOM tag", tag, DICOM_TAGS, private=True)
    return tuple(tag for tag in DICOM_TAGS if tag in wanted)


def get_field(hit: SearchHit, name: str) -> object:
    """Return a DICOM tag or another field of a search hit by its name, or ``None`` if it is missing."""
    fields: Mapping[str, object] = (hit.get("DICOMTags") or {}) if name in DICOM_TAGS else hit
    return fields.get(name)
