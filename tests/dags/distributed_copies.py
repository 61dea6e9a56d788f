"""Searches for all image sets of a data store, and copies them to S3, a batch a mapped task."""

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.transfers.healthimaging_to_s3 import HealthImagingToS3Operator

with DAG(
    "distributed_copies", schedule=None, start_date=datetime(2026, 1, 1), catchup=False, default_args={"retries": 3}
):
    search = HealthImagingSearchImageSetsOperator(
        task_id="search",
        datastore_id="e" * 32,
        window_start="2025-01-01T00:00:00Z",
        window_end="2026-01-01T00:00:00Z",
        batch_size=9,
    )
    HealthImagingToS3Operator.partial(
        task_id="copy", s3_uri="s3://distributed/copies/", content=["metadata", "dicom", "frames"], max_workers=4
    ).expand(image_sets=search.output)
