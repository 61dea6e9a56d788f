"""Decodes image frames to samples. It needs the extra ``pixels``, and imports it where it is used.

``pylibjpeg-openjpeg`` decodes JPEG 2000 and HTJ2K, which is what the service makes of nearly all pixels. What the
service keeps in other formats (JPEG baseline, JPEG XL, video) is not decoded here.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from airflow_provider_healthimaging.exceptions import ConfigurationError, UnsupportedPixelsError
from airflow_provider_healthimaging.export.contents import FRAME_EXTENSIONS, PixelFacts

if TYPE_CHECKING:
    import numpy as np

    Samples = np.ndarray[Any, Any]

EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"

MAX_ENCODED_BITS = 16
"""The most bits of a sample in JPEG 2000 and HTJ2K. ``pylibjpeg-openjpeg`` takes 24, but numpy has no type of them."""

PLAIN_BITS = (1, 8, 16, 32)

JPEG_2000 = ("j2k", "jph")


def check_pixels_extra() -> None:
    """Raise if the extra ``pixels`` is not installed.

    :raises ConfigurationError: with how to install it.
    """
    if not all(find_spec(name) for name in ("numpy", "openjpeg", "pydicom")):
        raise ConfigurationError(
            "Decoding frames needs pydicom and pylibjpeg-openjpeg, and the worker does not have them. Install them: "
            "pip install 'airflow-provider-healthimaging[pixels]'."
        )


def decode_frame(data: bytes, transfer_syntax: str, pixels: PixelFacts | None) -> Samples:
    """Return the samples of a stored frame: rows, columns, and samples if there are several. Colours stay as they are.

    :param pixels: what the metadata say of the samples; ``None`` for what the codec says.
    :raises UnsupportedPixelsError: if this package does not decode it, or if it is damaged.
    """
    check_pixels_extra()
    try:
        return _decode(data, transfer_syntax, pixels)
    except (UnsupportedPixelsError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - codec and numpy raise errors of many types for what is damaged
        fault = type(error).__name__
    raise UnsupportedPixelsError(
        f"A frame cannot be decoded as its metadata describe it ({fault}). Copy it again; if it happens again, report "
        "the image set to AWS.",
        damaged=True,
    )


def is_decoded(transfer_syntax: str, pixels: PixelFacts | None) -> bool:
    """Whether :func:`decode_frame` decodes frames of this kind."""
    if FRAME_EXTENSIONS.get(transfer_syntax) in JPEG_2000:
        return pixels is None or pixels.bits_allocated <= MAX_ENCODED_BITS
    return transfer_syntax == EXPLICIT_LITTLE_ENDIAN and pixels is not None and pixels.bits_allocated in PLAIN_BITS


def _decode(data: bytes, transfer_syntax: str, pixels: PixelFacts | None) -> Samples:
    is_encoded = FRAME_EXTENSIONS.get(transfer_syntax) in JPEG_2000
    is_plain = transfer_syntax == EXPLICIT_LITTLE_ENDIAN and pixels is not None
    if pixels is not None and (is_encoded or is_plain) and not is_decoded(transfer_syntax, pixels):
        raise UnsupportedPixelsError(
            f"Frames of {pixels.bits_allocated} bits a sample are not decoded here, only JPEG 2000 and HTJ2K of at "
            f"most {MAX_ENCODED_BITS} bits, and uncompressed ones of 1, 8, 16 and 32. Copy DICOM files with "
            f"transfer_syntax='{EXPLICIT_LITTLE_ENDIAN}', or use verify='size'."
        )
    if is_encoded:
        from openjpeg.utils import decode

        return _as_described(decode(data, j2k_format=0), pixels)
    if pixels is not None and is_plain:
        return _uncompressed(data, pixels)
    raise UnsupportedPixelsError(
        f"Frames in the transfer syntax {transfer_syntax} are not decoded here, only JPEG 2000, HTJ2K and uncompressed "
        "ones. Read the frame with a decoder of that format, or use verify='size'."
    )


def _as_described(samples: Samples, pixels: PixelFacts | None) -> Samples:
    """Return the samples in the type that the metadata describe; the codec takes the narrowest one."""
    import numpy as np

    if pixels is None or pixels.bits_allocated % 8:
        return samples
    kind = np.dtype(f"<{'i' if pixels.pixel_representation else 'u'}{pixels.bits_allocated // 8}")
    if pixels.pixel_representation and samples.dtype.kind == "u":
        # The codec was not told of a sign: it is the highest of the bits that are stored.
        unused = max(0, pixels.bits_allocated - pixels.bits_stored)
        return (samples.astype(kind) << unused) >> unused
    return samples.astype(kind, copy=False)


def _uncompressed(data: bytes, pixels: PixelFacts) -> Samples:
    import numpy as np

    shape = (pixels.rows, pixels.columns, *([pixels.samples_per_pixel] if pixels.samples_per_pixel > 1 else []))
    if len(data) < pixels.frame_bytes:
        raise UnsupportedPixelsError(
            f"An uncompressed frame has {len(data)} bytes, but its metadata need {pixels.frame_bytes}. Copy it again.",
            damaged=True,
        )
    if pixels.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), count=pixels.rows * pixels.columns, bitorder="little")
        return bits.reshape(shape)
    kind = f"<{'i' if pixels.pixel_representation else 'u'}{pixels.bits_allocated // 8}"
    return np.frombuffer(data, kind, count=pixels.frame_bytes * 8 // pixels.bits_allocated).reshape(shape)
