"""The two sides of a comparison: this package's hook and operator, and the usual code with boto3.

Both search the same window in the same order, and both write each record with ``json.dumps``.
"""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.data import END, START
from benchmarks.service import BUCKET


def criteria(start: datetime = START, end: datetime = END) -> dict[str, Any]:
    """Return AWS's ``searchCriteria`` for the image sets that were created between two moments."""
    return {
        "filters": [{"operator": "BETWEEN", "values": [{"createdAt": start}, {"createdAt": end}]}],
        "sort": {"sortField": "createdAt", "sortOrder": "ASC"},
    }


def boto3_client(url: str, service: str = "medical-imaging", **config: Any) -> Any:
    import boto3
    from botocore.config import Config

    # Each client has its own session, as in Airflow's hooks. So no run uses data that an earlier run has loaded.
    session = boto3.session.Session()
    return session.client(service, endpoint_url=url, config=Config(inject_host_prefix=False, **config))


def boto3_resource(url: str) -> Any:
    import boto3

    return boto3.session.Session().resource("s3", endpoint_url=url)


def paginated(client: Any, datastore_id: str, start: datetime = START, end: datetime = END) -> Iterator[dict[str, Any]]:
    """Yield the search hits of boto3's paginator."""
    paginator = client.get_paginator("search_image_sets")
    for page in paginator.paginate(datastoreId=datastore_id, searchCriteria=criteria(start, end)):
        yield from page["imageSetsMetadataSummaries"]


def paginated_in_parts(
    client: Any, datastore_id: str, parts: int, start: datetime = START, end: datetime = END
) -> Iterator[dict[str, Any]]:
    """Yield the search hits of ``parts`` paginators. Each reads an equal part of the window, in its own thread."""
    edges = [start + (end - start) * part / parts for part in range(parts + 1)]
    with ThreadPoolExecutor(parts) as pool:
        for found in pool.map(lambda *part: list(paginated(client, datastore_id, *part)), edges, edges[1:]):
            yield from found


def hook(url: str, mode: str = "", connections: int | None = None) -> Any:
    """Return a new hook with its client made.

    :param mode: botocore's retry mode; default that of the hook.
    :param connections: the most open connections at a time; default that of the hook. botocore's own is 10.
    """
    from botocore.config import Config

    from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook

    connect_airflow(url)
    config = Config(retries={"mode": mode}) if mode else Config()
    made = HealthImagingHook(
        config=config.merge(Config(max_pool_connections=connections)) if connections else config,
    )
    made.get_conn()
    return made


def searched(
    client: Any, datastore_id: str, max_workers: int, start: datetime = START, end: datetime = END
) -> Iterator[dict[str, Any]]:
    """Yield the search hits of a hook."""
    from airflow_provider_healthimaging.window import TimeWindow

    found: Iterator[dict[str, Any]] = client.search_image_sets(
        datastore_id, window=TimeWindow(start, end), max_workers=max_workers
    )
    return found


def written(records: Iterable[dict[str, Any]]) -> int:
    """Write each record as JSON, keep none in memory, and return their number."""
    count = 0
    with Path(os.devnull).open("w") as nowhere:
        for record in records:
            nowhere.write(json.dumps(record, default=str))
            count += 1
    return count


def operator(url: str, datastore_id: str, **arguments: Any) -> Any:
    """Return the operator as in a DAG, with its client made."""
    from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator

    connect_airflow(url)
    made = HealthImagingSearchImageSetsOperator(
        task_id="search",
        datastore_id=datastore_id,
        window_start=START,
        window_end=END,
        do_xcom_push=False,
        **arguments,
    )
    made.hook.get_conn()
    return made


def executed(task: Any) -> Any:
    """Run an operator as a worker does, and return its result."""
    return task.execute({"ti": SimpleNamespace()})


def operator_to_xcom(url: str, datastore_id: str) -> Callable[[], int]:
    """Make records with all tags, and their JSON, as Airflow does for XCom."""
    task = operator(url, datastore_id, dicom_tags="all", max_xcom_items=10_000_000)

    def run() -> int:
        records = executed(task)
        json.dumps(records)
        return len(records)

    return run


def boto3_to_xcom(url: str, datastore_id: str) -> Callable[[], int]:
    """Keep the search hits of the paginator in memory, and make JSON of them."""
    client = boto3_client(url)

    def run() -> int:
        records = list(paginated(client, datastore_id))
        json.dumps(records, default=str)
        return len(records)

    return run


def operator_to_s3(url: str, datastore_id: str, file_format: str = "jsonl") -> Callable[[], int]:
    """Write a dataset with all tags."""
    arguments = {"file_format": file_format} if file_format != "jsonl" else {}
    task = operator(url, datastore_id, dicom_tags="all", s3_uri=f"s3://{BUCKET}/{datastore_id}/", **arguments)
    return lambda: executed(task)["image_sets"]


def boto3_to_s3(url: str, datastore_id: str) -> Callable[[], int]:
    """Write one object of gzipped JSON Lines, with the compression level of the operator."""
    client = boto3_client(url)

    def run() -> int:
        records = list(paginated(client, datastore_id))
        body = io.BytesIO()
        with gzip.open(body, "wt", compresslevel=6) as lines:
            lines.writelines(json.dumps(record, default=str) + "\n" for record in records)
        # The S3 client is made here, because the operator also makes its own at the first write.
        boto3_client(url, "s3").put_object(Bucket=BUCKET, Key=f"{datastore_id}.jsonl.gz", Body=body.getvalue())
        return len(records)

    return run


def connect_airflow(url: str) -> None:
    from airflow_provider_healthimaging.local import airflow_connection

    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = airflow_connection(url)
