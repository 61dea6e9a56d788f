"""How a data store keeps the pixels of an instance: the transfer syntax, and its image frames.

Source: "Supported transfer syntaxes" and "Pixel data verification" of the AWS HealthImaging Developer Guide. Lossy
formats and videos stay as they came, binary segmentations are uncompressed, everything else is encoded without loss.
Frames are encoded when they are first asked for, not by the import.
"""

import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from threading import RLock
from typing import Any

from .image_sets import Instance
from .pixel_checks import VIDEO
from .pixel_codecs import EXPLICIT_LITTLE_ENDIAN, PixelsError, Resolution, encode, resolutions
from .pixel_source import PixelHeader, decoded_frame, decoded_frames, raw_frames

_KEPT = {
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.112",  # JPEG XL
    "1.2.840.10008.1.2.4.203",  # HTJ2K
}
_CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Frame:
    """One image frame, as the metadata describe it.

    AWS's guide says in its text that ``FrameSizeInBytes`` is the size of the decoded frame, and its example has the
    size of the encoded one. Here, it is the size of what GetImageFrame returns.

    :param values: the smallest and the largest value, or ``None`` for a frame that is kept as it came.
    :param resolutions: from base to full. The checksum of a frame that is kept as it came is that of its bytes.
    """

    frame_id: str
    size: int
    values: tuple[int, int] | None
    resolutions: tuple[Resolution, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the frame as it is in ``ImageFrames``."""
        smallest, largest = self.values or (None, None)
        return {
            "ID": self.frame_id,
            "FrameSizeInBytes": self.size,
            "MinPixelValue": smallest,
            "MaxPixelValue": largest,
            "PixelDataChecksumFromBaseToFullResolution": [
                {"Width": width, "Height": height, "Checksum": crc} for width, height, crc in self.resolutions
            ],
        }


@dataclass(frozen=True)
class StoredPixels:
    """The pixels of one instance in a data store.

    :param syntax: the transfer syntax that they are stored in.
    :param header: what the file says about them, or ``None`` if there are no frames.
    """

    syntax: str
    header: PixelHeader | None = None
    frames: tuple[Frame, ...] = ()

    @cached_property
    def index(self) -> dict[str, int]:
        """The position of each frame in the instance, by its id."""
        return {frame.frame_id: number for number, frame in enumerate(self.frames)}


class _FrameCache:
    """The frames that were encoded last, up to a number of bytes. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._frames: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._lock = RLock()

    def get(self, key: tuple[str, str]) -> bytes | None:
        with self._lock:
            if key in self._frames:
                self._frames.move_to_end(key)
            return self._frames.get(key)

    def put(self, key: tuple[str, str], data: bytes) -> None:
        with self._lock:
            self._bytes += len(data) - len(self._frames.pop(key, b""))
            self._frames[key] = data
            while self._bytes > self._max_bytes and self._frames:
                self._bytes -= len(self._frames.popitem(last=False)[1])


_cache = _FrameCache(_CACHE_BYTES)
_encoding = RLock()


def is_lossless(syntax: str) -> bool:
    """Whether pixels that are stored in the transfer syntax are not those of a lossy format."""
    return syntax not in _KEPT and not syntax.startswith(VIDEO)


def stored_syntax(instance: Instance, lossless: str, header: PixelHeader | None) -> str:
    """Return the transfer syntax that a data store keeps an instance in.

    :param lossless: the lossless format of the data store.
    """
    imported = instance.transfer_syntax
    if header is None or imported in _KEPT | {lossless} or imported.startswith(VIDEO):
        return imported
    return EXPLICIT_LITTLE_ENDIAN if header.bits_allocated == 1 else lossless


def stored_pixels(instance: Instance, lossless: str) -> StoredPixels:
    """Return how an instance is stored. If its pixels cannot be decoded, it is stored as it came, without frames.

    :param lossless: the lossless format of the data store, as a transfer syntax.
    :raises CodecMissingError: if the pixels must be encoded, and ``imagecodecs`` is not installed.
    """
    found: StoredPixels | None = instance.derived.get(lossless)
    if found is None:
        # One at a time, so that calls for the same instance do not encode it twice.
        with _encoding:
            found = instance.derived.get(lossless) or _describe(instance, lossless)
            instance.derived[lossless] = found
    return found


def frame_bytes(instance: Instance, stored: StoredPixels, index: int) -> bytes:
    """Return one stored frame."""
    key = stored.frames[index].frame_id, stored.syntax
    if (data := _cache.get(key)) is None:
        ((_, data),) = _stored_frames(instance, stored, only=index)
        _cache.put(key, data)
    return data


def _describe(instance: Instance, lossless: str) -> StoredPixels:
    as_imported = StoredPixels(instance.transfer_syntax)
    if not instance.content:
        return as_imported
    try:
        header = PixelHeader.read(instance)
        if header is None:
            return as_imported
        stored = StoredPixels(stored_syntax(instance, lossless, header), header)
        with instance.open() as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        frames = []
        for index, (decoded, data) in enumerate(_stored_frames(instance, stored)):
            frame_id = hashlib.sha256(f"{digest}/{index}".encode()).hexdigest()[:32]
            _cache.put((frame_id, stored.syntax), data)
            frames.append(_frame(frame_id, decoded, data, stored))
    except PixelsError:
        return as_imported
    return StoredPixels(stored.syntax, header, tuple(frames))


def _frame(frame_id: str, decoded: Any, data: bytes, stored: StoredPixels) -> Frame:
    if decoded is None:
        header = stored.header
        assert header  # noqa: S101 - there are frames
        return Frame(frame_id, len(data), None, ((header.columns, header.rows, zlib.crc32(data)),))
    values = int(decoded.min()), int(decoded.max())
    return Frame(frame_id, len(data), values, resolutions(decoded, data, stored.syntax))


def _stored_frames(instance: Instance, stored: StoredPixels, only: int | None = None) -> Iterator[tuple[Any, bytes]]:
    """Yield the decoded pixels and the stored bytes of each frame. A frame of a format that is kept is not decoded."""
    header = stored.header
    assert header  # noqa: S101 - there are frames
    if stored.syntax == EXPLICIT_LITTLE_ENDIAN:
        from pydicom.pixels.utils import pack_bits

        for frame in decoded_frames(instance, header, only):
            yield None, pack_bits(frame.reshape(-1))
    elif stored.syntax == instance.transfer_syntax:
        for index, data in enumerate(raw_frames(instance, header)):
            if only in {None, index}:
                yield decoded_frame(instance, header, data) if is_lossless(stored.syntax) else None, data
    else:
        for frame in decoded_frames(instance, header, only):
            yield frame, encode(frame, stored.syntax)
