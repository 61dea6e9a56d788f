"""Use this to write the whole metadata of each new image set to S3, every hour.

The metadata holds the patient's name and everything else in the DICOM headers. So it goes from the service to S3 as
it is, as gzipped JSON, and not into XCom or the log. The image sets come in batches, so that there are fewer tasks.
The Airflow Variables ``healthimaging_datastore_id`` and ``healthimaging_bucket`` name the data store and the bucket.
Their defaults are what ``python -m airflow_provider_healthimaging.local serve --bucket image-sets`` creates.
"""

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator as Search
from airflow_provider_healthimaging.transfers.healthimaging_to_s3 import HealthImagingToS3Operator as ToS3

STORE = "{{ var.value.get('healthimaging_datastore_id', 'local' ~ '0' * 27) }}"
S3_URI = "s3://{{ var.value.get('healthimaging_bucket', 'image-sets') }}/metadata/"

with DAG("healthimaging_metadata", schedule="@hourly", start_date=datetime(2026, 1, 1), catchup=False):
    search = Search(task_id="search", datastore_id=STORE, batch_size=20)
    copy = ToS3.partial(task_id="copy", s3_uri=S3_URI, content=["metadata"], max_active_tis_per_dag=4)
    copy.expand(image_sets=search.output)
