"""Imports files whose names, headers and mappings are patient data; the mappings come from an Airflow Variable.

The last task shows what is no patient data, wherever it can, and lists the input with another client.
"""

import os
from datetime import datetime

import botocore.session
from airflow.providers.common.compat.sdk import DAG, Asset, task

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingStartDicomImportJobOperator
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingDicomImportJobSensor

DATASTORE_ID = "d" * 32
FAILS = os.environ.get("CANARIES_FAIL", "")
START = botocore.session.get_session().get_service_model("medical-imaging").operation_model("StartDICOMImportJob")
IMPORT = {
    "datastore_id": DATASTORE_ID,
    "input_s3_uri": "s3://image-sets/inbox/",
    "output_s3_uri": "s3://image-sets/reports/",
    "data_access_role_arn": "arn:aws:iam::123456789012:role/import",
    # The lowest version of botocore that is supported cannot send mappings.
    "import_configuration": (
        "{{ var.value.canary_mappings }}" if "importConfiguration" in START.input_shape.members else None
    ),
    "on_failed_files": FAILS or "warn",
    "waiter_delay": 0.1,
}

with DAG("canary_imports", schedule=None, start_date=datetime(2026, 1, 1), catchup=False):
    start = HealthImagingStartDicomImportJobOperator(
        task_id="start", job_name="start", wait_for_completion=False, **IMPORT
    )
    HealthImagingDicomImportJobSensor(
        task_id="wait",
        datastore_id=DATASTORE_ID,
        job_id=start.output,
        on_failed_files=FAILS or "warn",
        poke_interval=0.1,
        deferrable=True,
    )
    HealthImagingStartDicomImportJobOperator(
        task_id="deferred",
        job_name="deferred",
        deferrable=True,
        outlets=[Asset("s3://image-sets/imports")],
        **IMPORT,
    )
    HealthImagingStartDicomImportJobOperator(
        task_id="to_s3", job_name="to_s3", s3_uri="s3://image-sets/arrivals/", **IMPORT
    )

    @task
    def control(given: str) -> str:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        print(given)  # noqa: T201 - that is what it is for
        S3Hook().list_keys("image-sets", prefix=f"{given}/")
        return given

    control("{{ var.value.canary_control }}")
