"""Use this to import DICOM files, to copy what they became to S3, and to read the pixels in a task of your own.

The last task computes the mean of each image set's first frame; put your model there. It needs the extra ``pixels``:
``pip install 'airflow-provider-healthimaging[pixels]'``.
The Airflow Variables ``healthimaging_datastore_id``, ``healthimaging_bucket`` and ``healthimaging_import_role`` name
the data store, the bucket, and the role with which HealthImaging reads it. Their defaults are for the local service:
``python -m airflow_provider_healthimaging.local serve --bucket image-sets``.
"""

from datetime import datetime

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingStartDicomImportJobOperator
from airflow_provider_healthimaging.transfers.healthimaging_to_s3 import HealthImagingToS3Operator

BUCKET = "s3://{{ var.value.get('healthimaging_bucket', 'image-sets') }}"
ROLE = "{{ var.value.get('healthimaging_import_role', 'arn:aws:iam::123456789012:role/import') }}"

with DAG("healthimaging_import_to_pixels", schedule=None, start_date=datetime(2026, 1, 1), catchup=False):
    imported = HealthImagingStartDicomImportJobOperator(
        task_id="import",
        datastore_id="{{ var.value.get('healthimaging_datastore_id', 'local' ~ '0' * 27) }}",
        input_s3_uri=BUCKET + "/inbox/",
        output_s3_uri=BUCKET + "/import-reports/",
        data_access_role_arn=ROLE,
        on_failed_files="warn",
    )
    copied = HealthImagingToS3Operator(
        task_id="copy", image_sets=imported.output, s3_uri=BUCKET + "/image-sets/", content=["metadata", "frames"]
    )

    @task
    def measure(image_sets: list[dict]) -> dict[str, float | None]:
        """Return the mean of the first frame of each image set, by its id; ``None`` for one without pixels."""
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        from airflow_provider_healthimaging.pixels import read_frames

        means = {}
        for image_set in image_sets:
            frame = next(read_frames(image_set, hook=S3Hook()), None)
            means[image_set["imageSetId"]] = None if frame is None else float(frame.samples.mean())
        return means

    measure(copied.output)
