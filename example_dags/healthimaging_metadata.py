"""Use this to write the whole metadata of each new image set to S3, every hour.

The metadata holds the patient's name and everything else in the DICOM headers. So it goes from the service to S3 as
it is, as gzipped JSON, and not into XCom or the log. The image sets come in batches, so that there are fewer tasks.
The Airflow Variables ``healthimaging_datastore_id`` and ``healthimaging_bucket`` name the data store and the bucket.
Their defaults are what ``python -m airflow_provider_healthimaging.local serve --bucket image-sets`` creates. The
credentials need ``medical-imaging:GetImageSetMetadata``, too.
"""

from datetime import datetime

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator

with DAG("healthimaging_metadata", schedule="@hourly", start_date=datetime(2026, 1, 1), catchup=False):
    search = HealthImagingSearchImageSetsOperator(
        task_id="search",
        datastore_id="{{ var.value.get('healthimaging_datastore_id', 'local' ~ '0' * 27) }}",
        batch_size=20,
    )

    @task(
        map_index_template="{{ task.op_kwargs['batch'][0]['createdAt'] }}, {{ task.op_kwargs['batch'] | length }} sets",
        max_active_tis_per_dag=4,  # the account's quota is 50 calls a second
    )
    def fetch(batch: list[dict], bucket: str) -> int:
        """Copy the metadata of a batch of image sets, and return how many there were."""
        client, s3 = HealthImagingHook().conn, S3Hook()
        for image_set in batch:
            response = client.get_image_set_metadata(
                datastoreId=image_set["datastoreId"],
                imageSetId=image_set["imageSetId"],
                versionId=str(image_set["version"]),
            )
            key = f"metadata/{image_set['imageSetId']}/version-{image_set['version']}.json.gz"
            s3.load_bytes(response["imageSetMetadataBlob"].read(), key, bucket, replace=True)
        return len(batch)

    fetch.partial(bucket="{{ var.value.get('healthimaging_bucket', 'image-sets') }}").expand(batch=search.output)
