"""For whoever must follow changes too: every hour, each image set that is new or changed, and each version once.

An import into an existing series raises its version and ``updatedAt``. ``lookback`` searches the hour before again, for
what became searchable late, so most image sets are found twice: the task keeps a mark in S3 for each version that it
has handled. The Airflow Variables ``healthimaging_datastore_id`` and ``healthimaging_bucket`` say where; without them,
it is what ``python -m airflow_provider_healthimaging.local serve --bucket image-sets`` makes.
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
        """Handle one version of an image set, unless that was done before."""
        s3 = S3Hook()
        version = f"{image_set['imageSetId']}/version-{image_set['version']}"
        if s3.check_for_key(f"handled/{version}", bucket):
            raise AirflowSkipException(f"{version} was handled before.")
        # The work. Its output is best named after the version, since it is done again if the task dies before the mark.
        s3.load_string("", f"handled/{version}", bucket, replace=True)
        return version

    process.partial(bucket="{{ var.value.get('healthimaging_bucket', 'image-sets') }}").expand(image_set=search.output)
