"""Measures the peak memory of a search to S3, with ten thousand and with a million image sets, and of boto3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import clients
from benchmarks.process import Usage, measured
from benchmarks.report import Bar, Table, cells
from benchmarks.service import Service

FEW, MORE, MANY = 10_000, 200_000, 1_000_000
FORMATS = ("jsonl", "parquet")


def tables(service: Service, _repeat: int) -> Iterator[Table]:
    """Measure each once, because a million image sets take minutes."""
    service.limit()
    sizes = Table(
        "Memory",
        "A search to S3 with all DICOM tags, by the operator with its defaults. The peak is that of the whole client "
        "process (VmHWM), with its imports. Each row is one run. boto3 keeps all records in memory, because it writes "
        "one object, so it was not run with a million.",
        ("image sets", "by", "MB before", "MB peak", "MB more", "seconds"),
    )
    peaks: dict[tuple[str, int], float] = {}
    for image_sets in (FEW, MORE, MANY):
        for file_format in FORMATS:
            usage = _run(service, image_sets, clients.operator_to_s3, file_format)
            peaks[file_format, image_sets] = usage.peak
            sizes.rows.append(_row(image_sets, f"operator, {file_format}", usage))
        if image_sets < MANY:
            usage = _run(service, image_sets, clients.boto3_to_s3)
            peaks["boto3", image_sets] = usage.peak
            sizes.rows.append(_row(image_sets, "boto3, jsonl", usage))
    promise = Table(
        f"Memory: growth from {FEW:,} image sets",
        f"By how many MB the peak memory grows from {FEW:,} image sets to {MANY:,}. For boto3, and for the ratio, the "
        f"growth to {MORE:,} is shown.",
    )
    theirs = peaks["boto3", MORE] - peaks["boto3", FEW]
    for file_format in FORMATS:
        more, many = (peaks[file_format, image_sets] - peaks[file_format, FEW] for image_sets in (MORE, MANY))
        promise.promise(f"{file_format}, to {MANY:,}", many, None, Bar(at_most=60, unit=" MB"), judged=many, unit=" MB")
        promise.promise(f"{file_format}, to {MORE:,}", more, theirs, unit=" MB")
    yield sizes
    yield promise


def _run(service: Service, image_sets: int, side: Callable[..., Callable[[], int]], *arguments: Any) -> Usage:
    usage = measured(side, service.url, service.store(image_sets), *arguments)
    if usage.image_sets != image_sets:
        raise RuntimeError(f"found {usage.image_sets} of {image_sets} image sets")
    return usage


def _row(image_sets: int, side: str, usage: Usage) -> tuple[str, ...]:
    figures = (usage.before, usage.peak, usage.peak - usage.before, usage.seconds)
    return cells(f"{image_sets:,}", side, *(f"{figure:,.1f}" for figure in figures))
