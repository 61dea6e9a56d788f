"""Copies of image sets in tests: DICOM files in the local service, and the operator as a worker runs it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from airflow_provider_healthimaging.local import load_dicom
from airflow_provider_healthimaging.transfers.healthimaging_to_s3 import HealthImagingToS3Operator

DATASTORE_ID = "d" * 32
S3_URI = "s3://image-sets/copies/"
EVERYTHING = ("metadata", "dicom", "frames")
RETRIEVALS = ("GetImageSetMetadata", "GetDICOMInstance", "GetImageFrame")


def sample_files(*names: str) -> list[Any]:
    """Return pydicom's files: those of these names, or all."""
    from airflow_provider_healthimaging.local.dicom import pydicom_sample_files

    return [path for path in pydicom_sample_files() if not names or path.name in names]


def load(store: Any, *names: str) -> list[dict[str, Any]]:
    """Load pydicom's files into the data store, and return the records of its image sets."""
    load_dicom(sample_files(*names), DATASTORE_ID, backend=store)
    return records(store)


def records(store: Any) -> list[dict[str, Any]]:
    """Return the records of the image sets in the data store."""
    return [
        {"datastoreId": DATASTORE_ID, "imageSetId": each.image_set_id, "version": each.version}
        for each in store.image_sets(DATASTORE_ID)
    ]


class Copied(list):  # type: ignore[type-arg]
    """The records that a task returned, with the summary that it pushed."""

    summary: dict[str, Any]


def copy(image_sets: Any, *, summaries: list[dict[str, Any]] | None = None, **arguments: Any) -> Copied:
    """Run the operator as a worker does that knows nothing of attempts before.

    :param summaries: is given the summary, also if the task fails.
    """
    given = {"task_id": "copy", "image_sets": image_sets, "s3_uri": S3_URI, **arguments}
    pushed: dict[str, Any] = {}
    ti = SimpleNamespace(map_index=-1, xcom_push=lambda key, value: pushed.update({key: value}))
    operator = HealthImagingToS3Operator(**given)
    try:
        copied = Copied(operator.execute({"ti": ti}))
    finally:
        if summaries is not None and "summary" in pushed:
            summaries.append(pushed["summary"])
    copied.summary = pushed["summary"]
    return copied


def objects(bucket: Any, prefix: str = "copies/") -> dict[str, bytes]:
    """Return what lies under the prefix, by what comes after it in the key."""
    return {each.key.removeprefix(prefix): each.get()["Body"].read() for each in bucket.objects.filter(Prefix=prefix)}


def manifests(bucket: Any) -> list[dict[str, Any]]:
    """Return the manifests under the prefix."""
    return [json.loads(body) for key, body in objects(bucket).items() if key.endswith("_manifest.json")]


def fetched(server: Any) -> int:
    """Return how many objects the service gave."""
    return sum(server.calls.count(operation, status=200) for operation in RETRIEVALS)
