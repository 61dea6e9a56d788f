"""Encodes and decodes single image frames, by ``imagecodecs``. It knows arrays and bytes, not DICOM files.

A frame is an array of rows and columns, or of rows, columns and samples. Colours are not converted, except that a
decoder undoes the colour transformation of its own format.
"""

import zlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
J2K_LOSSLESS = "1.2.840.10008.1.2.4.90"
HTJ2K_LOSSLESS_RPCL = "1.2.840.10008.1.2.4.202"

_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_DECODERS = {
    **dict.fromkeys(_JPEG, "jpeg8_decode"),
    **dict.fromkeys(("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"), "jpeg8_decode"),
    **dict.fromkeys(("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"), "jpegls_decode"),
    **dict.fromkeys((J2K_LOSSLESS, "1.2.840.10008.1.2.4.91"), "jpeg2k_decode"),
    **dict.fromkeys(("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111"), "jpegxl_decode"),
    "1.2.840.10008.1.2.4.112": "jpegxl_decode",
    "1.2.840.10008.1.2.4.201": "htj2k_decode",
    HTJ2K_LOSSLESS_RPCL: "htj2k_decode",
    "1.2.840.10008.1.2.4.203": "htj2k_decode",
}
"""The function of ``imagecodecs`` for each transfer syntax."""

_SMALLEST_RESOLUTION_PIXELS = 64

Resolution = tuple[int, int, int]
"""Width, height and CRC32 of the decoded pixels."""


class CodecMissingError(Exception):
    """The package that encodes and decodes pixels is not installed."""


class PixelsError(Exception):
    """The pixels cannot be decoded, or not be encoded without loss."""


def encode(frame: "np.ndarray[Any, Any]", syntax: str) -> bytes:
    """Return a frame encoded without loss.

    :param syntax: ``HTJ2K_LOSSLESS_RPCL`` or ``J2K_LOSSLESS``.
    :raises CodecMissingError: if ``imagecodecs`` is not installed.
    :raises PixelsError: if the format cannot hold the values.
    """
    import numpy as np

    codecs = require_codecs()
    is_colour = frame.ndim > 2  # noqa: PLR2004 - rows and columns
    if syntax == HTJ2K_LOSSLESS_RPCL:
        if is_colour and frame.shape[1] == 1:
            raise PixelsError("imagecodecs cannot encode colour images of one column")
        # Samples as planes: then the encoder does not transform colours, and the photometric interpretation stays.
        planes = np.ascontiguousarray(np.moveaxis(frame, -1, 0)) if is_colour else frame
        return _encoded(lambda: codecs.htj2k_encode(planes, planar=is_colour or None, tlm=True))
    encoded = _encoded(lambda: codecs.jpeg2k_encode(frame, codecformat="j2k", reversible=True, mct=False))
    if frame.dtype.itemsize > 2 and not np.array_equal(codecs.jpeg2k_decode(encoded), frame):  # noqa: PLR2004
        raise PixelsError("JPEG 2000 cannot hold so many bits")
    return encoded


def _encoded(encode: "Callable[[], bytes]") -> bytes:
    try:
        return bytes(encode())
    except Exception as error:  # noqa: BLE001 - each codec has an error of its own
        raise PixelsError(f"the pixels cannot be encoded ({type(error).__name__})") from None


def decode(data: bytes, syntax: str, *, is_rgb: bool = False) -> "np.ndarray[Any, Any]":
    """Return a decoded frame.

    :param is_rgb: whether the file says that the samples are red, green and blue.
    :raises CodecMissingError: if ``imagecodecs`` is not installed.
    :raises PixelsError: if there is no decoder, or if the data are invalid.
    """
    codecs = require_codecs()
    if syntax not in _DECODERS:
        raise PixelsError("there is no decoder for the transfer syntax")
    options = {"planar": False} if _DECODERS[syntax] == "htj2k_decode" else {}
    if syntax in _JPEG:
        options = _jpeg_colours(data, is_rgb=is_rgb)
    try:
        frame: np.ndarray[Any, Any] = getattr(codecs, _DECODERS[syntax])(data, **options)
    except Exception as error:  # noqa: BLE001 - each codec has an error of its own
        raise PixelsError(f"the pixels cannot be decoded ({type(error).__name__})") from None
    return frame


def resolutions(frame: "np.ndarray[Any, Any]", encoded: bytes, syntax: str) -> tuple[Resolution, ...]:
    """Return the resolutions that a frame can be decoded at, from base to full. JPEG 2000: the full one only."""
    found = []
    skipped = 0
    while syntax == HTJ2K_LOSSLESS_RPCL and max(frame.shape[:2]) >> (skipped + 1) >= _SMALLEST_RESOLUTION_PIXELS:
        skipped += 1
        if skipped > _decompositions(encoded):
            break
        smaller = require_codecs().htj2k_decode(encoded, skipres=skipped, planar=False)
        found.append(_resolution(smaller))
    return (*reversed(found), _resolution(frame))


def _decompositions(encoded: bytes) -> int:
    """Return the decomposition levels that the header of a JPEG 2000 stream names (marker COD; ITU-T T.800, A.6.1)."""
    return encoded[encoded.index(b"\xff\x52") + 9]


def checksum(frame: "np.ndarray[Any, Any]") -> int:
    """Return the CRC32 of the pixels: little endian, row by row, the samples of a pixel side by side."""
    return zlib.crc32(frame.astype(frame.dtype.newbyteorder("<"), order="C", copy=False).tobytes())


def require_codecs() -> ModuleType:
    """Return ``imagecodecs``. Raise ``CodecMissingError`` if it is not installed."""
    try:
        import imagecodecs
    except ImportError:
        raise CodecMissingError from None
    return imagecodecs


def _resolution(frame: "np.ndarray[Any, Any]") -> Resolution:
    return frame.shape[1], frame.shape[0], checksum(frame)


def _jpeg_colours(data: bytes, *, is_rgb: bool) -> dict[str, Any]:
    """Return the colour arguments of the JPEG decoder: the samples as the file describes them."""
    components = _jpeg_components(data)
    if components == 1:
        return {}
    if not is_rgb:
        return {"colorspace": "YCBCR", "outcolorspace": "YCBCR"}
    # Without one of these markers, libjpeg takes three samples for YCbCr, but the file says that they are RGB.
    if b"JFIF" in data[:64] or b"Adobe" in data[:512]:
        return {}
    return {"colorspace": "RGB", "outcolorspace": "RGB"}


def _jpeg_components(data: bytes) -> int:
    """Return the number of components in the frame header (SOF) of a JPEG stream, or 1 if there is none."""
    position = 2
    while position + 9 < len(data) and data[position] == 0xFF:  # noqa: PLR2004
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:  # noqa: PLR2004
            return data[position + 9]
        position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return 1
