"""Measures the client's CPU per image set, for a search to XCom and to gzipped JSON Lines in S3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

from benchmarks import clients
from benchmarks.process import measured
from benchmarks.report import Bar, Table
from benchmarks.service import Service

SAMPLE = 20_000
MANY = 200_000
WARM_UP = 50

OUTPUTS: dict[str, tuple[Callable[..., Callable[[], int]], Callable[..., Callable[[], int]]]] = {
    "to XCom": (clients.operator_to_xcom, clients.boto3_to_xcom),
    "to S3": (clients.operator_to_s3, clients.boto3_to_s3),
}


def tables(service: Service, repeat: int) -> Iterator[Table]:
    """Measure the two sides alternately."""
    table = Table(
        "CPU",
        f"Microseconds of CPU per image set, of all threads of the client's process. A first run with {WARM_UP} image "
        f"sets does the imports and does not count. The server's CPU does not count. Ours is the operator with its "
        f"defaults and all DICOM tags. boto3 keeps the records in memory, and writes one object. Both use gzip level "
        f"6. Medians of {repeat} runs with {SAMPLE:,} image sets, and one run with {MANY:,}.",
    )
    service.limit()
    for image_sets, times in ((SAMPLE, repeat), (MANY, 1)):
        for output, sides in OUTPUTS.items():
            ours, theirs = _alternately(service, sides, image_sets, times)
            table.promise(f"{output}, {image_sets:,} image sets", ours, theirs, Bar(at_most=1, of="ratio"), unit=" µs")
    yield table


def _alternately(
    service: Service, sides: tuple[Callable[..., Any], Callable[..., Any]], image_sets: int, times: int
) -> list[float]:
    """Return the median of each side."""
    found: list[list[float]] = [[] for _ in sides]
    for _ in range(times):
        for side, seen in zip(sides, found, strict=True):
            usage = measured(
                side, service.url, service.store(image_sets), warm_up=(service.url, service.store(WARM_UP))
            )
            if usage.image_sets != image_sets:
                raise RuntimeError(f"found {usage.image_sets} of {image_sets} image sets")
            seen.append(1e6 * usage.cpu / usage.image_sets)
    return [median(seen) for seen in found]
