"""Use this to import the DICOM files of each day, and to run one task for each image set that they became.

The senders put a day's files under ``inbox/2026-01-31/``. The run after midnight imports them with one import job. A
retry, or a run that is cleared, finds the same job. The Airflow Variables ``healthimaging_datastore_id``,
``healthimaging_bucket`` and ``healthimaging_import_role`` name the data store, the bucket, and the role with which
HealthImaging reads it. Their defaults are for the local service: ``python -m airflow_provider_healthimaging.local serve
--bucket image-sets``.
"""

from datetime import datetime

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingStartDicomImportJobOperator

BUCKET = "s3://{{ var.value.get('healthimaging_bucket', 'image-sets') }}"
ROLE = "{{ var.value.get('healthimaging_import_role', 'arn:aws:iam::123456789012:role/import') }}"

with DAG(
    "healthimaging_import_daily",
    # In Airflow 3, "@daily" gives runs no data interval. With this timetable, it is the day before.
    schedule=CronDataIntervalTimetable("@daily", "UTC"),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 2},
):
    imported = HealthImagingStartDicomImportJobOperator(
        task_id="import",
        datastore_id="{{ var.value.get('healthimaging_datastore_id', 'local' ~ '0' * 27) }}",
        input_s3_uri=BUCKET + "/inbox/{{ data_interval_start | ds }}/",
        output_s3_uri=BUCKET + "/import-reports/",
        data_access_role_arn=ROLE,
        # Files that are no DICOM do not stop the others. The summary counts them.
        on_failed_files="warn",
        deferrable=True,
    )

    @task(map_index_template="{{ task.op_kwargs['image_set']['imageSetId'] }}")
    def process(image_set: dict) -> str:
        """Handle one image set that the import made or changed."""
        return f"{image_set['imageSetId']}, version {image_set['version']}"

    process.expand(image_set=imported.output)
