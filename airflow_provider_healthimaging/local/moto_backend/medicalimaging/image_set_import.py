"""Imports files into a data store: makes image sets and versions, and counts the series and instances of a study."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from .dicom_file import DicomFile
from .image_sets import ImageSet
from .organizer import ImageSetChange, organize, study_key

if TYPE_CHECKING:
    from .models import MedicalImagingBackend


def import_files(
    backend: "MedicalImagingBackend", datastore_id: str, files: Sequence[DicomFile], now: datetime
) -> list[ImageSet]:
    """Import files, and return for each file the version of the image set that contains it now.

    An image set that gets files, new or known, gets one new version for each call. The two counts of a study are
    updated on all its image sets, without a new version. The caller holds the lock of the backend.

    :param now: ``createdAt`` of new image sets, and ``updatedAt`` of changed ones.
    """
    changes = organize(files, backend.image_sets(datastore_id))
    stored: dict[int, ImageSet] = {}
    for change in changes:
        if id(change) not in stored:
            stored[id(change)] = _store(backend, datastore_id, change, now)
    _update_study_counts(backend, datastore_id, {study_key(file.tags) for file in files})
    return [stored[id(change)] for change in changes]


def _store(backend: "MedicalImagingBackend", datastore_id: str, change: ImageSetChange, now: datetime) -> ImageSet:
    if change.base:
        return backend.update_image_set(
            datastore_id,
            change.base.image_set_id,
            updated_at=now,
            dicom_tags=change.tags,
            instances=change.instances.values(),
        )
    return backend.put_image_set(
        datastore_id,
        created_at=now,
        is_primary=change.is_primary,
        dicom_tags=change.tags,
        instances=change.instances.values(),
    )


def _update_study_counts(backend: "MedicalImagingBackend", datastore_id: str, studies: Iterable[str]) -> None:
    wanted = set(studies)
    by_study: dict[str, list[ImageSet]] = defaultdict(list)
    for image_set in backend.image_sets(datastore_id):
        if study_key(image_set.dicom_tags) in wanted:
            by_study[study_key(image_set.dicom_tags)].append(image_set)
    for of_study in by_study.values():
        primary = [image_set for image_set in of_study if image_set.is_primary]
        counts = {
            "DICOMNumberOfStudyRelatedSeries": len(primary),
            "DICOMNumberOfStudyRelatedInstances": sum(len(image_set.instances) for image_set in primary),
        }
        for image_set in of_study:
            amended = replace(image_set, dicom_tags={**image_set.dicom_tags, **counts})
            backend.require_active(datastore_id).image_sets.amend(amended)
