"""Use this to wait until one study is complete: it is found, and its image sets have stopped changing.

Put the accession number into the Airflow Variable ``secret_accession_number`` before you trigger the DAG. The name
contains ``secret``, so Airflow shows ``***`` for the value. A parameter of the run would be shown in clear.
"""

from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor

with DAG("healthimaging_wait_for_study", schedule=None, start_date=datetime(2026, 1, 1), catchup=False):
    study = HealthImagingImageSetSensor(
        task_id="wait_for_study",
        datastore_id="{{ var.value.get('healthimaging_datastore_id', 'local' ~ '0' * 27) }}",
        search_criteria={
            "filters": [
                {
                    "values": [{"DICOMAccessionNumber": "{{ var.value.secret_accession_number }}"}],
                    "operator": "EQUAL",
                }
            ]
        },
        time_field=None,
        quiet_period=timedelta(minutes=10),
        deferrable=True,
        poke_interval=60,
        timeout=timedelta(hours=6).total_seconds(),
    )

    @task
    def report(image_sets: list[dict]) -> str:
        """Say what the study consists of."""
        return f"The study is complete with {len(image_sets)} series."

    report(study.output)
