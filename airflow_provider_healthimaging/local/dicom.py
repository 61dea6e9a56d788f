"""Loads DICOM files into a data store, as an import job does: one image set for each series.

The files may hold patient data, so nothing of their content goes into a log, an error or the report. They may also be
made to do harm: ``untrusted_files`` decides which are opened, and how much of each is read.
"""

import logging
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .dicom_file import read_file
from .untrusted_files import UnusableFileError, iter_files

if TYPE_CHECKING:
    from .moto_backend.medicalimaging.image_sets import ImageSet, TagValue
    from .moto_backend.medicalimaging.models import MedicalImagingBackend


@dataclass(frozen=True)
class LoadReport:
    """The result of a load.

    :param created: ids of new image sets.
    :param updated: ids of image sets that got a new version.
    :param files_read: how many files held an instance, new or known.
    :param skipped: the other files, each with the reason.
    """

    created: tuple[str, ...]
    updated: tuple[str, ...]
    files_read: int
    skipped: tuple[tuple[Path, str], ...]


@dataclass
class _Series:
    tags: dict[str, "TagValue"] = field(default_factory=dict)
    instances: set[str] = field(default_factory=set)


def load_dicom(
    paths: Iterable[Path | str],
    datastore_id: str,
    *,
    backend: "MedicalImagingBackend",
    created_at: datetime | None = None,
) -> LoadReport:
    """Import files, and folders with all that is in them, into a data store.

    A new series becomes an image set. New instances of a known series raise its version and ``updatedAt`` once for each
    call. Instances that are there already change nothing. A tag is the first value that a file of the series has for
    it. The two counts of a study are updated on all its image sets, without a new version.

    :param created_at: the time of the import: ``createdAt`` of new image sets, and ``updatedAt`` of changed ones; an
        aware datetime, default now.
    :raises FileNotFoundError: for a path that does not exist, before anything is loaded.
    """
    files = list(iter_files(paths))
    now = created_at or datetime.now(UTC)
    series, skipped = _read(files)
    known = {_series_key(row.dicom_tags): row for row in backend.image_sets(datastore_id)}
    created: list[str] = []
    updated: list[str] = []
    for key, found in series.items():
        row = known.get(key)
        if row is None:
            row = backend.put_image_set(
                datastore_id, created_at=now, dicom_tags=found.tags, sop_instance_uids=found.instances
            )
            created.append(row.image_set_id)
        elif not found.instances <= row.sop_instance_uids:
            row = backend.update_image_set(
                datastore_id,
                row.image_set_id,
                updated_at=now,
                dicom_tags={name: value for name, value in found.tags.items() if row.dicom_tags.get(name) is None},
                sop_instance_uids=found.instances,
            )
            updated.append(row.image_set_id)
        known[key] = row
    _count_studies(datastore_id, known.values(), {study for study, _ in series}, backend)
    return LoadReport(tuple(created), tuple(updated), len(files) - len(skipped), tuple(skipped))


def pydicom_sample_files() -> list[Path]:
    """Return the DICOM files in the installed pydicom: 36 series in 29 studies, unusual ones among them.

    pydicom's own functions download files that the package does not contain; this function only lists a folder.
    """
    import pydicom.data
    from pydicom.misc import is_dicom

    (package,) = pydicom.data.__path__
    # Some installers make links instead of files.
    return [path for path, _ in iter_files([Path(package, "test_files")]) if path.is_file() and is_dicom(path)]


def _read(files: Iterable[tuple[Path, str | None]]) -> tuple[dict[tuple[str, str], _Series], list[tuple[Path, str]]]:
    series: dict[tuple[str, str], _Series] = defaultdict(_Series)
    skipped = []
    with _quiet_pydicom():
        for path, refusal in files:
            if refusal is not None:
                skipped.append((path, refusal))
                continue
            try:
                tags, instance = read_file(path)
            except UnusableFileError as error:
                skipped.append((path, str(error)))
                continue
            found = series[_series_key(tags)]
            found.instances.add(instance)
            for name, value in tags.items():
                if found.tags.get(name) is None:
                    found.tags[name] = value
    return series, skipped


def _series_key(tags: Any) -> tuple[str, str]:
    return str(tags.get("DICOMStudyInstanceUID")), str(tags.get("DICOMSeriesInstanceUID"))


def _count_studies(
    datastore_id: str, rows: Iterable["ImageSet"], studies: set[str], backend: "MedicalImagingBackend"
) -> None:
    members: dict[str, list[ImageSet]] = defaultdict(list)
    for row in rows:
        study, _ = _series_key(row.dicom_tags)
        if study in studies:
            members[study].append(row)
    for image_sets in members.values():
        counts = {
            "DICOMNumberOfStudyRelatedSeries": len(image_sets),
            "DICOMNumberOfStudyRelatedInstances": sum(len(row.sop_instance_uids) for row in image_sets),
        }
        for row in image_sets:
            backend.put_image_set(
                datastore_id,
                image_set_id=row.image_set_id,
                created_at=row.created_at,
                updated_at=row.updated_at,
                version=row.version,
                is_primary=row.is_primary,
                dicom_tags={**row.dicom_tags, **counts},
                sop_instance_uids=row.sop_instance_uids,
            )


@contextmanager
def _quiet_pydicom() -> Iterator[None]:
    # pydicom's warnings quote the values that they are about.
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
