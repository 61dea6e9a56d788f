"""Compares ways in which several workers can read one window. docs/adr/0004 draws the conclusion."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median
from typing import Any

from benchmarks import clients
from benchmarks.data import END, START
from benchmarks.quota import IMAGE_SETS, LATENCY, PAGE, Run, run
from benchmarks.report import Table, cells
from benchmarks.service import Service

LAYOUTS = ("uniform", "import jobs", "migration")
WORKERS = 8
WINDOWS_PER_WORKER = 4


def tables(service: Service, repeat: int) -> Iterator[Table]:
    """Measure each way with each layout, ``repeat`` times."""
    table = Table(
        "How several workers read one window",
        f"{IMAGE_SETS:,} image sets, {WORKERS} workers, {LATENCY * 1000:g} ms a call, no quota; {IMAGE_SETS // PAGE} "
        "calls are the fewest possible. The two other ways keep what they have read in memory, and give nothing before "
        "its turn. Medians of the seconds, and the most calls. Layouts: see Calls.",
        ("layout", "windows", "seconds", "calls", "calls for 50 image sets"),
    )
    small = service.store(PAGE)
    for layout in LAYOUTS:
        for name, way in WAYS.items():
            runs: list[Run] = []
            for seed in range(repeat):
                store = service.store(IMAGE_SETS, layout, seed)
                runs.append(run(service, partial(way, clients.hook(service.url), store), latency=LATENCY))
            service.limit()
            clients.written(way(clients.hook(service.url), small))
            seconds = median(each.seconds for each in runs)
            most = max(each.calls for each in runs)
            table.rows.append(cells(layout, name, f"{seconds:.1f}", most, service.calls().all))
    yield table


def _read_at_once(hook: Any, store: str, windows: list[Any]) -> Iterator[dict[str, Any]]:
    with ThreadPoolExecutor(WORKERS) as pool:
        for found in pool.map(lambda window: list(hook.search_image_sets(store, window=window)), windows):
            yield from found


def _split_on_the_way(hook: Any, store: str) -> Iterator[dict[str, Any]]:
    return clients.searched(hook, store, WORKERS)


def _equal_windows(hook: Any, store: str) -> Iterator[dict[str, Any]]:
    from airflow_provider_healthimaging.window import TimeWindow

    yield from _read_at_once(hook, store, TimeWindow(START, END).split(WORKERS * WINDOWS_PER_WORKER))


def _windows_by_the_first_page(hook: Any, store: str) -> Iterator[dict[str, Any]]:
    """Read one page, and cut the rest into as many equal windows as its density promises work for."""
    from airflow_provider_healthimaging.window import TimeWindow

    first = [hit for hit, _ in zip(clients.searched(hook, store, 1), range(PAGE), strict=False)]
    yield from first[:-1]
    if len(first) < PAGE:
        yield from first[-1:]
        return
    reached = first[-1]["createdAt"]
    pages = PAGE / max((reached - START).total_seconds(), 1) * (END - reached).total_seconds() / PAGE
    count = max(1, min(WORKERS * WINDOWS_PER_WORKER, math.ceil(pages / 2)))
    yield from _read_at_once(hook, store, TimeWindow(reached, END).split(count))


WAYS: dict[str, Callable[[Any, str], Iterator[dict[str, Any]]]] = {
    "split on the way (this package)": _split_on_the_way,
    f"{WORKERS * WINDOWS_PER_WORKER} equal windows": _equal_windows,
    "equal windows, as many as the first page promises": _windows_by_the_first_page,
}
