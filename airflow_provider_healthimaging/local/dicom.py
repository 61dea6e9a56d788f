"""Loads DICOM files into a data store, as an import job does: one image set for each series.

The files may contain patient data, so no log line, error or report contains anything from inside a file. The files
may also be harmful: ``untrusted_files`` decides which files are opened, and how much of each file is read.
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
    :param files_read: number of files that contain an instance, new or known.
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
    """Load files into a data store. Folders are loaded with all files and folders in them.

    A new series becomes an image set. If a series is known, new instances raise its version and ``updatedAt``, once for
    each call. Known instances change nothing. The value of a tag comes from the first file of the series that has the
    tag. The two counts of a study are updated on all image sets of the study, without a new version.

    :param created_at: time of the import: ``createdAt`` of new image sets, and ``updatedAt`` of changed ones. An
        aware datetime; default: now.
    :raises FileNotFoundError: if a path does not exist. In this case, nothing is loaded.
    """
    files = list(iter_files(paths))
    now = created_at or datetime.now(UTC)
    series, skipped = _read(files)
    known = {_series_key(image_set.dicom_tags): image_set for image_set in backend.image_sets(datastore_id)}
    created: list[str] = []
    updated: list[str] = []
    for key, loaded in series.items():
        image_set = known.get(key)
        if image_set is None:
            image_set = backend.put_image_set(
                datastore_id, created_at=now, dicom_tags=loaded.tags, sop_instance_uids=loaded.instances
            )
            created.append(image_set.image_set_id)
        elif not loaded.instances <= image_set.sop_instance_uids:
            old_tags = image_set.dicom_tags
            image_set = backend.update_image_set(
                datastore_id,
                image_set.image_set_id,
                updated_at=now,
                dicom_tags={name: value for name, value in loaded.tags.items() if old_tags.get(name) is None},
                sop_instance_uids=loaded.instances,
            )
            updated.append(image_set.image_set_id)
        known[key] = image_set
    _update_study_counts(datastore_id, known.values(), {study for study, _ in series}, backend)
    return LoadReport(tuple(created), tuple(updated), len(files) - len(skipped), tuple(skipped))


def pydicom_sample_files() -> list[Path]:
    """Return the DICOM files of the installed pydicom: 36 series in 29 studies, some of them unusual.

    pydicom's own functions download files that are not in its package. This function only lists a folder.
    """
    import pydicom.data
    from pydicom.misc import is_dicom

    (package,) = pydicom.data.__path__
    # Some installers create links instead of files.
    return [path for path, _ in iter_files([Path(package, "test_files")]) if path.is_file() and is_dicom(path)]


def _read(files: Iterable[tuple[Path, str | None]]) -> tuple[dict[tuple[str, str], _Series], list[tuple[Path, str]]]:
    """Return the series by key, and the skipped files with the reasons."""
    series: dict[tuple[str, str], _Series] = defaultdict(_Series)
    skipped = []
    with _silenced_pydicom():
        for path, reason in files:
            if reason is not None:
                skipped.append((path, reason))
                continue
            try:
                tags, instance = read_file(path)
            except UnusableFileError as error:
                skipped.append((path, str(error)))
                continue
            loaded = series[_series_key(tags)]
            loaded.instances.add(instance)
            for name, value in tags.items():
                if loaded.tags.get(name) is None:
                    loaded.tags[name] = value
    return series, skipped


def _series_key(tags: Any) -> tuple[str, str]:
    return str(tags.get("DICOMStudyInstanceUID")), str(tags.get("DICOMSeriesInstanceUID"))


def _update_study_counts(
    datastore_id: str, image_sets: Iterable["ImageSet"], studies: set[str], backend: "MedicalImagingBackend"
) -> None:
    by_study: dict[str, list[ImageSet]] = defaultdict(list)
    for image_set in image_sets:
        study, _ = _series_key(image_set.dicom_tags)
        if study in studies:
            by_study[study].append(image_set)
    for of_study in by_study.values():
        counts = {
            "DICOMNumberOfStudyRelatedSeries": len(of_study),
            "DICOMNumberOfStudyRelatedInstances": sum(len(image_set.sop_instance_uids) for image_set in of_study),
        }
        for image_set in of_study:
            backend.put_image_set(
                datastore_id,
                image_set_id=image_set.image_set_id,
                created_at=image_set.created_at,
                updated_at=image_set.updated_at,
                version=image_set.version,
                is_primary=image_set.is_primary,
                dicom_tags={**image_set.dicom_tags, **counts},
                sop_instance_uids=image_set.sop_instance_uids,
            )


@contextmanager
def _silenced_pydicom() -> Iterator[None]:
    # pydicom's warnings contain values from the file.
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
