"""Checks that a copy is what the metadata promise. That a body is whole is checked where it is read."""

from __future__ import annotations

import zlib

from airflow_provider_healthimaging.exceptions import ObjectMismatchError
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

    :raises ObjectMismatchError: if they differ.
    :raises UnsupportedPixelsError: if the frame cannot be decoded here.
    """
    if frame.checksum in {None, zlib.crc32(data)}:
        return
    if not frame.of_stored_bytes:
        samples = decode_frame(data, instance.transfer_syntax, instance.pixels)
        if zlib.crc32(samples.tobytes()) == frame.checksum:
            return
    raise ObjectMismatchError(
        f"The checksum of {described} differs from that of the metadata. Retry. If it happens again, report the image "
        "set to AWS."
    )
