"""Reads the frames in a DICOM file: as they are in it, or decoded. It needs the extra ``pixels``.

pydicom decodes pixels without an encoding, RLE, and what its plugins decode. JPEG 2000 and HTJ2K are decoded here,
because pydicom takes a decoder for them only if yet another package is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from airflow_provider_healthimaging.exceptions import UnsupportedPixelsError
from airflow_provider_healthimaging.export.contents import FRAME_EXTENSIONS, PixelFacts, pixel_facts
from airflow_provider_healthimaging.export.decode import JPEG_2000, check_pixels_extra, decode_frame

if TYPE_CHECKING:
    import pydicom

    from airflow_provider_healthimaging.export.decode import Samples

_PIXEL_HEADER_BYTES = 12
"""The tag, the VR and the length of encapsulated pixel data (DICOM PS3.5, 7.1.2)."""


def read_attributes(file: IO[bytes]) -> pydicom.FileDataset:
    """Return the attributes before the pixels; the file stands at the pixels then."""
    from pydicom import dcmread

    check_pixels_extra()
    file.seek(0)
    return dcmread(file, stop_before_pixels=True)


def encapsulated_frames(file: IO[bytes], count: int) -> Iterator[bytes]:
    """Yield the frames of a file with encoded pixels as they are in it.

    :param count: how many there are.
    """
    from pydicom.encaps import generate_frames

    read_attributes(file)
    file.seek(_PIXEL_HEADER_BYTES, 1)
    yield from generate_frames(file, number_of_frames=count)


def decoded_frames(file: IO[bytes]) -> Iterator[Samples]:
    """Yield the samples of each frame, colours as they are. Frames are read one at a time.

    :raises UnsupportedPixelsError: at a frame that cannot be decoded here.
    """
    attributes = read_attributes(file)
    syntax = str(attributes.file_meta.TransferSyntaxUID)
    facts = pixel_facts({element.keyword: element.value for element in attributes})
    count = int(attributes.get("NumberOfFrames") or 1)
    frames = iter(_frames(file, syntax, facts, count))
    while True:
        try:
            samples = next(frames, None)
        except UnsupportedPixelsError:
            raise
        except Exception as error:  # noqa: BLE001 - pydicom and its plugins raise errors of many types, with values in them
            fault = type(error).__name__
        else:
            if samples is None:
                return
            yield samples.astype(samples.dtype.newbyteorder("<"), order="C", copy=False)
            continue
        raise UnsupportedPixelsError(
            f"Pixels in the transfer syntax {syntax} cannot be decoded here ({fault}). Copy DICOM files with "
            "transfer_syntax='1.2.840.10008.1.2.1', or use a decoder of that format."
        )


def _frames(file: IO[bytes], syntax: str, facts: PixelFacts | None, count: int) -> Iterator[Any]:
    if FRAME_EXTENSIONS.get(syntax) in JPEG_2000:
        return (decode_frame(data, syntax, facts) for data in encapsulated_frames(file, count))
    from pydicom.pixels.utils import iter_pixels

    file.seek(0)
    frames: Iterator[Any] = iter_pixels(cast("BinaryIO", file), raw=True)
    return frames
