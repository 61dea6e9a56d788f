"""Reads from one DICOM file the tags that a search shows, and the UID of its instance.

The file may be made to do harm. So values that take long to decode are not decoded, and a truncated file is skipped.
``untrusted_files`` limits how much of a file is read.
"""

import re
from collections.abc import Iterable, MutableSequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .untrusted_files import TRUNCATED_FILE, BoundedReader, UnusableFileError, unreadable_reason

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

    from .moto_backend.medicalimaging.image_sets import TagValue

# DICOMTags of the API Reference, by the keyword of the attribute that each is taken from.
_KEYWORDS = {
    "PatientID": "DICOMPatientId",
    "PatientName": "DICOMPatientName",
    "PatientBirthDate": "DICOMPatientBirthDate",
    "PatientSex": "DICOMPatientSex",
    "StudyInstanceUID": "DICOMStudyInstanceUID",
    "StudyID": "DICOMStudyId",
    "StudyDescription": "DICOMStudyDescription",
    "AccessionNumber": "DICOMAccessionNumber",
    "SeriesInstanceUID": "DICOMSeriesInstanceUID",
    "Modality": "DICOMSeriesModality",
    "BodyPartExamined": "DICOMSeriesBodyPart",
    "SeriesNumber": "DICOMSeriesNumber",
    "StudyDate": "DICOMStudyDate",
    "StudyTime": "DICOMStudyTime",
}
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_UID = re.compile(r"[0-9.]{1,512}")
_CHARACTER_SET = 0x00080005

_LONGEST = 4096
"""Bytes that an attribute may have: DICOM allows a tenth of that, and to decode them can take time by the square."""

_CHARACTERS = {"PatientBirthDate": 36, "PatientSex": 16, "Modality": 32, "BodyPartExamined": 128}
_CHARACTERS |= {"StudyDate": 36, "StudyTime": 56}
"""The longest that ``DICOMTags`` of the API Reference may have, where that is not 512; a series number has 32 bits."""


def read_file(path: Path) -> tuple[dict[str, "TagValue"], str]:
    """Return ``DICOMTags``, as far as the file has them, and the instance's UID.

    :raises UnusableFileError: where it is none that an image set could hold, with the reason and nothing of the file.
    """
    from pydicom.dataelem import RawDataElement
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag

    tags = {Tag(keyword) for keyword in (*_KEYWORDS, "SOPInstanceUID")}
    last = max(tags)

    def is_behind(tag: "BaseTag", _: Any, length: int) -> bool:
        if length > _LONGEST and tag in {*tags, _CHARACTER_SET}:
            raise UnusableFileError(f"an attribute, {tag}, of more than {_LONGEST:,} bytes")
        return bool(tag > last)

    problem = None
    try:
        with path.open("rb") as file:
            reader = BoundedReader(file)
            try:
                # Attributes come in the order of their tags: the pixels are behind the last of ours, and not read.
                dataset = read_partial(reader, is_behind, specific_tags=[*tags])  # type: ignore[arg-type]
            finally:
                problem = reader.problem
        found: Iterable[Any] = map(dataset.get_item, tags)
        if any(len(each.value or b"") != each.length for each in found if isinstance(each, RawDataElement)):
            problem = TRUNCATED_FILE
        uids = {keyword: str(dataset.get(keyword) or "") for keyword in _UIDS}
    except InvalidDicomError:
        problem = "not a DICOM file"
    except UnusableFileError as error:
        problem = problem or str(error)
    except Exception as error:  # noqa: BLE001 - broken files break pydicom in any number of ways
        problem = problem or unreadable_reason(error)
    if problem:
        raise UnusableFileError(problem)
    for what, wrong in (
        ("no", [keyword for keyword, uid in uids.items() if not uid]),
        ("no valid", [keyword for keyword, uid in uids.items() if not _UID.fullmatch(uid)]),
    ):
        if wrong:
            raise UnusableFileError(f"{what} {', '.join(wrong)}")
    return {tag: _value(dataset, keyword) for keyword, tag in _KEYWORDS.items()}, uids["SOPInstanceUID"]


def _value(dataset: "Dataset", keyword: str) -> "TagValue":
    # pydicom decodes a value when it is asked for: one that cannot be, or that the service could not hold, is as good
    # as missing.
    from pydicom.sequence import Sequence

    with suppress(Exception):
        value = dataset.get(keyword)
        if value is None or value == "" or isinstance(value, bytes | Sequence):
            return None
        if keyword == "SeriesNumber":
            return int(value) if abs(int(value)) < 2**31 else None
        text = "\\".join(map(str, value)) if isinstance(value, MutableSequence) else str(value)
        return text if len(text) <= _CHARACTERS.get(keyword, 512) else None
    return None
