"""Reads from one DICOM file the tags that a search returns, and the UID of its instance.

The file may be harmful. So values that take long to decode are not decoded, and a truncated file is skipped.
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

# DICOMTags of the API Reference, by the keyword of the DICOM attribute that contains the value.
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
_UID_PATTERN = re.compile(r"[0-9.]{1,512}")
_CHARACTER_SET = 0x00080005

_MAX_ATTRIBUTE_BYTES = 4096
"""Maximum size of an attribute. DICOM allows a tenth of it. Decoding can take time that grows with the square of it."""

_DEFAULT_MAX_CHARACTERS = 512
_MAX_CHARACTERS = {"PatientBirthDate": 36, "PatientSex": 16, "Modality": 32, "BodyPartExamined": 128}
_MAX_CHARACTERS |= {"StudyDate": 36, "StudyTime": 56}
"""Maximum lengths of ``DICOMTags`` in the API Reference that are not the default."""


def read_file(path: Path) -> tuple[dict[str, "TagValue"], str]:
    """Return the ``DICOMTags`` of the file, with ``None`` for missing ones, and the UID of the instance.

    :raises UnusableFileError: if the file has no instance for an image set. The message is the reason, and contains
        nothing from inside the file.
    """
    from pydicom.dataelem import RawDataElement
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag

    tags = {Tag(keyword) for keyword in (*_KEYWORDS, "SOPInstanceUID")}
    last = max(tags)

    def stop_reading(tag: "BaseTag", _: Any, length: int) -> bool:
        if length > _MAX_ATTRIBUTE_BYTES and tag in {*tags, _CHARACTER_SET}:
            raise UnusableFileError(f"attribute {tag} has more than {_MAX_ATTRIBUTE_BYTES:,} bytes")
        return bool(tag > last)

    problem = None
    try:
        with path.open("rb") as file:
            reader = BoundedReader(file)
            try:
                # Attributes are sorted by tag. The pixels come after the last wanted tag, so they are not read.
                dataset = read_partial(reader, stop_reading, specific_tags=[*tags])  # type: ignore[arg-type]
            finally:
                problem = reader.problem
        elements: Iterable[Any] = map(dataset.get_item, tags)
        if any(len(each.value or b"") != each.length for each in elements if isinstance(each, RawDataElement)):
            problem = TRUNCATED_FILE
        uids = {keyword: str(dataset.get(keyword) or "") for keyword in _UIDS}
    except InvalidDicomError:
        problem = "not a DICOM file"
    except UnusableFileError as error:
        problem = problem or str(error)
    except Exception as error:  # noqa: BLE001 - for a broken file, pydicom may raise any exception
        problem = problem or unreadable_reason(error)
    if problem:
        raise UnusableFileError(problem)
    for reason, keywords in (
        ("no", [keyword for keyword, uid in uids.items() if not uid]),
        ("no valid", [keyword for keyword, uid in uids.items() if not _UID_PATTERN.fullmatch(uid)]),
    ):
        if keywords:
            raise UnusableFileError(f"{reason} {', '.join(keywords)}")
    return {tag: _value(dataset, keyword) for keyword, tag in _KEYWORDS.items()}, uids["SOPInstanceUID"]


def _value(dataset: "Dataset", keyword: str) -> "TagValue":
    # pydicom decodes a value when it is read. If it cannot be decoded, or is too long for the service, the tag is None.
    from pydicom.sequence import Sequence

    with suppress(Exception):
        value = dataset.get(keyword)
        if value is None or value == "" or isinstance(value, bytes | Sequence):
            return None
        if keyword == "SeriesNumber":
            # An integer of 32 bits in the API Reference.
            return int(value) if abs(int(value)) < 2**31 else None
        text = "\\".join(map(str, value)) if isinstance(value, MutableSequence) else str(value)
        return text if len(text) <= _MAX_CHARACTERS.get(keyword, _DEFAULT_MAX_CHARACTERS) else None
    return None
