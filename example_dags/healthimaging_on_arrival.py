"""Use this to start a DAG run when image sets arrive: a data store as an asset (Airflow 3.3 or newer)."""

import os
from datetime import datetime

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.triggers.healthimaging import HealthImagingNewImageSetsTrigger

# The arguments of a trigger are not templates, so the id comes from the environment of the DAG processor.
DATASTORE_ID = os.environ.get("HEALTHIMAGING_DATASTORE_ID", "local".ljust(32, "0"))

arrivals = Asset(
    "healthimaging_arrivals",
    watchers=[AssetWatcher(name="arrivals", trigger=HealthImagingNewImageSetsTrigger(datastore_id=DATASTORE_ID))],
)

with DAG("healthimaging_on_arrival", schedule=arrivals, start_date=datetime(2026, 1, 1), catchup=False):
    search = HealthImagingSearchImageSetsOperator(task_id="search", datastore_id=DATASTORE_ID)

    @task(map_index_template="{{ task.op_kwargs['image_set']['imageSetId'] }}")
    def process(image_set: dict) -> str:
        """Handle one image set. A retry of this task gets it again, so key the work by id and version."""
        return f"{image_set['imageSetId']}, version {image_set['version']}"

    process.expand(image_set=search.output)
