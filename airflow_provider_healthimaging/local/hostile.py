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


class UnusableFileError(Exception):
    """A file without an instance that an image set could hold; the message is the reason."""


def regular_files(paths: Iterable[Path | str]) -> Iterator[tuple[Path, str | None]]:
    """Yield files, and all that is in folders, each with the reason why it must not be opened or ``None``.

    Pipes and devices never end, links may lead out of the folder that was named, or round in circles.

    :raises FileNotFoundError: for a path that does not exist.
    """
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
        if not path.is_dir():
            yield path, _refusal(path)
            continue
        inside = os.path.realpath(path)
        for each in sorted(path.rglob("*")):
            if not each.is_symlink() and each.is_dir():
                continue
            leads_out = not Path(os.path.realpath(each)).is_relative_to(inside)
            yield each, "a link out of the folder" if leads_out else _refusal(each)


def _refusal(path: Path) -> str | None:
    return None if path.is_file() else "not a regular file"


class Sparing:
    """A file to read from, up to ``LIMIT`` bytes in all.

    So neither time nor memory depends on what a file claims: a length behind its end, a sequence without end, zeros
    that were deflated a thousandfold.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Begin where ``file`` is."""
        self._file = file
        self._left = LIMIT

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes; without a size, what is left is deflated, and its beginning is returned.

        :raises UnusableFileError: for more than ``LIMIT``.
        """
        if size < 0:
            return _beginning(self._file.read(LIMIT))
        data = self._file.read(min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise UnusableFileError(_TOO_MUCH)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go on reading elsewhere."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return where reading goes on."""
        return self._file.tell()


def _beginning(deflated: bytes) -> bytes:
    """Return so much of deflated data, deflated, that it inflates to ``LIMIT`` bytes at most."""
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(deflated, LIMIT)
    stored = zlib.compressobj(0, zlib.DEFLATED, -zlib.MAX_WBITS)
    return stored.compress(inflated) + stored.flush()
