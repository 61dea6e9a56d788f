"""The port that the documentation names, for one test at a time of all that run on this machine."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def port_of_the_documentation() -> Iterator[None]:
    """Wait until no other test has port 5000, and keep it."""
    with Path(tempfile.gettempdir(), "healthimaging-port-5000.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
