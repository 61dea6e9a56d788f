"""Decides which files on disk are opened, because a folder of unknown origin may be harmful."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from moto.medicalimaging.untrusted_content import unreadable_reason


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
