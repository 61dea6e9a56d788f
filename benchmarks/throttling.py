"""Compares botocore's retry modes and numbers of workers at the quota. The defaults follow from these figures."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks import clients
from benchmarks.quota import BURST, CALLS_PER_SECOND, IMAGE_SETS, LATENCY, WORKERS, least_seconds, run
from benchmarks.report import Table, cells, percent
from benchmarks.service import Service

MODES = ("standard", "adaptive")
WORKER_COUNTS = (4, 8, 16)
ATTEMPTS = 10
"""The hook's default. With three attempts, which is botocore's default, boto3 would fail instead of being slow."""


def tables(service: Service, _repeat: int) -> Iterator[Table]:
    """Measure each way once, because five times would take a quarter of an hour."""
    table = Table(
        "Retry modes and workers at the quota",
        f"{IMAGE_SETS:,} image sets at {CALLS_PER_SECOND} calls a second, burst {BURST}, {LATENCY * 1000:g} ms a call; "
        f"at least {least_seconds():.1f} s are needed. The first row is the hook's default. In the mode adaptive, "
        f"botocore paces the calls; in the other rows of the hook, the hook paces them. boto3 is one paginator for "
        f"each worker, and each paginator reads an equal part of the day. This suits image sets that arrive evenly. "
        f"Each call has up to {ATTEMPTS} attempts. Each row is one run.",
        ("by", "retry mode", "workers", "seconds", "of the quota", "calls", "throttled"),
    )
    for by, mode, workers in _ways():
        result = run(
            service,
            _search(service, by, mode, workers),
            calls_per_second=CALLS_PER_SECOND,
            burst=BURST,
            latency=LATENCY,
        )
        table.rows.append(
            cells(
                by,
                mode or "default",
                workers,
                f"{result.seconds:.1f}",
                f"{percent(result.share):.1f} %",
                result.calls,
                f"{percent(result.throttled_share):.1f} %",
            )
        )
    yield table


def _ways() -> Iterator[tuple[str, str, int]]:
    yield "hook", "", WORKERS
    for by in ("hook", "boto3"):
        for mode in MODES:
            for workers in WORKER_COUNTS:
                yield by, mode, workers


def _search(service: Service, by: str, mode: str, workers: int) -> partial[Iterator[dict[str, Any]]]:
    store, connections = service.store(IMAGE_SETS), max(WORKER_COUNTS)
    if by == "hook":
        return partial(clients.searched, clients.hook(service.url, mode, connections), store, workers)
    retries = {"mode": mode, "total_max_attempts": ATTEMPTS}
    client = clients.boto3_client(service.url, retries=retries, max_pool_connections=connections)
    return partial(clients.paginated_in_parts, client, store, workers)
