"""Peak memory of a search to S3: 200,000 image sets beside 2,000, and beside plain boto3 that keeps what it reads.

Each measurement is a process of its own, searching one local service over HTTP. Run by ``make bench``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=1)
BUCKET = "benchmark"


def peak_mib() -> float:
    """Return the process's own peak; ``ru_maxrss`` would count what its parent had when it started it."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def with_operator(url: str, datastore_id: str, results: Any) -> None:
    """Run the operator as a task would, and report memory before and after."""
    from airflow_provider_healthimaging.local import airflow_connection
    from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator

    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = airflow_connection(url)
    operator = HealthImagingSearchImageSetsOperator(
        task_id="search",
        datastore_id=datastore_id,
        window_start=START,
        window_end=END,
        s3_uri=f"s3://{BUCKET}/{datastore_id}/",
        do_xcom_push=False,
    )
    operator.hook.get_conn()
    report(results, lambda: operator.execute({"ti": SimpleNamespace()})["image_sets"])


def with_boto3(url: str, datastore_id: str, results: Any) -> None:
    """Do what is usually written by hand: read all pages, keep the result, write one object."""
    import boto3
    from botocore.config import Config

    s3 = boto3.client("s3", endpoint_url=url)
    client = boto3.client("medical-imaging", endpoint_url=url, config=Config(inject_host_prefix=False))
    paginator = client.get_paginator("search_image_sets")

    def search() -> int:
        found = paginator.paginate(datastoreId=datastore_id).build_full_result()["imageSetsMetadataSummaries"]
        lines = "\n".join(json.dumps(each, default=str) for each in found)
        s3.put_object(Bucket=BUCKET, Key=f"{datastore_id}.jsonl", Body=lines.encode())
        return len(found)

    report(results, search)


def report(results: Any, search: Any) -> None:
    before, started = peak_mib(), time.perf_counter()
    count = search()
    results.put((count, before, peak_mib(), time.perf_counter() - started))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=int, nargs="*", default=[2_000, 200_000], help="numbers of image sets")
    sizes = parser.parse_args().sizes
    os.environ.update(
        AIRFLOW_HOME=tempfile.mkdtemp(),
        AWS_ACCESS_KEY_ID="testing",
        AWS_SECRET_ACCESS_KEY="testing",
        AWS_DEFAULT_REGION="us-east-1",
    )
    import boto3

    from airflow_provider_healthimaging.local import LocalServer, backend

    spawn = multiprocessing.get_context("spawn")
    print(f"{'image sets':>10}  {'by':<8}  {'MiB before':>10}  {'MiB peak':>8}  {'MiB more':>8}  {'seconds':>7}")
    with LocalServer(port=0) as server:
        boto3.client("s3", endpoint_url=server.url).create_bucket(Bucket=BUCKET)
        for size in sizes:
            store = backend()
            datastore_id = store.create_datastore(f"store-{size}").datastore_id
            for number in range(size):
                store.put_image_set(datastore_id, created_at=START + (END - START) * number / size)
            for name, search in (("operator", with_operator), ("boto3", with_boto3)):
                results = spawn.Queue()
                process = spawn.Process(target=search, args=(server.url, datastore_id, results))
                process.start()
                process.join()
                count, before, peak, seconds = results.get(timeout=1)
                if count != size:
                    raise SystemExit(f"{name} found {count} of {size} image sets")
                print(f"{count:>10,}  {name:<8}  {before:>10.1f}  {peak:>8.1f}  {peak - before:>8.1f}  {seconds:>7.1f}")


if __name__ == "__main__":
    main()
