"""Whole DICOM files (Part 10): as they are stored, or in Explicit VR Little Endian.

A file that is stored as it was imported is returned byte by byte. Otherwise it is written again: the same attributes,
with the pixels in another transfer syntax.
"""

from array import array
from io import BytesIO
from typing import TYPE_CHECKING, Any

from .image_sets import Instance
from .pixel_checks import DEFLATED
from .pixel_codecs import EXPLICIT_LITTLE_ENDIAN, PixelsError
from .pixel_source import BIG_ENDIAN, decoded_frames, read_dataset
from .pydicom_silence import silenced_pydicom
from .stored_pixels import StoredPixels, frame_bytes

if TYPE_CHECKING:
    from pydicom import Dataset

_PIXEL_DATA = 0x7FE00010
_OFFSET_TABLES = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
_IMPLICIT = "1.2.840.10008.1.2"
_WORDS = {"OW": "H", "OF": "I", "OL": "I", "OD": "Q", "OV": "Q"}
"""The VRs with words of several bytes, which pydicom does not convert from big endian."""

_DECODED_PHOTOMETRIC = {"YBR_RCT": "RGB", "YBR_ICT": "RGB", "YBR_FULL_422": "YBR_FULL"}
"""The colours of decoded pixels, if they differ: the decoder undid the transformation, or the subsampling."""


def part10_file(instance: Instance, stored: StoredPixels, syntax: str) -> bytes:
    """Return the file of an instance.

    :param syntax: the stored transfer syntax, or Explicit VR Little Endian.
    :raises CodecMissingError: if the pixels must be decoded, and ``imagecodecs`` is not installed.
    :raises PixelsError: if the file cannot be written in ``syntax``.
    """
    if syntax == instance.transfer_syntax:
        with instance.open() as file:
            return file.read()
    if stored.header is None and instance.is_encapsulated and instance.transfer_syntax != DEFLATED:
        raise PixelsError("the pixels cannot be decoded")
    pixels = _pixels(instance, stored, syntax)
    with silenced_pydicom():
        dataset = read_dataset(instance)
        try:
            return _written(dataset, instance, stored, syntax, pixels)
        except Exception as error:  # noqa: BLE001 - for a broken value, pydicom may raise any exception
            raise PixelsError(f"the file cannot be written ({type(error).__name__})") from None


def _pixels(instance: Instance, stored: StoredPixels, syntax: str) -> bytes | None:
    """Return the value of the pixel data, or ``None`` if it does not change."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels.utils import pack_bits

    if stored.header is None:
        return None
    if syntax != EXPLICIT_LITTLE_ENDIAN:
        return encapsulate([frame_bytes(instance, stored, index) for index in range(len(stored.frames))])
    frames = decoded_frames(instance, stored.header)
    if stored.header.bits_allocated == 1:
        import numpy as np

        return pack_bits(np.concatenate([frame.reshape(-1) for frame in frames]))
    pixels = b"".join(frame.tobytes() for frame in frames)
    return pixels + b"\0" * (len(pixels) % 2)


def _written(dataset: "Dataset", instance: Instance, stored: StoredPixels, syntax: str, pixels: bytes | None) -> bytes:
    from pydicom.dataelem import DataElement
    from pydicom.uid import UID

    is_big_endian = instance.transfer_syntax == BIG_ENDIAN
    # Without VRs, although the transfer syntax says that the file has them.
    elements: list[Any] = [dataset.get_item(tag) for tag in list(dataset.keys())]
    is_mislabelled = instance.transfer_syntax != _IMPLICIT and any(element.VR is None for element in elements)
    if is_big_endian or is_mislabelled:
        dataset = _decoded_copy(dataset, swap_words=is_big_endian)
    if stored.header and pixels is not None:
        compressed = syntax != EXPLICIT_LITTLE_ENDIAN
        vr = "OW" if stored.header.bits_allocated > 8 and not compressed else "OB"  # noqa: PLR2004 - bits of a byte
        dataset.add(DataElement(_PIXEL_DATA, vr, pixels, already_converted=True))
        dataset[_PIXEL_DATA].is_undefined_length = compressed
        dataset.PhotometricInterpretation = _DECODED_PHOTOMETRIC.get(
            stored.header.photometric, stored.header.photometric
        )
        if stored.header.samples > 1:
            dataset.PlanarConfiguration = 0
        for keyword in _OFFSET_TABLES:
            if keyword in dataset:
                delattr(dataset, keyword)
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    file = BytesIO()
    dataset.save_as(file, implicit_vr=False, little_endian=True, enforce_file_format=False)
    return file.getvalue()


def _decoded_copy(dataset: "Dataset", *, swap_words: bool) -> "Dataset":
    """Return a new dataset without raw elements. pydicom would write those in the encoding of their file."""
    from pydicom.dataset import FileDataset

    for element in dataset.iterall():  # This also decodes all elements.
        value: Any = element.value
        if swap_words and element.VR in _WORDS and isinstance(value, bytes):
            words = array(_WORDS[element.VR], value)
            words.byteswap()
            element.value = words.tobytes()
    return FileDataset("", dict(dataset), preamble=b"\0" * 128, file_meta=dataset.file_meta, is_little_endian=True)
