"""Limits how much of a file of unknown origin is read, because the file may be harmful."""

import os
import zlib
from typing import BinaryIO

MAX_READ_BYTES = 4 * 2**20
"""Maximum bytes that are read from a file to import it: its first attributes, which have some kilobytes."""

MAX_HEADER_BYTES = 64 * 2**20
"""Maximum bytes that are read from a file before its pixels. A file of many frames has some kilobytes for each."""

TRUNCATED_FILE = "truncated"

_ATTRIBUTE_HEADER_BYTES = 8
"""Size of an attribute's header. If a read of this size returns fewer bytes, but not zero, the file is truncated."""


class UnusableFileError(Exception):
    """The file has no instance that can be imported. The message is the reason, without anything from the file.

    ``quoted`` is the reason with the value that is invalid, as the service writes it. It may be patient data.
    """

    def __init__(self, reason: str, value: str | None = None) -> None:
        """Create the error.

        :param value: the invalid value in the file.
        """
        super().__init__(reason)
        self.quoted = reason if value is None else f"{reason}: {value}"


def unreadable_reason(error: Exception) -> str:
    """Return ``error`` as a reason to skip a file: only its type, because its text may quote the file."""
    return f"unreadable ({type(error).__name__})"


class BoundedReader:
    """Reads a limited part of a file, so that a harmful file cannot use much time or memory.

    Examples of such files: a length behind the end of the file, a sequence without end, zeros that inflate to a
    thousand times their size. ``problem`` is the reason why the file cannot be used, if there is one. The caller
    must check it, because a parser may take a truncated file for a complete one.
    """

    def __init__(self, file: BinaryIO, limit: int = MAX_READ_BYTES) -> None:
        """Start at the beginning of ``file``.

        :param limit: maximum bytes that are read from it.
        """
        self._file = file
        self._left = self._limit = limit
        self._size = file.seek(0, os.SEEK_END)
        file.seek(0)
        self.problem: str | None = None

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes. Without a size, the rest is deflated data, and its start is returned.

        :raises UnusableFileError: after more bytes in total than the limit.
        """
        if size < 0:
            return self._shortened_deflated(self._file.read(self._limit))
        data = self._file.read(min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            self.problem = f"more than {self._limit // 2**20} MiB would have to be read"
            raise UnusableFileError(self.problem)
        if size == _ATTRIBUTE_HEADER_BYTES and 0 < len(data) < size:
            self.problem = TRUNCATED_FILE
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Continue at another position. A position behind the end means that the file is truncated."""
        position = self._file.seek(offset, whence)
        if position > self._size:
            self.problem = TRUNCATED_FILE
        return position

    def tell(self) -> int:
        """Return the current position."""
        return self._file.tell()

    def _shortened_deflated(self, deflated: bytes) -> bytes:
        """Return the start of deflated data, deflated again. It inflates to no more than the limit."""
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        inflated = inflater.decompress(deflated, self._limit)
        if len(deflated) < self._limit and len(inflated) < self._limit and not inflater.eof:
            self.problem = TRUNCATED_FILE
        stored = zlib.compressobj(0, zlib.DEFLATED, -zlib.MAX_WBITS)
        return stored.compress(inflated) + stored.flush()
