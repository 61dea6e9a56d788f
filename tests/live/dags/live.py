"""The DAGs of the live test: two sensors, an asset that watches, and a task that leaks what it is given."""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor
from airflow_provider_healthimaging.triggers.healthimaging import HealthImagingNewImageSetsTrigger

DATASTORE_ID = os.environ["LIVE_DATASTORE_ID"]


def equal(attribute: str, value: str) -> dict:
    return {"filters": [{"values": [{attribute: value}], "operator": "EQUAL"}]}


for number in (1, 2):
    with DAG(f"wait_for_study_{number}", schedule=None):
        HealthImagingImageSetSensor(
            task_id="wait",
            datastore_id=DATASTORE_ID,
            search_criteria=equal("DICOMAccessionNumber", f"{{{{ var.value.accession_number_{number} }}}}"),
            time_field=None,
            deferrable=True,
            poke_interval=2,
            timeout=600,
        )

studies = Asset(
    "studies",
    watchers=[
        AssetWatcher(
            name="arrivals",
            trigger=HealthImagingNewImageSetsTrigger(
                datastore_id=DATASTORE_ID,
                # Read here as a DAG's author would have to: a trigger for an asset renders no templates.
                search_criteria=equal("DICOMStudyId", os.environ["AIRFLOW_VAR_STUDY_ID"]),
                delay=5,
                poke_interval=1,
            ),
        )
    ],
)

# No retry has to be waited for: tasks die with the scheduler that runs them.
with DAG(
    "on_arrival",
    schedule=studies,
    max_active_runs=2,
    default_args={"retries": 9, "retry_delay": timedelta(seconds=1)},
):
    HealthImagingSearchImageSetsOperator(
        task_id="search",
        datastore_id=DATASTORE_ID,
        search_criteria=equal("DICOMStudyId", "{{ var.value.study_id }}"),
        delay=timedelta(0),
    )

with DAG("leak", schedule=None):

    @task
    def leak(given: str) -> str:
        print(given)  # noqa: T201 - that is what it is for
        return given

    leak("{{ var.value.leaked }}")
