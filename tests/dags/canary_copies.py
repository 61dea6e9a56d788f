"""Searches for image sets whose attributes are patient data, and copies all that they hold.

The last task shows what is no patient data, wherever it can, and reads metadata with another client.
"""

from datetime import datetime

from airflow import __version__
from airflow.providers.common.compat.sdk import DAG, Asset, task

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.transfers.healthimaging_to_s3 import HealthImagingToS3Operator

DATASTORE_ID = "d" * 32
# The command line of Airflow 3.0 runs a DAG before its assets are active.
OUTLETS = [] if __version__.startswith("3.0.") else [Asset("s3://image-sets/copies")]

with DAG("canary_copies", schedule="@hourly", start_date=datetime(2026, 1, 1), catchup=False):
    search = HealthImagingSearchImageSetsOperator(task_id="search", datastore_id=DATASTORE_ID)
    HealthImagingToS3Operator(
        task_id="copy",
        image_sets=search.output,
        s3_uri="s3://image-sets/copies/",
        content=["metadata", "dicom", "frames"],
        verify="checksum",
        outlets=OUTLETS,
    )

    @task
    def control(given: str, image_sets: list) -> str:
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
        from botocore.config import Config

        print(given)  # noqa: T201 - that is what it is for
        client = AwsBaseHook(client_type="medical-imaging", config=Config(inject_host_prefix=False)).conn
        client.get_image_set_metadata(datastoreId=DATASTORE_ID, imageSetId=image_sets[0]["imageSetId"])
        return given

    control("{{ var.value.canary_control }}", search.output)
