"""A window searched as a DAG's task would: by the operator, or by the sensor in either of its modes."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import pkgutil
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor
from airflow_provider_healthimaging.window import TimeWindow
from tests.reliability.cases import Case
from tests.reliability.store import BUCKET, CANARY, Store

ROWS_PER_FILE = 70
SOON, LATER = 0.3, 240.0
"""Seconds after which a sensor gives up: what is not there, and what is."""


def search(case: Case, store: Store, window: TimeWindow, awaited: int) -> list[dict[str, Any]]:
    """Return the records that the case's searcher hands on.

    :param awaited: how many image sets are in the window, which is what a sensor waits for.
    """
    arguments: dict[str, Any] = {
        "task_id": "search",
        "datastore_id": store.datastore_id,
        "time_field": case.time_field,
        "window_start": window.start,
        "window_end": window.end,
        "max_workers": case.max_workers,
        "max_xcom_items": 10_000,
        "botocore_config": dict(case.botocore) or None,
        "do_xcom_push": False,
        **_narrowed(case),
    }
    if "sensor" in case.searcher:
        return _sensed(case, arguments, awaited)
    if case.lag:
        arguments["delay"] = store.filled_at - case.windows[-1].end + case.lag
    if case.searcher == "operator to S3":
        arguments |= {
            "s3_uri": f"s3://{BUCKET}/{store.datastore_id}/",
            "rows_per_file": ROWS_PER_FILE,
            "file_format": case.file_format,
        }
        summary = HealthImagingSearchImageSetsOperator(**arguments).execute(_context())
        store.s3.rate = 0.0
        return read_dataset(store, summary["manifest"])
    return HealthImagingSearchImageSetsOperator(**arguments).execute(_context())


def read_dataset(store: Store, manifest_uri: str) -> list[dict[str, Any]]:
    """Return the records of a dataset as its manifest lists them."""
    manifest = json.loads(store.read(manifest_uri))
    records = []
    for part in manifest["parts"]:
        body = io.BytesIO(store.read(part["uri"]))
        if part["uri"].endswith(".parquet"):
            records += pq.read_table(body).to_pylist()
        else:
            records += map(json.loads, gzip.decompress(body.getvalue()).splitlines())
    if len(records) != manifest["image_sets"]:
        raise AssertionError(f"{manifest['image_sets']} announced, {len(records)} there")
    return records


def _narrowed(case: Case) -> Mapping[str, Any]:
    if case.narrowed == "search_criteria":
        return {"search_criteria": {"filters": [{"operator": "EQUAL", "values": [{"DICOMPatientId": CANARY}]}]}}
    return {"match": {"DICOMPatientId": CANARY}} if case.narrowed else {}


def _sensed(case: Case, arguments: dict[str, Any], awaited: int) -> Any:
    certain = case.is_readable and awaited
    sensor = HealthImagingImageSetSensor(
        **arguments,
        min_image_sets=awaited if certain else 1,
        poke_interval=0.01,
        timeout=LATER if certain else SOON,
        deferrable=case.searcher == "deferrable sensor",
    )
    context = _context()
    try:
        done = sensor.execute(context)
    except TaskDeferred as deferral:
        deferred = deferral
    else:
        return done
    while True:
        path, kwargs = deferred.trigger.serialize()
        event = asyncio.run(_event(pkgutil.resolve_name(path)(**json.loads(json.dumps(kwargs)))))
        try:
            return sensor.resume_execution(deferred.method_name, {"event": event.payload}, context)
        except TaskDeferred as deferral:
            deferred = deferral


async def _event(trigger: Any) -> Any:
    async for event in trigger.run():
        return event
    raise AssertionError("the trigger ended without an event")


def _context() -> dict[str, Any]:
    return {"ti": SimpleNamespace()}
