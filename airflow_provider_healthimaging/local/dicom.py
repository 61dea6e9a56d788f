"""Loads DICOM files into a data store, as an import job does: one image set for each series.

The files may contain patient data, so no log line, error or report contains anything from inside a file. The files
may also be harmful: ``untrusted_files`` decides which files are opened, and how much of each file is read.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from moto.medicalimaging.dicom_file import DicomFile, read_dicom_file
from moto.medicalimaging.image_set_import import import_files
from moto.medicalimaging.untrusted_content import UnusableFileError

from .untrusted_files import iter_files

if TYPE_CHECKING:
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


def load_dicom(
    paths: Iterable[Path | str],
    datastore_id: str,
    *,
    backend: "MedicalImagingBackend",
    created_at: datetime | None = None,
) -> LoadReport:
    """Load files into a data store. Folders are loaded with all files and folders in them.

    It does the same as an import job. A new series becomes an image set. If a series is known, its instances raise the
    version and ``updatedAt`` of its image set, once for each call. A known instance is overwritten. Files with values
    that conflict with those of the known image sets become image sets that are not primary. The value of a tag comes
    from the first file of the image set that has the tag. The two counts of a study are updated on all image sets of
    the study, without a new version. The files must stay where they are, because they are not copied.

    :param paths: files and folders.
    :param datastore_id: a data store of ``backend``.
    :param backend: what ``backend()`` returns.
    :param created_at: time of the import: ``createdAt`` of new image sets, and ``updatedAt`` of changed ones. An
        aware datetime; default: now.
    :raises FileNotFoundError: if a path does not exist. In this case, nothing is loaded.
    """
    usable: list[DicomFile] = []
    skipped: list[tuple[Path, str]] = []
    for path, reason in list(iter_files(paths)):
        if reason is not None:
            skipped.append((path, reason))
            continue
        try:
            usable.append(read_dicom_file(path))
        except UnusableFileError as error:
            skipped.append((path, str(error)))
    with backend.lock:
        image_sets = import_files(backend, datastore_id, usable, created_at or backend.clock())
    changed = {image_set.image_set_id: image_set for image_set in image_sets}
    return LoadReport(
        tuple(image_set_id for image_set_id, each in changed.items() if each.version == 1),
        tuple(image_set_id for image_set_id, each in changed.items() if each.version > 1),
        len(usable),
        tuple(skipped),
    )


def pydicom_sample_files() -> list[Path]:
    """Return the DICOM files of the installed pydicom: 36 series in 29 studies, some of them unusual.

    pydicom's own functions download files that are not in its package. This function only lists a folder.
    """
    import pydicom.data
    from pydicom.misc import is_dicom

    (package,) = pydicom.data.__path__
    # Some installers create links instead of files.
    return [path for path, _ in iter_files([Path(package, "test_files")]) if path.is_file() and is_dicom(path)]
