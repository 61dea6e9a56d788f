"""Use this to import a delivery of DICOM files as soon as it is complete: one run follows the other.

A sender puts the files under ``inbox/<delivery>/``, and then an empty file ``ready/<delivery>`` beside it. Everything
under the input's prefix is imported, so the marker lies outside. Amazon's ``S3KeySensor`` waits for a marker. Its
trigger needs aiobotocore: without it, use ``mode="reschedule"`` in place of ``deferrable=True``. The Airflow Variables
are those of ``healthimaging_import_daily``. Do not name a delivery after a patient, because Airflow shows the name.
"""

from datetime import datetime

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingStartDicomImportJobOperator

BUCKET = "{{ var.value.get('healthimaging_bucket', 'image-sets') }}"
ROLE = "{{ var.value.get('healthimaging_import_role', 'arn:aws:iam::123456789012:role/import') }}"
DELIVERY = "{{ ti.xcom_pull(task_ids='choose') }}"

with DAG(
    "healthimaging_import_on_arrival",
    schedule="@continuous",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
):
    wait = S3KeySensor(
        task_id="wait", bucket_name=BUCKET, bucket_key="ready/*", wildcard_match=True, deferrable=True, poke_interval=30
    )

    @task
    def choose(bucket: str) -> str:
        """Return the name of one delivery that is complete."""
        return min(S3Hook().list_keys(bucket, prefix="ready/")).removeprefix("ready/")

    imported = HealthImagingStartDicomImportJobOperator(
        task_id="import",
        datastore_id="{{ var.value.get('healthimaging_datastore_id', 'local' ~ '0' * 27) }}",
        input_s3_uri=f"s3://{BUCKET}/inbox/{DELIVERY}/",
        output_s3_uri=f"s3://{BUCKET}/import-reports/",
        data_access_role_arn=ROLE,
        deferrable=True,
    )

    @task
    def done(bucket: str, delivery: str) -> None:
        """Remove the marker, so that the next run takes the next delivery."""
        S3Hook().delete_objects(bucket, f"ready/{delivery}")

    wait >> choose(BUCKET) >> imported >> done(BUCKET, DELIVERY)
