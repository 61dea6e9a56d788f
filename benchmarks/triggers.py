"""Compares a thousand deferred sensors, or import jobs, with a thousand of amazon's ``SqsSensorTrigger``.

Each side waits for something that never arrives, and polls the same local server at the same interval. The server has
AWS's quota of 25 searches per second. Each side runs
in a process of its own. The server does, too, and its CPU does not count. Python's garbage collector and a busy machine
also block an event loop, so both are shown.

amazon's trigger needs aiobotocore, which pins botocore. To keep it out of this environment, give ``--sqs-python``: the
interpreter of another environment that has aiobotocore and the same Airflow.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DATASTORE_ID = "b" * 32
QUEUE = "benchmark"
SIDES = {
    "healthimaging": "HealthImagingImageSetTrigger",
    "imports": "HealthImagingDicomImportJobTrigger",
    "sqs": "SqsSensorTrigger",
}
TICK = 0.01
"""Seconds that the watchdog sleeps. If it sleeps longer, the event loop was blocked for the difference."""


def healthimaging_triggers(options: argparse.Namespace) -> Iterator[Any]:
    """Yield triggers as sensors make them. Each waits for its own accession number."""
    import airflow_provider_healthimaging.hooks.healthimaging  # noqa: F401 - imports are not measured
    from airflow_provider_healthimaging.triggers.healthimaging import HealthImagingImageSetTrigger

    for number in range(options.triggers):
        accession = {"values": [{"DICOMAccessionNumber": f"A{number}"}], "operator": "EQUAL"}
        yield HealthImagingImageSetTrigger(
            datastore_id=DATASTORE_ID,
            window_start=None,
            window_end=None,
            time_field=None,
            search_criteria=json.dumps({"filters": [accession]}),
            match="{}",
            min_image_sets=1,
            quiet_period=None,
            poke_interval=options.interval,
            deadline="2999-12-31T00:00:00Z",
        )


def import_triggers(options: argparse.Namespace) -> Iterator[Any]:
    """Yield triggers as deferred import jobs make them. All wait for one job, which does not end."""
    from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
    from airflow_provider_healthimaging.triggers.healthimaging import HealthImagingDicomImportJobTrigger

    job = HealthImagingHook().start_dicom_import_job(
        DATASTORE_ID,
        input_s3_uri="s3://benchmark/inbox/",
        output_s3_uri="s3://benchmark/reports/",
        data_access_role_arn="arn:aws:iam::123456789012:role/import",
        client_token="benchmark",
    )
    for _ in range(options.triggers):
        yield HealthImagingDicomImportJobTrigger(
            datastore_id=DATASTORE_ID,
            job_id=job["jobId"],
            poke_interval=options.interval,
            deadline="2999-12-31T00:00:00Z",
        )


def sqs_triggers(options: argparse.Namespace) -> Iterator[Any]:
    """Yield amazon's triggers, with its defaults except for the pauses. The queue is empty, and responds at once."""
    import aiobotocore.session  # noqa: F401 - imports are not measured
    from airflow.providers.amazon.aws.triggers.sqs import SqsSensorTrigger

    for _ in range(options.triggers):
        yield SqsSensorTrigger(
            sqs_queue=f"{options.url}/123456789012/{QUEUE}", waiter_delay=options.interval, wait_time_seconds=0
        )


async def wait(trigger: Any) -> None:
    async for event in trigger.run():
        raise RuntimeError(f"The trigger fired, although there is nothing to find: {event}")


class Collections:
    """Seconds that Python's garbage collector has used so far. Nothing else runs meanwhile."""

    def __init__(self) -> None:
        """Start to count."""
        self.seconds = self._started = 0.0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, _: object) -> None:
        if phase == "start":
            self._started = time.perf_counter()
        else:
            self.seconds += time.perf_counter() - self._started


async def watch(blocked: list[tuple[float, float]], until: Callable[[], object] = lambda: False) -> None:
    """Record by how much each sleep was too long, in total and without the garbage collector."""
    collections = Collections()
    while not until():
        started, collecting = time.perf_counter(), collections.seconds
        await asyncio.sleep(TICK)
        longer = time.perf_counter() - started - TICK
        blocked.append((longer, longer - (collections.seconds - collecting)))


async def run(triggers: list[Any], seconds: float) -> list[tuple[float, float]]:
    """Run each trigger as a task, as the triggerer does, and return what the watchdog recorded."""
    blocked: list[tuple[float, float]] = []
    tasks = [asyncio.create_task(watch(blocked)), *(asyncio.create_task(wait(trigger)) for trigger in triggers)]
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()
    for task in tasks:
        task.cancel()
    return blocked


