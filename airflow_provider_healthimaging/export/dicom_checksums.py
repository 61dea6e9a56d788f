"""Compares the pixels in a DICOM file with the checksums of the metadata. It needs the extra ``pixels``."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING

from airflow_provider_healthimaging.exceptions import ObjectMismatchError, UnsupportedPixelsError
from airflow_provider_healthimaging.export.contents import Frame, Instance
from airflow_provider_healthimaging.export.decode import EXPLICIT_LITTLE_ENDIAN
from airflow_provider_healthimaging.export.dicom_pixels import decoded_frames, encapsulated_frames

if TYPE_CHECKING:
    from airflow_provider_healthimaging.export.decode import Samples


def check_dicom_checksums(file: IO[bytes], instance: Instance, transfer_syntax: str, described: str) -> None:
    """Raise if a frame in a DICOM file is not the one whose CRC32 the metadata have.

    What the service keeps as it came has the checksum of its bytes, which can be compared only if the file has them.

    :param file: the DICOM file; it can seek.
    :param transfer_syntax: that of the file.
    :raises ObjectMismatchError: if they differ, or if the file is damaged.
    :raises UnsupportedPixelsError: if pixels of this kind cannot be decoded here.
    """
    if all(frame.checksum is None for frame in instance.frames):
        return
    found = _checksums(file, instance, transfer_syntax)
    if found is not None and not _are_equal(instance.frames, found):
        raise ObjectMismatchError(
            f"The checksum of a frame in {described} differs from that of the metadata. Retry. If it happens again, "
            "report the image set to AWS."
        )


def _are_equal(frames: Sequence[Frame], found: Iterator[set[int]]) -> bool:
    """Whether the frames of the metadata are those of the file. Those of a damaged file are not."""
    try:
        for frame, checksums in itertools.zip_longest(frames, found, fillvalue=None):
            if frame is None or (frame.checksum is not None and frame.checksum not in (checksums or ())):
                return False
    except UnsupportedPixelsError as error:
        if not error.damaged:
            raise
        return False
    return True


def _checksums(file: IO[bytes], instance: Instance, transfer_syntax: str) -> Iterator[set[int]] | None:
    """Return what the checksum of each frame may be; ``None`` if the file cannot tell.

    In DICOM, pixels of an odd size are padded with a zero (PS3.5, 8.1.1 and A.4). The metadata may count it or not.
    """
    if not instance.frames[0].of_stored_bytes:
        return ({zlib.crc32(samples.tobytes())} for samples in decoded_frames(file))
    if instance.transfer_syntax == EXPLICIT_LITTLE_ENDIAN:
        is_packed = instance.pixels is not None and instance.pixels.bits_allocated == 1
        plain = (_packed(samples) if is_packed else samples.tobytes() for samples in decoded_frames(file))
        return ({zlib.crc32(frame), zlib.crc32(frame + b"\0")} for frame in plain)
    if transfer_syntax != instance.transfer_syntax:
        return None
    frames = encapsulated_frames(file, len(instance.frames))
    return ({zlib.crc32(frame), zlib.crc32(frame.removesuffix(b"\0"))} for frame in frames)


def _packed(samples: Samples) -> bytes:
    import numpy as np

    return np.packbits(samples.reshape(-1), bitorder="little").tobytes()
