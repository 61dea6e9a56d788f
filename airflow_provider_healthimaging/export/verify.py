"""Checks that a copy is what the metadata promise. That a body is whole is checked where it is read."""

from __future__ import annotations

import zlib

from airflow_provider_healthimaging.exceptions import ObjectMismatchError, UnsupportedPixelsError
from airflow_provider_healthimaging.export.contents import Frame, Instance
from airflow_provider_healthimaging.export.decode import decode_frame

_PREAMBLE = 128
_DICM = b"DICM"

DICOM_HEAD_BYTES = _PREAMBLE + len(_DICM)
"""How many bytes of a DICOM file :func:`check_dicom_head` looks at."""


def check_dicom_head(head: bytes, described: str) -> None:
    """Raise if a body does not begin as a DICOM file does (DICOM PS3.10, 7.1)."""
    if head[_PREAMBLE:DICOM_HEAD_BYTES] != _DICM:
        raise ObjectMismatchError(
            f"{described} came back, but not as a DICOM file. Check for a proxy between the worker and the service, "
            "and retry."
        )


def check_frame_size(size: int, instance: Instance, frame: Frame, described: str) -> None:
    """Raise if a frame of ``size`` bytes cannot be the one that the metadata describe.

    The developer guide does not say whether ``FrameSizeInBytes`` is the size of the stored or of the decoded frame. So
    both are accepted: the size of what came, or the size that the DICOM attributes give for the decoded frame.
    """
    if size and frame.size in {None, size}:
        return
    decoded = instance.pixels.frame_bytes if instance.pixels else None
    # A frame of an odd size may be counted with the byte that pads it (DICOM PS3.5, 8.1.1).
    if size and (decoded is None or frame.size in {decoded, decoded + decoded % 2}):
        return
    raise ObjectMismatchError(
        f"{described} has {size} bytes, but the metadata say {frame.size}. Retry. If it happens again, report the "
        "image set to AWS."
    )


def check_frame_checksum(data: bytes, instance: Instance, frame: Frame, described: str) -> None:
    """Raise if the CRC32 of a frame is not that of the metadata; without one there, nothing can be compared.

    It is that of the decoded frame, or of the stored one if the service kept it as it came ("Pixel data verification"
    of the developer guide).

    :raises ObjectMismatchError: if they differ, or if the frame is damaged.
    :raises UnsupportedPixelsError: if frames of this kind cannot be decoded here.
    """
    checksum: int | None = zlib.crc32(data)
    if not frame.of_stored_bytes and frame.checksum not in {None, checksum}:
        checksum = _decoded_checksum(data, instance)
    check_stored_checksum(checksum, frame, described)


def check_stored_checksum(checksum: int | None, frame: Frame, described: str) -> None:
    """Raise if a CRC32 is not that of the metadata; without one there, nothing can be compared."""
    if frame.checksum not in {None, checksum}:
        raise ObjectMismatchError(
            f"The checksum of {described} differs from that of the metadata. Retry. If it happens again, report the "
            "image set to AWS."
        )


def _decoded_checksum(data: bytes, instance: Instance) -> int | None:
    """Return the CRC32 of a decoded frame, or ``None`` if it is damaged."""
    try:
        return zlib.crc32(decode_frame(data, instance.transfer_syntax, instance.pixels).tobytes())
    except UnsupportedPixelsError as error:
        if not error.damaged:
            raise
    return None
