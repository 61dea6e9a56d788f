"""Measures copies to S3 beside a plain loop over boto3: time at a latency, CPU, memory, the share of the quota."""

from __future__ import annotations

import io
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from benchmarks import clients
from benchmarks.process import Usage, measured
from benchmarks.report import Bar, Table, cells
from benchmarks.service import BUCKET, Service

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

FRAMES, MANY_FRAMES, LATENCY, WORKERS = 2_000, 10_000, 0.03, 16
LARGE_BYTES = 10**9
INSTANCES, TASKS, QUOTA, BURST = 1_000, (1, 2, 4), 50, 100


def tables(service: Service, repeat: int) -> Iterator[Table]:
    """Measure frames at a latency, CPU without one, instances at the quota, and memory."""
    yield _speed(service, repeat)
    yield _quota(service, repeat)
    yield _memory(service)


def _speed(service: Service, repeat: int) -> Table:
    store = service.files(FRAMES, 1)
    fast: dict[str, list[Usage]] = {"ours": [], "boto3": []}
    busy: dict[str, list[Usage]] = {"ours": [], "boto3": []}
    for number in range(repeat):
        for usages, latency in ((fast, LATENCY), (busy, 0.0)):
            service.retrieval(latency=latency)
            for name, side in (("ours", operator), ("boto3", loop)):
                usages[name].append(_run(service, FRAMES, side, store, f"{name}-{latency}-{number}"))
    table = Table(
        "Copies: frames",
        f"{FRAMES:,} frames of one instance go to S3, at {LATENCY * 1000:.0f} ms a call with {WORKERS} workers, beside "
        f"a loop over boto3's get_image_frame and put_object. CPU is measured without latency. Medians of {repeat}.",
    )
    seconds = {name: median(each.seconds for each in usages) for name, usages in fast.items()}
    cpu = {name: median(each.cpu for each in usages) / FRAMES * 1000 for name, usages in busy.items()}
    table.promise(
        "times as fast",
        seconds["ours"],
        seconds["boto3"],
        Bar(at_least=8),
        judged=seconds["boto3"] / seconds["ours"],
        unit=" s",
    )
    table.promise(
        "CPU an object",
        cpu["ours"],
        cpu["boto3"],
        Bar(at_most=1.2),
        judged=cpu["ours"] / cpu["boto3"],
        unit=" ms",
        digits=2,
    )
    return table


def _quota(service: Service, repeat: int) -> Table:
    table = Table(
        "Copies: share of the quota of 50 instances a second",
        f"1, 2 and 4 tasks copy {INSTANCES:,} DICOM files each, with {WORKERS} workers. All start at the same moment, "
        f"with the clients of HealthImaging made, and with a full bucket. The burst of {BURST} does not count. Medians "
        f"of {repeat}.",
    )
    for tasks in TASKS:
        stores = [service.files(1, INSTANCES, seed=each) for each in range(tasks)]
        shares = []
        for number in range(repeat):
            service.retrieval(quota=1.0)
            ready = multiprocessing.get_context("spawn").Barrier(tasks)
            with ThreadPoolExecutor(tasks) as pool:
                prefixes = [f"quota-{tasks}-{number}-{place}" for place in range(tasks)]
                together = partial(measured, instances_together, service.url, ready)
                usages = [*pool.map(together, stores, prefixes)]
            shares.append((INSTANCES * tasks - BURST) / max(each.seconds for each in usages) / QUOTA)
        share = median(shares) * 100
        table.promise(
            f"{tasks} task{'s' if tasks > 1 else ''}", share, None, Bar(at_least=90, unit=" %"), judged=share, unit=" %"
        )
    return table


def _memory(service: Service) -> Table:
    service.retrieval()
    table = Table(
        "Copies: memory",
        f"The growth of the peak memory (VmHWM) of the client process: one DICOM file of {LARGE_BYTES / 1e9:.0f} GB, "
        f"and {MANY_FRAMES:,} small frames.",
        ("copy", "MB before", "MB peak", "MB more", "seconds"),
    )
    large = measured(instances, service.url, service.large_file(LARGE_BYTES), "large")
    many = measured(operator, service.url, service.files(MANY_FRAMES, 1), "many")
    for name, usage in (("one large file", large), ("many frames", many)):
        figures = (usage.before, usage.peak, usage.peak - usage.before, usage.seconds)
        table.rows.append(cells(name, *(f"{figure:,.1f}" for figure in figures)))
    return table


def _run(service: Service, objects: int, side: Callable[..., Callable[[], int]], *arguments: Any) -> Usage:
    usage = measured(side, service.url, *arguments)
    if usage.image_sets != objects:
        raise RuntimeError(f"copied {usage.image_sets} of {objects} objects")
    return usage


def operator(
    url: str, store: dict[str, Any], prefix: str, content: str = "frames", ready: Barrier | None = None
) -> Callable[[], int]:
    """Return the copy by the operator.

    :param ready: where to wait, with the clients of HealthImaging made, until all tasks are as far.
    """
    clients.connect_airflow(url)
    from airflow_provider_healthimaging.transfers.healthimaging_to_s3 import HealthImagingToS3Operator

    task = HealthImagingToS3Operator(
        task_id="copy",
        image_sets=store["records"],
        s3_uri=f"s3://{BUCKET}/{prefix}/",
        content=[content],
        max_workers=WORKERS,
        do_xcom_push=False,
    )
    if ready:
        _ = task.hook.get_conn(), task.hook.dicomweb
        ready.wait()

    def run() -> int:
        task.execute({"ti": SimpleNamespace()})
        return int(task.copied["objects"])

    return run


def instances(url: str, store: dict[str, Any], prefix: str) -> Callable[[], int]:
    """Return the copy of DICOM files by the operator."""
    return operator(url, store, prefix, "dicom")


def instances_together(url: str, ready: Barrier, store: dict[str, Any], prefix: str) -> Callable[[], int]:
    """Return the copy of DICOM files by the operator, once all tasks are as far."""
    return operator(url, store, prefix, "dicom", ready)


def loop(url: str, store: dict[str, Any], prefix: str) -> Callable[[], int]:
    """Return the copy by a plain loop over boto3, after the metadata are read."""

    def run() -> int:
        import gzip
        import json

        # The clients are made here, because the operator also makes its own in the run.
        client, s3 = clients.boto3_client(url), clients.boto3_client(url, "s3")
        count = 0
        for record in store["records"]:
            given = {"datastoreId": record["datastoreId"], "imageSetId": record["imageSetId"]}
            blob = client.get_image_set_metadata(**given)["imageSetMetadataBlob"].read()
            document = json.load(gzip.GzipFile(fileobj=io.BytesIO(blob)))
            for series in document["Study"]["Series"].values():
                for instance in series["Instances"].values():
                    for frame in instance["ImageFrames"]:
                        wanted = {"imageFrameId": frame["ID"]}
                        body = client.get_image_frame(**given, imageFrameInformation=wanted)["imageFrameBlob"].read()
                        s3.put_object(Bucket=BUCKET, Key=f"{prefix}/{frame['ID']}", Body=body)
                        count += 1
        return count

    return run
