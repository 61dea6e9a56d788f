"""Kills a task while it writes, and retries it: whether the dataset is the same, and how much is read again."""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from collections.abc import Iterator
from statistics import median
from typing import Any, NamedTuple

from benchmarks import clients
from benchmarks.report import Bar, Table, cells
from benchmarks.service import BUCKET, Service

IMAGE_SETS, ROWS_PER_FILE, MOMENTS, SEED = 20_000, 1_000, 20, 4711


class Retry(NamedTuple):
    """One kill: the calls before it, the parts that were finished by then, and the calls of the retry."""

    calls: int
    parts: int
    calls_again: int


def tables(service: Service, _repeat: int) -> Iterator[Table]:
    """Kill the task once at each of the random moments."""
    datastore_id = service.store(IMAGE_SETS)
    bucket = clients.boto3_resource(service.url).Bucket(BUCKET)
    whole = _finished(service, datastore_id)
    expected = _contents(bucket, datastore_id)
    moments = sorted(random.Random(SEED).sample(range(1, whole), MOMENTS))
    retries, same = [], 0
    for moment in moments:
        bucket.objects.filter(Prefix=f"{datastore_id}/").delete()
        retry = _killed_and_retried(service, bucket, datastore_id, moment)
        retries.append(retry)
        same += _contents(bucket, datastore_id) == expected
    rows = [cells(each.calls, each.parts, each.calls_again, each.calls + each.calls_again - whole) for each in retries]
    yield Table(
        "Killed and retried",
        f"The operator writes {IMAGE_SETS:,} image sets to S3 with its defaults, in parts of {ROWS_PER_FILE:,}. It is "
        f"killed with SIGKILL at {MOMENTS} random moments (seed {SEED}), and run again. A run that is not killed makes "
        f"{whole} calls. A retry reads again what is not in a finished part: the part that was being written, and what "
        "the workers had read ahead.",
        ("calls before the kill", "parts finished", "calls of the retry", "calls of both, beyond those of one run"),
        rows,
    )
    promise = Table("Killed and retried: the dataset", "Every object of the dataset is compared byte by byte (ETag).")
    all_of_them = Bar(at_least=MOMENTS, at_most=MOMENTS)
    promise.promise(f"retries with the same dataset, of {MOMENTS}", same, None, all_of_them, judged=same, digits=0)
    beyond = [each.calls_again - (IMAGE_SETS - each.parts * ROWS_PER_FILE) / 50 for each in retries]
    for name, of in (("median", median), ("most", max)):
        promise.promise(f"calls of a retry, beyond those for the unfinished parts: {name}", of(beyond), None)
    yield promise


def _killed_and_retried(service: Service, bucket: Any, datastore_id: str, moment: int) -> Retry:
    service.limit()
    process = _start(service, datastore_id)
    while process.is_alive() and service.calls().all < moment:
        time.sleep(0.002)
    process.kill()
    process.join()
    calls = service.calls().all
    checkpoints = [each for each in bucket.objects.filter(Prefix=f"{datastore_id}/") if "_progress" in each.key]
    parts = json.loads(checkpoints[0].get()["Body"].read())["parts"] if checkpoints else 0
    return Retry(calls, parts, _finished(service, datastore_id))


def _finished(service: Service, datastore_id: str) -> int:
    """Make an attempt that is not killed, and return its number of calls."""
    service.limit()
    process = _start(service, datastore_id)
    process.join()
    if process.exitcode:
        raise RuntimeError(f"an attempt ended with exit code {process.exitcode}")
    return service.calls().all


def _start(service: Service, datastore_id: str) -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["airflow_provider_healthimaging.operators.healthimaging"])
    process = context.Process(target=_attempt, args=(service.url, datastore_id))
    process.start()
    return process


def _attempt(url: str, datastore_id: str) -> None:
    task = clients.operator(url, datastore_id, s3_uri=f"s3://{BUCKET}/{datastore_id}/", rows_per_file=ROWS_PER_FILE)
    clients.executed(task)


def _contents(bucket: Any, datastore_id: str) -> dict[str, str]:
    return {each.key: each.e_tag for each in bucket.objects.filter(Prefix=f"{datastore_id}/")}
