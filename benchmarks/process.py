"""Runs a function in a new process, and measures its seconds, CPU and memory."""

from __future__ import annotations

import multiprocessing
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


class Usage(NamedTuple):
    """What a run used.

    :param image_sets: the number of image sets, as the run returned it.
    :param seconds: elapsed time.
    :param cpu: seconds of CPU of the whole process, with its threads.
    :param before: the peak memory of the process before the run, in MB.
    :param peak: the peak memory after the run, in MB.
    """

    image_sets: int
    seconds: float
    cpu: float
    before: float
    peak: float


def measured(
    prepare: Callable[..., Callable[[], int]], *arguments: Any, warm_up: tuple[Any, ...] | None = None
) -> Usage:
    """Call ``prepare(*arguments)`` in a new process, and measure the function that it returns.

    :param warm_up: arguments of a small run before it. It does what only the first run does: imports, connections.
    """
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_measure, args=(theirs, prepare, arguments, warm_up))
    process.start()
    theirs.close()
    try:
        usage: Usage = ours.recv()
    except EOFError:
        raise RuntimeError(f"{prepare.__name__} ended without a result; see above.") from None
    finally:
        process.join()
    return usage


def _measure(
    pipe: Connection,
    prepare: Callable[..., Callable[[], int]],
    arguments: tuple[Any, ...],
    warm_up: tuple[Any, ...] | None,
) -> None:
    if warm_up:
        prepare(*warm_up)()
    run = prepare(*arguments)
    before, started, cpu = _peak(), time.perf_counter(), time.process_time()
    image_sets = run()
    pipe.send(Usage(image_sets, time.perf_counter() - started, time.process_time() - cpu, before, _peak()))


def _peak() -> float:
    # The kernel's ru_maxrss would include the memory that the parent had when it started this process.
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    if not found:
        raise RuntimeError("no VmHWM in /proc/self/status: memory is measured on Linux only")
    return int(found[1]) * 1024 / 1e6
