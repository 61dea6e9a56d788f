"""The frames of a DICOM file as it was imported: as they are in the file, or decoded.

The file may be harmful, so its sizes are checked before it is read as a whole.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from .image_sets import Instance
from .pixel_checks import DEFLATED, VIDEO, read_until_pixels
from .pixel_codecs import PixelsError, decode, require_codecs
from .pydicom_silence import silenced_pydicom
from .untrusted_content import MAX_HEADER_BYTES, BoundedReader

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset

T = TypeVar("T")

BIG_ENDIAN = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
_MAX_FRAME_BYTES = 2**31
_MAX_INFLATED_BYTES = 2**30
_MAX_FILE_BYTES = 2**40


@dataclass(frozen=True)
class PixelHeader:
    """What a file says about its pixels.

    :param start: where the first fragment is in the file, if the pixels are encapsulated.
    """

    start: int
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    is_signed: bool
    photometric: str
    frames: int

    @classmethod
    def read(cls, instance: Instance) -> Self | None:
        """Return the header of an instance, or ``None`` if it has no integer pixel data.

        :raises PixelsError: if it contradicts itself, or if an attribute is missing.
        """
        reached: list[Any] = []
        try:
            with silenced_pydicom(), instance.open() as file:
                dataset = read_until_pixels(BoundedReader(file, MAX_HEADER_BYTES), reached)
                return cls._of(dataset, reached[0].start) if reached else None
        except Exception as error:  # noqa: BLE001 - for a broken file, pydicom may raise any exception
            raise PixelsError(f"the pixels cannot be described ({type(error).__name__})") from None

    @classmethod
    def _of(cls, dataset: "Dataset", start: int) -> Self:
        header = cls(
            start,
            int(dataset.Rows),
            int(dataset.Columns),
            int(dataset.SamplesPerPixel),
            int(dataset.BitsAllocated),
            int(dataset.get("BitsStored") or dataset.BitsAllocated),
            bool(dataset.get("PixelRepresentation")),
            str(dataset.PhotometricInterpretation),
            int(dataset.get("NumberOfFrames") or 1),
        )
        size = header.rows * header.columns * header.samples * header.bits_allocated // 8
        if not 0 < size <= _MAX_FRAME_BYTES or header.frames < 1:
            raise PixelsError("the size of the frames is not valid")
        return header


def raw_frames(instance: Instance, header: PixelHeader) -> Iterator[bytes]:
    """Yield the encapsulated frames as they are in the file. A video is one frame."""
    from pydicom.encaps import generate_frames

    count = 1 if instance.transfer_syntax.startswith(VIDEO) else header.frames
    with instance.open() as file:
        file.seek(header.start)
        frames = _each(generate_frames(file, number_of_frames=count))
        for _ in range(count):
            if (frame := next(frames, None)) is None:
                raise PixelsError("the file has too few frames")
            yield frame


def decoded_frames(
    instance: Instance, header: PixelHeader, only: int | None = None
) -> "Iterator[np.ndarray[Any, Any]]":
    """Yield the decoded frames in the sample type of the file, or the frame with the index ``only``.

    :raises CodecMissingError: if ``imagecodecs`` is not installed.
    :raises PixelsError: if they cannot be decoded.
    """
    require_codecs()
    if header.bits_allocated == 1 and not instance.is_encapsulated:
        yield from _single_bits(instance, header, only)
        return
    if not instance.is_encapsulated or instance.transfer_syntax == RLE:
        yield from _decoded_by_pydicom(instance, only)
        return
    for index, data in enumerate(raw_frames(instance, header)):
        if only in {None, index}:
            yield decoded_frame(instance, header, data)


def decoded_frame(instance: Instance, header: PixelHeader, data: bytes) -> "np.ndarray[Any, Any]":
    """Return an encapsulated frame decoded.

    :param data: the frame as it is in the file.
    """
    frame = decode(data, instance.transfer_syntax, is_rgb=header.photometric == "RGB")
    return _as_described(frame, header)


def _decoded_by_pydicom(instance: Instance, only: int | None) -> "Iterator[np.ndarray[Any, Any]]":
    from pydicom.pixels.utils import iter_pixels

    with instance.open() as file:
        source: Any = file
        if instance.transfer_syntax == DEFLATED:
            with silenced_pydicom():
                source = read_dataset(instance)
        # Closed before the file, because it seeks in it at its end.
        with closing(iter_pixels(source, raw=True, indices=None if only is None else [only])) as frames:  # type: ignore[type-var]
            for frame in _each(frames):
                yield frame.astype(frame.dtype.newbyteorder("<"), copy=False)


def _each(frames: Iterator[T]) -> Iterator[T]:
    """Yield what pydicom's iterator yields."""
    while True:
        try:
            with silenced_pydicom():
                frame = next(frames, None)
        except Exception as error:  # noqa: BLE001 - for a broken file, pydicom may raise any exception
            raise PixelsError(f"the pixels cannot be decoded ({type(error).__name__})") from None
        if frame is None:
            return
        yield frame


