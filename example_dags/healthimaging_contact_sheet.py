"""Use this to look at what arrived: every hour, a PNG with the first frame of each new image set.

Pictures are named after image set and modality. They show what the pixels show, so keep them where you keep images. It
needs ``pip install 'airflow-provider-healthimaging[pixels]' imagecodecs``. The Airflow Variables
``healthimaging_datastore_id`` and ``healthimaging_bucket`` name the data store and the bucket. Their defaults are what
``python -m airflow_provider_healthimaging.local serve --bucket image-sets`` creates.
"""

import gzip
import json
from datetime import datetime
from itertools import islice

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.transfers.healthimaging_to_s3 import HealthImagingToS3Operator

S3_URI = "s3://{{ var.value.get('healthimaging_bucket', 'image-sets') }}/"
DATASTORE_ID = "{{ var.value.get('healthimaging_datastore_id', 'local' ~ '0' * 27) }}"

with DAG("healthimaging_contact_sheet", schedule="@hourly", start_date=datetime(2026, 1, 1), catchup=False):
    search = HealthImagingSearchImageSetsOperator(task_id="search", datastore_id=DATASTORE_ID, batch_size=50)
    copy = HealthImagingToS3Operator.partial(
        task_id="copy", s3_uri=S3_URI + "image-sets/", content=["metadata", "frames"]
    ).expand(image_sets=search.output)

    @task
    def draw(s3_uri: str, image_sets: list[dict]) -> dict[str, str]:
        """Return the key of each image set's picture. There is none without pixels, or if they cannot be shown."""
        import imagecodecs
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        from airflow_provider_healthimaging.exceptions import UnsupportedPixelsError
        from airflow_provider_healthimaging.pixels import read_frames

        s3, keys = S3Hook(), {}
        bucket, _ = s3.parse_s3_url(s3_uri)
        for image_set in image_sets:
            try:
                pictures = [frame.to_8_bits() for frame in islice(read_frames(image_set, hook=s3), 1)]
            except UnsupportedPixelsError:
                continue
            if pictures:
                metadata = s3.get_key(image_set["s3_uri"] + "metadata.json.gz").get()["Body"].read()
                (series,) = json.loads(gzip.decompress(metadata))["Study"]["Series"].values()
                key = f"pictures/{image_set['imageSetId']}-{series['DICOM'].get('Modality') or 'none'}.png"
                s3.load_bytes(imagecodecs.png_encode(pictures[0]), key, bucket, replace=True)
                keys[image_set["imageSetId"]] = key
        return keys

    draw.partial(s3_uri=S3_URI).expand(image_sets=copy.output)