def resident_kib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Measure one side, in this process."""
    sides = {"healthimaging": healthimaging_triggers, "imports": import_triggers, "sqs": sqs_triggers}
    make = sides[options.measure]
    next(make(options))
    memory, cpu = resident_kib(), time.process_time()
    blocked = asyncio.run(run(list(make(options)), options.minutes * 60))
    in_all = sorted(longer for longer, _ in blocked)
    return {
        "p99": in_all[math.ceil(len(in_all) * 0.99) - 1] * 1000,
        "longest": in_all[-1] * 1000,
        "uncollected": max(without for _, without in blocked) * 1000,
        "cpu": (time.process_time() - cpu) * 1000 / options.triggers,
        "memory": (resident_kib() - memory) / options.triggers,
    }


def serve() -> None:
    """Serve a data store and a queue until standard input ends, and then print the number of requests."""
    import boto3

    from airflow_provider_healthimaging.local import LocalServer, backend

    requests = 0

    def counted(app: Any) -> Any:
        def call(environ: Any, start_response: Any) -> Any:
            nonlocal requests
            requests += 1
            return app(environ, start_response)

        return call

    backend().create_datastore("benchmark", datastore_id=DATASTORE_ID)
    backend().settings.import_duration = 10**9
    backend().settings.calls_per_second = 25
    with LocalServer(middleware=counted) as server:
        boto3.client("sqs", endpoint_url=server.url).create_queue(QueueName=QUEUE)
        requests = 0
        print(server.url, flush=True)
        sys.stdin.read()
    print(requests)


@contextmanager
def server() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def measured(side: str, python: str, options: argparse.Namespace) -> dict[str, float]:
    """Measure one side in its own process, with its own server."""
    with server() as serving, tempfile.TemporaryDirectory() as home:
        url = serving.stdout.readline().strip()
        connection = {"conn_type": "aws", "extra": {"region_name": "us-east-1", "endpoint_url": url}}
        environment = os.environ | {
            "AIRFLOW_HOME": home,
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",  # amazon's trigger logs two lines per poll
        }
        arguments = [f"--{name}={getattr(options, name)}" for name in ("triggers", "interval", "minutes")]
        command = [python, __file__, f"--measure={side}", f"--url={url}", *arguments]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            idle: list[tuple[float, float]] = []
            asyncio.run(watch(idle, until=lambda: process.poll() is not None))
            output = process.stdout.read()
        if process.returncode:
            raise SystemExit(f"{SIDES[side]} ended with {process.returncode}; see above.")
        requests = serving.communicate("")[0]
    return {
        **json.loads(output.splitlines()[-1]),
        "idle": max(idle)[0] * 1000,
        "requests": int(requests),
        "rate": int(requests) / (options.minutes * 60),
    }


def has_aiobotocore(python: str) -> bool:
    return not subprocess.run([python, "-c", "import aiobotocore"], stderr=subprocess.DEVNULL, check=False).returncode


def compare(options: argparse.Namespace) -> None:
    """Measure all sides, one after the other, and print them side by side."""
    results = {side: measured(side, options.python, options) for side in ("healthimaging", "imports")}
    if has_aiobotocore(options.sqs_python):
        results["sqs"] = measured("sqs", options.sqs_python, options)
    else:
        print("SqsSensorTrigger is not measured: --sqs-python has no aiobotocore, which it needs.", file=sys.stderr)
    print(f"{options.triggers:,} triggers, a poll every {options.interval:g} s, {options.minutes:g} minutes\n")
    print(f"{'':<34}" + "".join(f"{SIDES[side]:>36}" for side in results))
    for label, name in (
        ("event loop blocked, p99, ms", "p99"),
        ("event loop blocked, longest, ms", "longest"),
        ("  without garbage collection, ms", "uncollected"),
        ("  in an idle process, ms", "idle"),
        ("CPU per sensor, ms", "cpu"),
        ("additional memory per sensor, KiB", "memory"),
        ("requests", "requests"),
        ("requests per second", "rate"),
    ):
        print(
            f"{label:<34}"
            + "".join(f"{result[name]:>36,.{0 if name == 'requests' else 1}f}" for result in results.values())
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = parser.add_argument
    option("--minutes", type=float, default=5)
    option("--triggers", type=int, default=1000)
    option("--interval", type=float, default=30, help="seconds between two polls of a trigger")
    option("--python", default=sys.executable, help="interpreter for this package's side")
    option("--sqs-python", default=sys.executable, help="interpreter for amazon's side, with aiobotocore")
    option("--measure", choices=SIDES, help=argparse.SUPPRESS)
    option("--url", help=argparse.SUPPRESS)
    option("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    if options.serve:
        serve()
    elif options.measure:
        print(json.dumps(measure(options)))
    else:
        compare(options)


if __name__ == "__main__":
    main()
