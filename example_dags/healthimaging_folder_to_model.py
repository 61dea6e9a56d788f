"""Use this to import a folder of DICOM files, and to give the frames of the CT and MR image sets to a model in batches.

``docs/tutorial.md`` explains each task. The Airflow Variables are those of ``healthimaging_import_daily``. ``predict``
needs ``pip install 'airflow-provider-healthimaging[pixels]'``.
"""

from datetime import datetime, timedelta
from itertools import islice

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator as Search
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingStartDicomImportJobOperator as Import
from airflow_provider_healthimaging.transfers.healthimaging_to_s3 import HealthImagingToS3Operator as ToS3

STORE = "{{ var.value.get('healthimaging_datastore_id', 'local' ~ '0' * 27) }}"
BUCKET = "s3://{{ var.value.get('healthimaging_bucket', 'image-sets') }}"
ROLE = "{{ var.value.get('healthimaging_import_role', 'arn:aws:iam::123456789012:role/import') }}"
JOB_TIME = "ti.xcom_pull(task_ids='import', key='summary')['window']"

with DAG("healthimaging_folder_to_model", schedule=None, start_date=datetime(2026, 1, 1), catchup=False):
    imported = Import(
        task_id="import",
        datastore_id=STORE,
        input_s3_uri=BUCKET + "/inbox/",
        output_s3_uri=BUCKET + "/import-reports/",
        data_access_role_arn=ROLE,
    )
    search = Search(
        task_id="search",
        datastore_id=STORE,
        time_field="updatedAt",
        window_start="{{ " + JOB_TIME + "['start'] }}",
        window_end="{{ " + JOB_TIME + "['end'] }}",
        delay=timedelta(minutes=1),
        match={"DICOMSeriesModality": ["CT", "MR"]},
        batch_size=10,
    )
    copy = ToS3.partial(task_id="copy", s3_uri=BUCKET + "/copies/", content=["metadata", "frames"])

    @task
    def predict(image_sets: list[dict]) -> dict[str, list[float]]:
        """Return what the model says of each frame, by the image set's id. Put your model in the place of the mean."""
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        from airflow_provider_healthimaging.pixels import read_frames

        predicted = {image_set["imageSetId"]: [] for image_set in image_sets}
        for image_set in image_sets:
            frames = read_frames(image_set, hook=S3Hook())
            while batch := [frame.samples for frame in islice(frames, 8)]:
                predicted[image_set["imageSetId"]] += [float(samples.mean()) for samples in batch]
        return predicted

    imported >> search
    predict.expand(image_sets=copy.expand(image_sets=search.output).output)
