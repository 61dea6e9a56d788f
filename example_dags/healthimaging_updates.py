"""Use this to handle each new or changed image set, and each of its versions once.

An import into an existing series raises its version and ``updatedAt``. ``lookback`` searches the hour before again,
for image sets that became searchable late, so most image sets are found twice. The task keeps a mark in S3 for each
version that it has handled. The Airflow Variables ``healthimaging_datastore_id`` and ``healthimaging_bucket`` name
the data store and the bucket. Their defaults are what ``python -m airflow_provider_healthimaging.local serve --bucket
image-sets`` creates.
"""

from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator

with DAG("healthimaging_updates", schedule="@hourly", start_date=datetime(2026, 1, 1), catchup=False):
    search = HealthImagingSearchImageSetsOperator(
        task_id="search",
        datastore_id="{{ var.value.get('healthimaging_datastore_id', 'local' ~ '0' * 27) }}",
        time_field="updatedAt",
        lookback=timedelta(hours=1),
    )

    @task(map_index_template="{{ task.op_kwargs['image_set']['imageSetId'] }}")
    def process(image_set: dict, bucket: str) -> str:
        """Handle one version of an image set, unless it was handled before."""
        s3 = S3Hook()
        version = f"{image_set['imageSetId']}/version-{image_set['version']}"
        if s3.check_for_key(f"handled/{version}", bucket):
            raise AirflowSkipException(f"{version} was handled before.")
        # The work. Name its output after the version: if the task dies before the mark, the work is done again.
        s3.load_string("", f"handled/{version}", bucket, replace=True)
        return version

    process.partial(bucket="{{ var.value.get('healthimaging_bucket', 'image-sets') }}").expand(image_set=search.output)
