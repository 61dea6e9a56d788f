"""Searches by patient data, which comes from Airflow Variables: what a run's parameters hold, Airflow itself shows."""

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, Asset

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator

ARGUMENTS = {"datastore_id": "d" * 32, "match": {"DICOMAccessionNumber": ["{{ var.value.canary_accession }}"]}}

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
        **ARGUMENTS,
    )