def _single_bits(instance: Instance, header: PixelHeader, only: int | None) -> "Iterator[np.ndarray[Any, Any]]":
    """Yield frames of single bits. A frame need not start at a byte, which pydicom does not support."""
    import numpy as np

    with silenced_pydicom():
        element = read_dataset(instance)["PixelData"]
        data = np.frombuffer(element.value, np.uint8)
        if instance.transfer_syntax == BIG_ENDIAN and element.VR == "OW":
            data = data[: len(data) // 2 * 2].view(np.uint16).byteswap().view(np.uint8)
    shape = (header.frames, header.rows, header.columns, *([header.samples] if header.samples > 1 else []))
    if len(data) * 8 < np.prod(shape):
        raise PixelsError("the file has too few frames")
    frames = np.unpackbits(data, count=int(np.prod(shape)), bitorder="little").reshape(shape)
    yield from frames if only is None else frames[only : only + 1]


def read_dataset(instance: Instance) -> "Dataset":
    """Return the whole file. The caller silences pydicom.

    :raises PixelsError: if pydicom cannot read it, or if it inflates to more than a gibibyte.
    """
    from pydicom import dcmread

    deflated = instance.transfer_syntax == DEFLATED
    with instance.open() as file:
        reader = BoundedReader(file, _MAX_INFLATED_BYTES if deflated else _MAX_FILE_BYTES)
        try:
            dataset = dcmread(reader)
        except Exception as error:  # noqa: BLE001 - for a broken file, pydicom may raise any exception
            raise PixelsError(f"the file cannot be read ({type(error).__name__})") from None
        if reader.problem:
            raise PixelsError(f"the file cannot be read ({reader.problem})")
        return dataset


def _as_described(frame: "np.ndarray[Any, Any]", header: PixelHeader) -> "np.ndarray[Any, Any]":
    """Return a frame with the sample type that the file describes. A decoder may give another one."""
    import numpy as np

    shape = (header.rows, header.columns, *([header.samples] if header.samples > 1 else []))
    if frame.shape != shape:
        raise PixelsError("the pixels have another size than the file says")
    if header.bits_allocated not in {8, 16, 32}:
        raise PixelsError(f"samples of {header.bits_allocated} bits are not supported")
    kind = np.dtype(f"{'i' if header.is_signed else 'u'}{header.bits_allocated // 8}")
    if frame.dtype.itemsize > kind.itemsize and frame.max() >= 1 << header.bits_allocated:
        raise PixelsError("the pixels have more bits than the file says")
    if header.is_signed and frame.dtype.kind == "u":
        # The sign bit is the highest of those that are stored.
        unused = header.bits_allocated - header.bits_stored
        return (frame.astype(kind) << unused) >> unused
    return frame.astype(kind, copy=False)
