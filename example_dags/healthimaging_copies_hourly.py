"""Use this to copy the DICOM files and the metadata of each new image set to S3, every hour, in batches.

A batch is one mapped task, which several workers of Airflow run side by side. What is in S3 already is not copied
again, so a task that failed continues where it ended. The quota of 50 DICOM files a second is that of the account, so
few tasks at a time are enough.
The Airflow Variables ``healthimaging_datastore_id`` and ``healthimaging_bucket`` name the data store and the bucket.
Their defaults are what ``python -m airflow_provider_healthimaging.local serve --bucket image-sets`` creates.
"""

from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.transfers.healthimaging_to_s3 import HealthImagingToS3Operator

with DAG(
    "healthimaging_copies_hourly",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
):
    search = HealthImagingSearchImageSetsOperator(
        task_id="search",
        datastore_id="{{ var.value.get('healthimaging_datastore_id', 'local' ~ '0' * 27) }}",
        batch_size=50,
    )
    HealthImagingToS3Operator.partial(
        task_id="copy",
        s3_uri="s3://{{ var.value.get('healthimaging_bucket', 'image-sets') }}/image-sets/",
        content=["metadata", "dicom"],
        on_missing="skip",  # deleted since the search
        max_active_tis_per_dag=2,
    ).expand(image_sets=search.output)
