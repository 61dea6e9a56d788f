"""Files that someone else made, and may have made to harm: which are opened, and how much of one is read.

It knows files and folders, and of DICOM only that a deflated file is read as a whole.
"""

import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

# What comes before the pixels is a few kilobytes, in odd files a megabyte.
LIMIT = 4 * 2**20

_TOO_MUCH = f"more than {LIMIT // 2**20} MiB would have to be read"
CUT_SHORT = "cut short"

# Bytes that say what the next attribute is: none of them at the end of a file, but not some.
_HEAD = 8


class UnusableFileError(Exception):
    """A file without an instance that an image set could hold; the message is the reason."""


def regular_files(paths: Iterable[Path | str]) -> Iterator[tuple[Path, str | None]]:
    """Yield files, and all that is in folders, each with the reason why it must not be opened or ``None``.

    Pipes and devices never end, links may lead out of the folder that was named, or round in circles.

    :raises FileNotFoundError: for a path that does not exist.
    """
    for path in map(Path, paths):
        if not exists(path):
            raise FileNotFoundError(f"{path} does not exist")
        yield from _walk(path)


def exists(path: Path) -> bool:
    """Whether there is something, and one may know: ``Path.exists()`` raises in a folder that may not be entered."""
    return os.path.exists(path)  # noqa: PTH110


def unreadable(error: Exception) -> str:
    """Return the reason that ``error`` is; its kind only, as its text may quote the file."""
    return f"unreadable ({type(error).__name__})"


def _walk(named: Path) -> Iterator[tuple[Path, str | None]]:
    """Yield what is in the folder that was named, in the order of names; a file by itself."""
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
            yield path, unreadable(error)


class Sparing:
    """A file to read from, up to ``LIMIT`` bytes in all.

    So neither time nor memory depends on what a file claims: a length behind its end, a sequence without end, zeros
    that were deflated a thousandfold. ``problem`` is why it cannot be used, if that was seen: whoever reads may take
    an end for the end, and an error for another.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Begin where ``file`` is."""
        self._file = file
        self._left = LIMIT
        self._size = os.fstat(file.fileno()).st_size
        self.problem: str | None = None

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes; without a size, what is left is deflated, and its beginning is returned.

        :raises UnusableFileError: for more than ``LIMIT``.
        """
        if size < 0:
            return self._beginning(self._file.read(LIMIT))
        data = self._file.read(min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            self.problem = _TOO_MUCH
            raise UnusableFileError(_TOO_MUCH)
        if size == _HEAD and 0 < len(data) < size:
            self.problem = CUT_SHORT
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go on reading elsewhere; behind the end is where what is passed over would have ended."""
        place = self._file.seek(offset, whence)
        if place > self._size:
            self.problem = CUT_SHORT
        return place

    def tell(self) -> int:
        """Return where reading goes on."""
        return self._file.tell()

    def _beginning(self, deflated: bytes) -> bytes:
        """Return so much of deflated data, deflated, that it inflates to ``LIMIT`` bytes at most."""
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        inflated = inflater.decompress(deflated, LIMIT)
        if len(deflated) < LIMIT and len(inflated) < LIMIT and not inflater.eof:
            self.problem = CUT_SHORT
        stored = zlib.compressobj(0, zlib.DEFLATED, -zlib.MAX_WBITS)
        return stored.compress(inflated) + stored.flush()
