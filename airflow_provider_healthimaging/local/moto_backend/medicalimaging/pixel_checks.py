"""Checks whether the pixel data of a DICOM file contain all its frames, without decoding them.

The file may be harmful, so ``untrusted_content`` limits how much of it is read.
"""

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from .file_warnings import FileWarning
from .image_sets import Instance
from .untrusted_content import MAX_HEADER_BYTES, BoundedReader

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

_PIXEL_DATA = 0x7FE00010
_KEYWORDS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
)
DEFLATED = "1.2.840.10008.1.2.1.99"
# MPEG and H.26x: all frames can be in one fragment.
VIDEO = "1.2.840.10008.1.2.4.10"


class _Position(NamedTuple):
    start: int
    length: int


def check_pixels(instance: Instance) -> FileWarning | None:
    """Return what is wrong with the pixel data. A file without pixel data has no problem."""
    from pydicom.pixels.utils import get_expected_length
    from pydicom.uid import AllTransferSyntaxes

    if instance.transfer_syntax not in AllTransferSyntaxes:
        return FileWarning.UnsupportedTransferSyntax
    if instance.transfer_syntax == DEFLATED:
        return None
    reached: list[_Position] = []
    try:
        with instance.open() as file:
            dataset = read_until_pixels(BoundedReader(file, MAX_HEADER_BYTES), reached)
            if not reached:
                return None
            if instance.is_encapsulated:
                return _check_fragments(BoundedReader(file), reached[0].start, dataset, instance.transfer_syntax)
            size = min(reached[0].length, file.seek(0, os.SEEK_END) - reached[0].start)
            return None if size >= get_expected_length(dataset) else FileWarning.FramesExtractionFailure
    except Exception:  # noqa: BLE001 - for a broken file, pydicom may raise any exception
        return FileWarning.FramesExtractionFailure if reached else FileWarning.ElementsDiscarded


def read_until_pixels(reader: BoundedReader, reached: list[_Position]) -> "Dataset":
    """Return the attributes that describe the pixels, and add to ``reached`` where the pixels are, if there are any."""
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag

    def stop_reading(tag: "BaseTag", _: Any, length: int) -> bool:
        if tag == _PIXEL_DATA:
            reached.append(_Position(reader.tell(), length))
        return bool(tag >= _PIXEL_DATA)

    return read_partial(reader, stop_reading, specific_tags=[Tag(keyword) for keyword in _KEYWORDS])  # type: ignore[arg-type]


def _check_fragments(reader: BoundedReader, start: int, dataset: "Dataset", syntax: str) -> FileWarning | None:
    from pydicom.encaps import parse_basic_offsets, parse_fragments

    reader.seek(start)
    offsets = parse_basic_offsets(reader)
    first = reader.tell()
    count, positions = parse_fragments(reader)
    if reader.problem:
        return FileWarning.FramesExtractionFailure
    frames = 1 if syntax.startswith(VIDEO) else _frames(dataset)
    if count < frames:
        return FileWarning.FrameNumberMismatch
    starts = {position - first for position in positions}
    if offsets and (len(offsets) != frames or not starts.issuperset(offsets)):
        return FileWarning.InvalidOffsetTable
    return None


def _frames(dataset: "Dataset") -> int:
    return int(dataset.get("NumberOfFrames") or 1)
