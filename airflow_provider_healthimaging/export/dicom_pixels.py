"""Reads the frames in a DICOM file: as they are in it, or decoded. It needs the extra ``pixels``.

pydicom decodes pixels without an encoding, RLE, and what its plugins decode. JPEG 2000 and HTJ2K are decoded here,
because pydicom takes a decoder for them only if yet another package is there; and so are single bits, because pydicom
does not iterate over frames that begin within a byte.

pydicom warns about values that do not follow the standard, and shows them. So only attributes that describe pixels are
read, and no error shows the text of pydicom's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from airflow_provider_healthimaging.exceptions import HealthImagingError, UnsupportedPixelsError
from airflow_provider_healthimaging.export.contents import (
    DISPLAY_ATTRIBUTES,
    FRAME_EXTENSIONS,
    PIXEL_ATTRIBUTES,
    PixelFacts,
    pixel_facts,
)
from airflow_provider_healthimaging.export.decode import (
    EXPLICIT_LITTLE_ENDIAN,
    JPEG_2000,
    check_pixels_extra,
    decode_frame,
)

if TYPE_CHECKING:
    from airflow_provider_healthimaging.export.decode import Samples

T = TypeVar("T")

_PIXEL_HEADER_BYTES = 12
"""The tag, the VR and the length of pixel data in a file with explicit VRs (DICOM PS3.5, 7.1.2)."""

_FRAME_COUNT = "NumberOfFrames"


def read_attributes(file: IO[bytes]) -> Mapping[str, object]:
    """Return the attributes that describe the pixels, by keyword; the file stands at the pixels then.

    :raises UnsupportedPixelsError: if it is not a DICOM file that pydicom can read.
    """
    return _read(lambda: _head(file))[1]


def encapsulated_frames(file: IO[bytes], count: int) -> Iterator[bytes]:
    """Yield the frames of a file with encoded pixels as they are in it.

    :param count: how many there are.
    :raises UnsupportedPixelsError: if pydicom cannot read them.
    """
    return _each(lambda: _encapsulated(file, count))


def decoded_frames(file: IO[bytes]) -> Iterator[Samples]:
    """Yield the samples of each frame, colours as they are. Frames are read one at a time.

    :raises UnsupportedPixelsError: at a frame that cannot be decoded here.
    """
    for samples in _each(lambda: _decoded(file)):
        yield samples.astype(samples.dtype.newbyteorder("<"), order="C", copy=False)


def _head(file: IO[bytes]) -> tuple[str, dict[str, object]]:
    """Return the transfer syntax and the attributes."""
    from pydicom import dcmread

    check_pixels_extra()
    file.seek(0)
    wanted = [*PIXEL_ATTRIBUTES, *DISPLAY_ATTRIBUTES, _FRAME_COUNT]
    dataset = dcmread(file, stop_before_pixels=True, specific_tags=[*wanted])
    found = {name: dataset.get(name) for name in wanted if name in dataset}
    return str(dataset.file_meta.TransferSyntaxUID), found


def _encapsulated(file: IO[bytes], count: int) -> Iterator[bytes]:
    from pydicom.encaps import generate_frames

    _head(file)
    file.seek(_PIXEL_HEADER_BYTES, 1)
    return generate_frames(file, number_of_frames=count)


def _decoded(file: IO[bytes]) -> Iterator[Any]:
    syntax, attributes = _head(file)
    facts = pixel_facts(attributes)
    count = int(cast("Any", attributes.get(_FRAME_COUNT)) or 1)
    if FRAME_EXTENSIONS.get(syntax) in JPEG_2000:
        return (decode_frame(data, syntax, facts) for data in _encapsulated(file, count))
    if syntax == EXPLICIT_LITTLE_ENDIAN and facts and facts.bits_allocated == 1:
        return _single_bits(file, facts, count)
    from pydicom.pixels.utils import iter_pixels

    file.seek(0)
    frames: Iterator[Any] = iter_pixels(cast("BinaryIO", file), raw=True)
    return frames


def _single_bits(file: IO[bytes], facts: PixelFacts, count: int) -> Iterator[Samples]:
    """Yield frames of single bits, which follow each other without a gap. The file stands at the pixels."""
    import numpy as np

    start, size = file.tell() + _PIXEL_HEADER_BYTES, facts.rows * facts.columns
    for first in range(0, count * size, size):
        file.seek(start + first // 8)
        data = np.frombuffer(file.read((first % 8 + size + 7) // 8), np.uint8)
        bits = np.unpackbits(data, bitorder="little")[first % 8 :][:size]
        yield bits.reshape(facts.rows, facts.columns)


def _each(begin: Callable[[], Iterator[T]]) -> Iterator[T]:
    frames = _read(begin)
    end: Any = object()
    while (frame := _read(lambda: next(frames, end))) is not end:
        yield frame


def _read(call: Callable[[], T]) -> T:
    """Return the result of ``call``. pydicom and its plugins raise errors of many types, with values in their text."""
    try:
        return call()
    except (HealthImagingError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - as above
        fault = type(error).__name__
        # pydicom raises a RuntimeError if it has no decoder.
        has_decoder = not isinstance(error, RuntimeError)
    raise UnsupportedPixelsError(
        f"The pixels of a DICOM file cannot be decoded here ({fault}). Copy DICOM files with "
        "transfer_syntax='1.2.840.10008.1.2.1', or use a decoder of their format.",
        damaged=has_decoder,
    )
