"""The dataset of an import job, ``job=<job id>/`` under the prefix: the same files as those of a search."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_provider_healthimaging.output.checkpoint import Checkpoint
from airflow_provider_healthimaging.output.dataset import (
    DatasetSummary,
    ManifestMetadata,
    S3Dataset,
    raise_on_partial_delete,
)
from airflow_provider_healthimaging.output.file_formats import file_format

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from airflow_provider_healthimaging.output.destination import S3Destination
    from airflow_provider_healthimaging.output.records import Record


def write_import(
    hook: S3Hook, destination: S3Destination, datastore_id: str, job_id: str, records: Iterator[Record]
) -> DatasetSummary:
    """Write the records of a job. The same job writes the same keys and the same bytes.

    :param hook: amazon's ``S3Hook``.
    """
    raise_on_partial_delete(hook)
    dataset = S3Dataset(hook, destination, f"job={job_id}/", file_format(destination.file_format, ()))
    metadata: ManifestMetadata = {"datastore_id": datastore_id, "time_field": None, "window": None, "job_id": job_id}
    no_checkpoint = Checkpoint(hook, dataset.bucket, dataset.folder, None, "")
    return dataset.write(records, metadata, no_checkpoint)
