"""Suppresses what pydicom says about a file, because it quotes values from the file."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

_lock = RLock()


@contextmanager
def silenced_pydicom() -> Iterator[None]:
    """Suppress pydicom's warnings and log lines in the block."""
    logger = logging.getLogger("pydicom")
    # Filters of warnings belong to the process, so one thread changes them at a time.
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level = logger.level
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)
