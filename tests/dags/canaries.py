"""Searches by patient data, which comes from Airflow Variables: what a run's parameters hold, Airflow itself shows.

The last task does what this package does not: it shows what it was given, which is no patient data, wherever it can.
"""

import os
from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, Asset, task

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor

DATASTORE_ID = "d" * 32
ARGUMENTS = {"datastore_id": DATASTORE_ID, "match": {"DICOMAccessionNumber": ["{{ var.value.canary_accession }}"]}}

with DAG("canaries", schedule="@hourly", start_date=datetime(2026, 1, 1), catchup=False):
    HealthImagingSearchImageSetsOperator(
        task_id="to_xcom",
        search_criteria={
            "filters": [{"values": [{"DICOMPatientId": "{{ var.value.canary_patient }}"}], "operator": "EQUAL"}]
        },
        outlets=[Asset("s3://image-sets/canaries")],
        **ARGUMENTS,
    )
    HealthImagingSearchImageSetsOperator(
        task_id="to_s3",
        search_criteria="{{ var.value.canary_criteria }}",
        s3_uri="s3://image-sets/arrivals/",
        rows_per_file=1,
        **ARGUMENTS,
    )
    HealthImagingImageSetSensor(
        task_id="wait",
        search_criteria={
            "filters": [{"values": [{"DICOMStudyInstanceUID": "{{ var.value.canary_study }}"}], "operator": "EQUAL"}]
        },
        # One more than there are, so that the trigger looks and the time runs out.
        min_image_sets=4,
        timeout=1,
        soft_fail=True,
        deferrable=bool(os.environ.get("CANARIES_DEFERRABLE", "yes")),
        poke_interval=0.2,
        **ARGUMENTS,
    )

    @task
    def control(given: str) -> str:
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
        from botocore.config import Config

        print(given)  # noqa: T201 - that is what it is for
        client = AwsBaseHook(client_type="medical-imaging", config=Config(inject_host_prefix=False)).conn
        filters = [{"values": [{"DICOMPatientId": given}], "operator": "EQUAL"}]
        client.search_image_sets(datastoreId=DATASTORE_ID, searchCriteria={"filters": filters})
        return given

    control("{{ var.value.canary_control }}")
