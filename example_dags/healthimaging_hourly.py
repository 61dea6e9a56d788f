"""Use this to run one task for each image set that arrived in the last hour.

The Airflow Variable ``healthimaging_datastore_id`` holds the id of the data store. Its default is the one that
``python -m airflow_provider_healthimaging.local serve`` creates.
"""

from datetime import datetime

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator

with DAG("healthimaging_hourly", schedule="@hourly", start_date=datetime(2026, 1, 1), catchup=False):
    search = HealthImagingSearchImageSetsOperator(
        task_id="search",
        datastore_id="{{ var.value.get('healthimaging_datastore_id', 'local' ~ '0' * 27) }}",
    )

    @task(map_index_template="{{ task.op_kwargs['image_set']['imageSetId'] }}")
    def process(image_set: dict) -> str:
        """Handle one image set."""
        return f"{image_set['imageSetId']}, version {image_set['version']}"

    process.expand(image_set=search.output)
