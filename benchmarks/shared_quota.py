"""Measures many tasks that share one quota. Each task is a process with a client of its own, as in Airflow."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import clients
from benchmarks.data import END, START
from benchmarks.quota import BURST, CALLS_PER_SECOND, IMAGE_SETS, LATENCY, PAGE
from benchmarks.report import Bar, Table, cells, percent
from benchmarks.service import Service

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

ATTEMPTS = 10

OURS = "this package"
WAYS = {
    OURS: ("hook", ""),
    "this package, botocore adaptive": ("hook", "adaptive"),
    "paginators, botocore standard": ("boto3", "standard"),
    "paginators, botocore adaptive": ("boto3", "adaptive"),
}


HEADER = ("tasks x workers", "by", "seconds", "of the quota", "throttled", "slowest / fastest", "target", "met")


class Case(NamedTuple):
    """One way in which tasks share a quota.

    :param calls_per_second: the quota; ``None`` for no quota.
    :param others: calls per second of other users of the account.
    :param throttle_rate: the share of calls that are throttled whatever their rate.
    :param at_least: the share of the free quota to reach, in %.
    :param at_most: the share of calls that may be throttled, in %.
    """

    tasks: int
    workers: int
    calls_per_second: float | None = CALLS_PER_SECOND
    others: float = 0.0
    throttle_rate: float = 0.0
    at_least: float | None = None
    at_most: float | None = None

    def least_seconds(self) -> float:
        """Return the shortest time in which the quota allows all calls."""
        return (IMAGE_SETS / PAGE - BURST) / (CALLS_PER_SECOND - self.others)

    def __str__(self) -> str:
        return f"{self.tasks} x {self.workers}"


SHARED = (
    Case(1, 4, at_least=96, at_most=3),
    Case(4, 2, at_least=92, at_most=8),
    Case(4, 4, at_least=92, at_most=8),
    Case(8, 2, at_least=92, at_most=8),
)
HALF = (Case(1, 4, others=12.5, at_least=88), Case(4, 4, others=12.5, at_least=88))
RANDOM = tuple(Case(1, 4, calls_per_second=None, throttle_rate=rate) for rate in (0.0, 0.05, 0.1))


class Run(NamedTuple):
    """One run of all tasks.

    :param seconds: how long each task took.
    """

    seconds: list[float]
    calls: int
    throttled: int

    @property
    def spread(self) -> float:
        """The slowest task beside the fastest."""
        return max(self.seconds) / min(self.seconds)


def tables(service: Service, repeat: int) -> Iterator[Table]:
    """Measure all ways side by side, ``repeat`` times."""
    with _fleet(service, max(case.tasks for case in SHARED)) as tasks:

        def table(title: str, text: str, cases: Iterable[Case], ways: Iterable[str]) -> Table:
            made = Table(title, f"{text} Each row is a median of {repeat} runs.", HEADER)
            for case in cases:
                runs: dict[str, list[Run]] = {way: [] for way in ways}
                for _ in range(repeat):
                    for way, done in runs.items():
                        done.append(_run(case, way, tasks, service))
                made.rows += [_row(case, way, done) for way, done in runs.items()]
            return made

        yield table(
            "Many tasks, one quota",
            "Each task is a process of its own, reads an equal part of the image sets, and has so many worker threads. "
            f"All start at the same moment, with a full bucket. {IMAGE_SETS:,} image sets in all, {CALLS_PER_SECOND} "
            f"calls a second, burst {BURST}, {LATENCY * 1000:g} ms a call.",
            SHARED,
            WAYS,
        )
        yield table(
            "Many tasks, and somebody else uses half of the quota",
            "As above, but another user of the account makes 12.5 calls a second. The share is that of the other half.",
            HALF,
            [OURS],
        )
        yield _throttled_at_random(tasks, service, repeat)


def _row(case: Case, way: str, runs: list[Run]) -> tuple[str, ...]:
    seconds = median(max(run.seconds) for run in runs)
    share = percent(case.least_seconds() / seconds)
    throttled = percent(median(run.throttled / run.calls for run in runs))
    spread = median(run.spread for run in runs)
    target, met = "", ""
    if way == OURS and case.at_least:
        bars = [(Bar(at_least=case.at_least, unit=" %"), share)]
        if case.at_most:
            bars += [(Bar(at_most=case.at_most, unit=" % throttled"), throttled)]
        if case.tasks > 1:
            bars += [(Bar(at_most=1.5, unit=" slowest / fastest"), spread)]
        target = "; ".join(str(bar) for bar, _ in bars)
        met = "yes" if all(bar.met(value) for bar, value in bars) else "no"
    return cells(case, way, f"{seconds:.1f}", f"{share:.1f} %", f"{throttled:.1f} %", f"{spread:.2f}", target, met)


def _throttled_at_random(tasks: list[Connection], service: Service, repeat: int) -> Table:
    table = Table(
        "Throttling that does not depend on the rate",
        f"One task with 4 workers, {IMAGE_SETS:,} image sets, {LATENCY * 1000:g} ms a call, no quota; so many calls "
        f"are throttled at random. Each row is a median of {repeat} runs of this package.",
        ("throttled at random", "seconds", "of the time without", "target", "met"),
    )
    without = 0.0
    for case in RANDOM:
        seconds = median(max(_run(case, OURS, tasks, service).seconds) for _ in range(repeat))
        without = without or seconds
        target, met = "", ""
        if case.throttle_rate == max(each.throttle_rate for each in RANDOM):
            bar = Bar(at_most=1.5)
            target, met = str(bar), "yes" if bar.met(seconds / without) else "no"
        table.rows.append(cells(f"{case.throttle_rate:.0%}", f"{seconds:.1f}", f"{seconds / without:.2f}", target, met))
    return table


def _run(case: Case, way: str, tasks: list[Connection], service: Service) -> Run:
    store, busy = service.store(IMAGE_SETS), tasks[: case.tasks]
    for number, task in enumerate(busy):
        task.send((*WAYS[way], store, case.workers, number, case.tasks))
    for task in busy:
        task.recv()
    service.limit(
        calls_per_second=case.calls_per_second,
        burst=BURST,
        latency=LATENCY,
        others=case.others,
        throttle_rate=case.throttle_rate,
    )
    for task in busy:
        task.send("go")
    counts, seconds = zip(*(task.recv() for task in busy), strict=True)
    if sum(counts) != IMAGE_SETS:
        raise RuntimeError(f"{way} found {sum(counts)} of {IMAGE_SETS} image sets")
    calls = service.calls()
    service.limit()
    return Run(list(seconds), calls.all, calls.throttled)


@contextmanager
def _fleet(service: Service, size: int) -> Iterator[list[Connection]]:
    """Start the processes once, because their imports take longer than a run."""
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        tasks = []
        for _ in range(size):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_work, args=(theirs, service.url), daemon=True)
            process.start()
            theirs.close()
            stack.callback(process.join)
            stack.callback(ours.close)
            tasks.append(ours)
        yield tasks


def _work(pipe: Connection, url: str) -> None:
    """Make a new client, say so, wait for the start, read, and report; until the pipe is closed."""
    while True:
        try:
            by, mode, store, workers, number, of = pipe.recv()
        except EOFError:
            return
        start, end = (START + (END - START) * part / of for part in (number, number + 1))
        read = _reader(url, by, mode)
        pipe.send("ready")
        pipe.recv()
        started = time.perf_counter()
        count = clients.written(read(store, workers, start, end))
        pipe.send((count, time.perf_counter() - started))


def _reader(url: str, by: str, mode: str) -> Any:
    if by == "hook":
        hook = clients.hook(url, mode)
        return lambda store, workers, *window: clients.searched(hook, store, workers, *window)
    client = clients.boto3_client(url, retries={"mode": mode, "total_max_attempts": ATTEMPTS}, max_pool_connections=32)
    return lambda store, workers, *window: clients.paginated_in_parts(client, store, workers, *window)
