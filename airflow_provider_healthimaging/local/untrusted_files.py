"""Decides which files of unknown origin are opened, and how much of each is read, because a file may be harmful."""

import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

MAX_READ_BYTES = 4 * 2**20
"""Maximum bytes that are read from a file. The attributes before the pixels have some kilobytes, rarely a megabyte."""

_TOO_MUCH_TO_READ = f"more than {MAX_READ_BYTES // 2**20} MiB would have to be read"
TRUNCATED_FILE = "truncated"

_ATTRIBUTE_HEADER_BYTES = 8
"""Size of an attribute's header. If a read of this size returns fewer bytes, but not zero, the file is truncated."""


class UnusableFileError(Exception):
    """The file has no instance that can be loaded. The message is the reason."""


def iter_files(paths: Iterable[Path | str]) -> Iterator[tuple[Path, str | None]]:
    """Yield files and the contents of folders, each with the reason why it must not be opened, or ``None``.

    Pipes and devices have no end. Links may lead out of the folder, or in circles.

    :raises FileNotFoundError: if a path does not exist.
    """
    for path in map(Path, paths):
        if not exists(path):
            raise FileNotFoundError(f"{path} does not exist")
        yield from _walk(path)


def exists(path: Path) -> bool:
    """Whether the path exists. ``Path.exists()`` raises in a folder without permission to enter it."""
    return os.path.exists(path)  # noqa: PTH110


def unreadable_reason(error: Exception) -> str:
    """Return ``error`` as a reason to skip a file: only its type, because its text may quote the file."""
    return f"unreadable ({type(error).__name__})"


def _walk(start: Path) -> Iterator[tuple[Path, str | None]]:
    """Yield the contents of the folder ``start`` in the order of names, or ``start`` if it is a file."""
    allowed = os.path.realpath(start)
    pending = [start]
    while pending:
        path = pending.pop()
        try:
            if path.is_dir() and (path == start or not path.is_symlink()):
                pending += sorted(path.iterdir(), reverse=True)
            elif Path(os.path.realpath(path)).is_relative_to(allowed):
                yield path, None if path.is_file() else "not a regular file"
            else:
                yield path, "a link out of the folder"
        except OSError as error:
            yield path, unreadable_reason(error)


class BoundedReader:
    """Reads at most ``MAX_READ_BYTES`` of a file, so that a harmful file cannot use much time or memory.

    Examples of such files: a length behind the end of the file, a sequence without end, zeros that inflate to a
    thousand times their size. ``problem`` is the reason why the file cannot be used, if there is one. The caller
    must check it, because a parser may take a truncated file for a complete one.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Start at the position of ``file``."""
        self._file = file
        self._left = MAX_READ_BYTES
        self._size = os.fstat(file.fileno()).st_size
        self.problem: str | None = None

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes. Without a size, the rest is deflated data, and its start is returned.

        :raises UnusableFileError: after more than ``MAX_READ_BYTES`` in total.
        """
        if size < 0:
            return self._shortened_deflated(self._file.read(MAX_READ_BYTES))
        data = self._file.read(min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            self.problem = _TOO_MUCH_TO_READ
            raise UnusableFileError(_TOO_MUCH_TO_READ)
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
        """Return the start of deflated data, deflated again. It inflates to at most ``MAX_READ_BYTES``."""
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        inflated = inflater.decompress(deflated, MAX_READ_BYTES)
        if len(deflated) < MAX_READ_BYTES and len(inflated) < MAX_READ_BYTES and not inflater.eof:
            self.problem = TRUNCATED_FILE
        stored = zlib.compressobj(0, zlib.DEFLATED, -zlib.MAX_WBITS)
        return stored.compress(inflated) + stored.flush()
