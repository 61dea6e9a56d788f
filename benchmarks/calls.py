"""Counts the calls of a search with several workers, and compares them with the fewest possible."""

from __future__ import annotations

import math
from collections.abc import Iterator

from benchmarks import clients, data
from benchmarks.report import Bar, Table
from benchmarks.service import Service

IMAGE_SETS = 20_000
PAGE = 50
FEW = (1, 17, 50)
LATENCY = 0.02
"""Seconds per call. Workers wait for responses as they do with AWS, and split the window meanwhile."""

WORKERS = (4, 8)


def tables(service: Service, repeat: int) -> Iterator[Table]:
    """Count the calls at the server. The highest count is compared with the target."""
    table = Table(
        "Calls",
        f"Calls of SearchImageSets, counted at the server, {LATENCY * 1000:g} ms each. The hook reads with "
        f"{' and '.join(map(str, WORKERS))} workers. Each row shows the highest count of {repeat} x {len(WORKERS)} "
        f"runs. Where image sets arrive in bursts, each run has another seed. A response has up to {PAGE} image "
        f"sets. The target is 3 % more calls than the fewest possible, and 10 % more for bursts. "
        + " ".join(f'"{name}": {data.what(name)}' for name in data.LAYOUTS),
    )
    for count in FEW:
        most, paginator = _most(service, [(count, "uniform", 0)] * repeat)
        table.promise(
            f"{count} image set{'s' * (count > 1)}", most, paginator, Bar(at_least=1, at_most=1), judged=most, digits=0
        )
    fewest = math.ceil(IMAGE_SETS / PAGE)
    for layout in data.LAYOUTS:
        uniform = layout == "uniform"
        stores = [(IMAGE_SETS, layout, 0 if uniform else seed) for seed in range(repeat)]
        most, paginator = _most(service, stores)
        table.promise(
            f"{IMAGE_SETS:,} image sets, {layout}",
            most,
            paginator,
            Bar(at_most=round(fewest * (1.03 if uniform else 1.1))),
            judged=most,
            digits=0,
        )
    yield table


def _most(service: Service, stores: list[tuple[int, str, int]]) -> tuple[int, int]:
    """Return the highest count of ours, and the paginator's count, which depends on neither latency nor layout."""
    most = 0
    for store in stores:
        for workers in WORKERS:
            service.limit(latency=LATENCY)
            found = clients.written(clients.searched(clients.hook(service.url), service.store(*store), workers))
            if found != store[0]:
                raise RuntimeError(f"found {found} of {store[0]} image sets")
            most = max(most, service.calls().all)
    service.limit()
    clients.written(clients.paginated(clients.boto3_client(service.url), service.store(*stores[0])))
    return most, service.calls().all
