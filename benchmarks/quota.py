"""Measures the speed of a search with the default quota of an AWS account, and without a quota."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from statistics import median
from typing import Any, NamedTuple

from benchmarks import clients, raw
from benchmarks.report import Bar, Table, percent
from benchmarks.service import Service

IMAGE_SETS = 20_000
PAGE = 50
CALLS_PER_SECOND = 25
BURST = 50
LATENCY = 0.1
WORKERS = 4
"""The operator's default."""

MORE_WORKERS = 8
RAW_THREADS = 64


class Run(NamedTuple):
    """One search, measured at the client and at the server."""

    seconds: float
    calls: int
    throttled: int
    server_cpu: float

    @property
    def throttled_share(self) -> float:
        """The share of all calls that were throttled."""
        return self.throttled / self.calls

    @property
    def image_sets_per_second(self) -> float:
        """The speed of a search through the data store of this module."""
        return IMAGE_SETS / self.seconds

    @property
    def share(self) -> float:
        """The speed as a share of what the quota allows."""
        return least_seconds() / self.seconds


def least_seconds() -> float:
    """Return the shortest time in seconds in which the quota allows all calls of the search."""
    return (IMAGE_SETS / PAGE - BURST) / CALLS_PER_SECOND


def run(service: Service, search: Callable[[], Iterable[dict[str, Any]]], **limits: Any) -> Run:
    """Start a search with a quota and a latency, and read it to its end."""
    service.limit(**limits)
    cpu, started = service.cpu(), time.perf_counter()
    count = clients.written(search())
    seconds = time.perf_counter() - started
    if count != IMAGE_SETS:
        raise RuntimeError(f"found {count} of {IMAGE_SETS} image sets")
    calls = service.calls()
    return Run(seconds, calls.all, calls.throttled, service.cpu() - cpu)


def tables(service: Service, repeat: int) -> Iterator[Table]:
    """Measure the sides alternately, ``repeat`` times."""
    store = service.store(IMAGE_SETS)
    client = clients.boto3_client(service.url)

    def searched(workers: int) -> Callable[[], Iterable[dict[str, Any]]]:
        # Each run has a new hook, as each task has. So no run starts with a rate that an earlier run measured.
        return partial(clients.searched, clients.hook(service.url), store, workers)

    quota = {"calls_per_second": CALLS_PER_SECOND, "burst": BURST, "latency": LATENCY}
    ours, theirs, unlimited = [], [], []
    for _ in range(repeat):
        theirs.append(run(service, partial(clients.paginated, client, store), **quota))
        ours.append(run(service, searched(WORKERS), **quota))
        unlimited.append(run(service, searched(MORE_WORKERS), latency=LATENCY))
    yield _with_quota(ours, theirs)
    service.limit(latency=LATENCY)
    yield _without_quota(unlimited, theirs, raw.calls_per_second(service.url, store, RAW_THREADS))


def _with_quota(ours: list[Run], theirs: list[Run]) -> Table:
    table = Table(
        f"At the quota: {CALLS_PER_SECOND} calls a second, burst {BURST}, {LATENCY * 1000:g} ms a call",
        f"{IMAGE_SETS:,} image sets, evenly over a day. The hook reads with {WORKERS} workers, which is the operator's "
        f"default. With this quota, the search takes at least {least_seconds():.1f} s. Ours took {_each(ours)} s, "
        f"boto3 took {_each(theirs)} s. Throttled calls are counted at the server.",
    )
    table.promise(
        "image sets a second",
        _median(ours, "image_sets_per_second"),
        _median(theirs, "image_sets_per_second"),
        Bar(at_least=2.8, of="ratio"),
        digits=0,
    )
    for figure, name, bar in (
        ("share of the quota", "share", Bar(at_least=95, unit=" %")),
        ("calls throttled", "throttled_share", Bar(at_most=5, unit=" %")),
    ):
        share = percent(_median(ours, name))
        table.promise(figure, share, percent(_median(theirs, name)), bar, judged=share, unit=" %")
    return table


def _without_quota(ours: list[Run], theirs: list[Run], ceiling: float) -> Table:
    throttled = sum(each.throttled for each in theirs)
    table = Table(
        f"Without a quota: {LATENCY * 1000:g} ms a call, {MORE_WORKERS} workers",
        f"{IMAGE_SETS:,} image sets as above. Ours took {_each(ours)} s, and the server used "
        f"{percent(median(each.server_cpu / each.seconds for each in ours)):.0f} % of one core. boto3's runs are those "
        f"of the table above, in which {throttled} of its calls were throttled. To show whether the "
        f"server is the limit, {RAW_THREADS} threads of raw HTTP read the same pages with the same latency.",
    )
    table.promise(
        "image sets a second",
        _median(ours, "image_sets_per_second"),
        _median(theirs, "image_sets_per_second"),
        Bar(at_least=6, of="ratio"),
        digits=0,
    )
    calls = median(each.calls / each.seconds for each in ours)
    table.promise(
        f"calls a second; raw HTTP got {ceiling:,.0f}",
        calls,
        median(each.calls / each.seconds for each in theirs),
        Bar(at_least=2, of="raw HTTP / ours"),
        judged=ceiling / calls,
    )
    return table


def _median(runs: list[Run], name: str) -> float:
    return float(median(getattr(each, name) for each in runs))


def _each(runs: list[Run]) -> str:
    return ", ".join(f"{seconds:.1f}" for seconds in sorted(each.seconds for each in runs))
