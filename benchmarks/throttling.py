"""Which of botocore's retry modes, with how many workers, serves best at the quota: the reason for the defaults."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks import clients
from benchmarks.quota import BURST, CALLS_PER_SECOND, IMAGE_SETS, LATENCY, WORKERS, least_seconds, run
from benchmarks.report import Table, cells, percent
from benchmarks.service import Service

MODES = ("standard", "adaptive")
WORKER_COUNTS = (4, 8, 16)


def tables(service: Service, _repeat: int) -> Iterator[Table]:
    """Measure each way once: five times would be ten minutes."""
    table = Table(
        "Retry modes and workers at the quota",
        f"{IMAGE_SETS:,} image sets at {CALLS_PER_SECOND} calls a second, burst {BURST}, {LATENCY * 1000:g} ms a call, "
        f"by the hook; {least_seconds():.1f} s is the least possible. One run each.",
        ("retries", "workers", "seconds", "of the quota", "calls", "throttled"),
    )
    store = service.store(IMAGE_SETS)
    ways = [(None, WORKERS), *((mode, workers) for mode in MODES for workers in WORKER_COUNTS)]
    for mode, workers in ways:
        hook = clients.hook(service.url, mode, connections=max(WORKER_COUNTS))
        result = run(
            service,
            partial(clients.searched, hook, store, workers),
            calls_per_second=CALLS_PER_SECOND,
            burst=BURST,
            latency=LATENCY,
        )
        table.rows.append(
            cells(
                mode or "the hook's own",
                workers,
                f"{result.seconds:.1f}",
                f"{percent(result.share):.1f} %",
                result.calls,
                f"{percent(result.throttled_share):.1f} %",
            )
        )
    yield table
