"""Decides which files of unknown origin are opened, and how much of each is read: they may be made to do harm."""

import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

LIMIT = 4 * 2**20
"""The most bytes that are read of a file. The attributes before the pixels have some kilobytes, rarely a megabyte."""

_TOO_MUCH = f"more than {LIMIT // 2**20} MiB would have to be read"
TRUNCATED_FILE = "truncated"

_ATTRIBUTE_HEADER_BYTES = 8
"""At the end of a whole file there are none of these bytes; some of them mean that the file is truncated."""


class UnusableFileError(Exception):
    """The file has no instance that can be loaded; the message is the reason."""


def iter_files(paths: Iterable[Path | str]) -> Iterator[tuple[Path, str | None]]:
    """Yield files and the contents of folders, each with the reason why it must not be opened, or ``None``.

    Pipes and devices have no end. Links may lead out of the folder, or in circles.

    :raises FileNotFoundError: for a path that does not exist.
    """
    for path in map(Path, paths):
        if not exists(path):
            raise FileNotFoundError(f"{path} does not exist")
        yield from _walk(path)


def exists(path: Path) -> bool:
    """Whether the path exists. ``Path.exists()`` raises in a folder without permission to enter it."""
    return os.path.exists(path)  # noqa: PTH110


def unreadable_reason(error: Exception) -> str:
    """Return ``error`` as a reason to skip a file: its type only, because its text may quote the file."""
    return f"unreadable ({type(error).__name__})"


def _walk(named: Path) -> Iterator[tuple[Path, str | None]]:
    """Yield the contents of a folder in the order of names, or the file itself."""
    inside = os.path.realpath(named)
    ahead = [named]
    while ahead:
        path = ahead.pop()
        try:
            if path.is_dir() and (path == named or not path.is_symlink()):
                ahead += sorted(path.iterdir(), reverse=True)
            elif Path(os.path.realpath(path)).is_relative_to(inside):
                yield path, None if path.is_file() else "not a regular file"
            else:
                yield path, "a link out of the folder"
        except OSError as error:
            yield path, unreadable_reason(error)


class BoundedReader:
    """Reads at most ``LIMIT`` bytes of a file.

    So time and memory do not depend on what a file claims: a length behind its end, a sequence without end, zeros that
    were deflated a thousandfold. ``problem`` is the reason why the file cannot be used, if there is one. The caller
    must check it, because a parser may take a truncated file for a complete one.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Start at the position of ``file``."""
        self._file = file
        self._left = LIMIT
        self._size = os.fstat(file.fileno()).st_size
        self.problem: str | None = None

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes. Without a size, the rest is deflated data, and its start is returned.

        :raises UnusableFileError: for more than ``LIMIT`` bytes in all.
        """
        if size < 0:
            return self._beginning(self._file.read(LIMIT))
        data = self._file.read(min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            self.problem = _TOO_MUCH
            raise UnusableFileError(_TOO_MUCH)
        if size == _ATTRIBUTE_HEADER_BYTES and 0 < len(data) < size:
            self.problem = TRUNCATED_FILE
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Continue at another position. A position behind the end means that the file is truncated."""
        place = self._file.seek(offset, whence)
        if place > self._size:
            self.problem = TRUNCATED_FILE
        return place

    def tell(self) -> int:
        """Return the current position."""
        return self._file.tell()

    def _beginning(self, deflated: bytes) -> bytes:
        """Return the start of deflated data, deflated again, so that it inflates to at most ``LIMIT`` bytes."""
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        inflated = inflater.decompress(deflated, LIMIT)
        if len(deflated) < LIMIT and len(inflated) < LIMIT and not inflater.eof:
            self.problem = TRUNCATED_FILE
        stored = zlib.compressobj(0, zlib.DEFLATED, -zlib.MAX_WBITS)
        return stored.compress(inflated) + stored.flush()
