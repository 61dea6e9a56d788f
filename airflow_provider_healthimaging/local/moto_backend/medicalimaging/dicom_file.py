"""Reads from one DICOM file what a data store needs to know: the tags of a search, the UIDs, and what is wrong.

The file may be harmful. So values that take long to decode are not decoded, and a truncated file is unusable.
``untrusted_content`` limits how much of a file is read. Pixels are not decoded.
"""

import re
from collections.abc import Iterable, MutableSequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .file_warnings import FileWarning
from .image_sets import Content, Instance, TagValue
from .metadata_levels import TAG_KEYWORDS
from .pixel_checks import check_pixels
from .pydicom_silence import silenced_pydicom
from .untrusted_content import TRUNCATED_FILE, BoundedReader, UnusableFileError, unreadable_reason

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

# DICOMTags of the API Reference, by the keyword of the DICOM attribute. The two counts are not read from files.
_KEYWORDS = {keyword: tag for tag, keyword in TAG_KEYWORDS.items() if not keyword.startswith("NumberOf")}
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
# The pattern of the API Reference. It allows UIDs that DICOM does not allow.
_UID_PATTERN = re.compile(r"[0-9.]{1,512}")
_DICOM_UID_PATTERN = re.compile(r"(?=.{1,64}$)(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")
_CHARACTER_SET = 0x00080005

_MAX_ATTRIBUTE_BYTES = 4096
"""Maximum size of an attribute. DICOM allows a tenth of it. Decoding can take time that grows with the square of it."""

_DEFAULT_MAX_CHARACTERS = 512
_MAX_CHARACTERS = {"PatientBirthDate": 36, "PatientSex": 16, "Modality": 32, "BodyPartExamined": 128}
_MAX_CHARACTERS |= {"StudyDate": 36, "StudyTime": 56}
"""Maximum lengths of ``DICOMTags`` in the API Reference that are not the default."""


@dataclass(frozen=True)
class DicomFile:
    """One instance, and what a data store needs to know about it.

    :param tags: ``DICOMTags``, with ``None`` for missing ones.
    """

    tags: dict[str, TagValue]
    instance: Instance
    warnings: tuple[FileWarning, ...] = ()


def read_dicom_file(content: Content) -> DicomFile:
    """Read a file.

    :raises UnusableFileError: if the file has no instance for an image set.
    """
    with silenced_pydicom():
        dataset = _read_dataset(content)
        uids = _require_uids(dataset)
        tags, problems = _read_tags(dataset)
        instance = Instance(uids["SOPInstanceUID"], uids["TransferSyntaxUID"], content)
        if problem := check_pixels(instance):
            problems.add(problem)
    if any(not _DICOM_UID_PATTERN.fullmatch(uid) for uid in uids.values()):
        problems.add(FileWarning.InvalidUidFormat)
    found = tuple(warning for warning in FileWarning if warning in problems)
    return DicomFile(tags, instance, found)


def _read_dataset(content: Content) -> "Dataset":
    """Return the attributes with the wanted tags, all decoded or raw."""
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
        with Instance("", content=content).open() as file:
            reader = BoundedReader(file)
            try:
                # Attributes are sorted by tag. The pixels come after the last wanted tag, so they are not read.
                dataset = read_partial(reader, stop_reading, specific_tags=[*tags])  # type: ignore[arg-type]
            finally:
                problem = reader.problem
        elements: Iterable[Any] = map(dataset.get_item, tags)
        if any(len(each.value or b"") != each.length for each in elements if isinstance(each, RawDataElement)):
            problem = TRUNCATED_FILE
        for keyword in _UIDS:
            str(dataset.get(keyword))  # A value is decoded when it is read.
    except InvalidDicomError:
        problem = "not a DICOM file"
    except UnusableFileError as error:
        problem = problem or str(error)
    except Exception as error:  # noqa: BLE001 - for a broken file, pydicom may raise any exception
        problem = problem or unreadable_reason(error)
    if problem:
        raise UnusableFileError(problem)
    return dataset


def _require_uids(dataset: "Dataset") -> dict[str, str]:
    uids = {keyword: str(dataset.get(keyword) or "") for keyword in _UIDS}
    uids["TransferSyntaxUID"] = str(dataset.file_meta.get("TransferSyntaxUID") or "")
    missing = [keyword for keyword, uid in uids.items() if not uid]
    if missing:
        plural = len(missing) > 1
        raise UnusableFileError(f"DICOM attribute{'s' * plural} {', '.join(missing)} do{'es' * (not plural)} not exist")
    for keyword, uid in uids.items():
        if not _UID_PATTERN.fullmatch(uid):
            raise UnusableFileError(f"DICOM attribute {keyword} is not valid", uid)
    return uids


def _read_tags(dataset: "Dataset") -> tuple[dict[str, TagValue], set[FileWarning]]:
    """Return the tags. A value that cannot be decoded, or that is too long for the service, is ``None``."""
    tags: dict[str, TagValue] = {}
    problems = set()
    for keyword, tag in _KEYWORDS.items():
        try:
            value = _read_value(dataset, keyword)
        except Exception:  # noqa: BLE001 - for a broken value, pydicom may raise any exception
            value = None
            problems.add(FileWarning.ElementsDiscarded)
        if isinstance(value, str) and len(value) > _MAX_CHARACTERS.get(keyword, _DEFAULT_MAX_CHARACTERS):
            value = None
            problems.add(FileWarning.InvalidDicomValueLength)
        tags[tag] = value
    return tags, problems


def _read_value(dataset: "Dataset", keyword: str) -> TagValue:
    # pydicom decodes a value when it is read.
    from pydicom.sequence import Sequence

    value = dataset.get(keyword)
    if value is None or value == "" or (isinstance(value, Sequence) and not value):
        return None
    if isinstance(value, bytes | Sequence):
        raise TypeError("not a text")
    if keyword == "SeriesNumber":
        # An integer of 32 bits in the API Reference.
        if abs(int(value)) >= 2**31:
            raise ValueError("too large")
        return int(value)
    return "\\".join(map(str, value)) if isinstance(value, MutableSequence) else str(value)
