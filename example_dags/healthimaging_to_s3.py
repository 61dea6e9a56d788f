"""Use this to write a Parquet dataset to S3 every hour: for many image sets, or to query them.

A task reads the dataset, as Athena, DuckDB or Spark would. Workers need ``pip install
'airflow-provider-healthimaging[parquet]'``.

The Airflow Variables ``healthimaging_datastore_id`` and ``healthimaging_bucket`` name the data store and the bucket.
Their defaults are what ``python -m airflow_provider_healthimaging.local serve --bucket image-sets`` creates.
"""

import json
from collections import Counter
from datetime import datetime
from io import BytesIO

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator

with DAG("healthimaging_to_s3", schedule="@hourly", start_date=datetime(2026, 1, 1), catchup=False):
    search = HealthImagingSearchImageSetsOperator(
        task_id="search",
        datastore_id="{{ var.value.get('healthimaging_datastore_id', 'local' ~ '0' * 27) }}",
        s3_uri="s3://{{ var.value.get('healthimaging_bucket', 'image-sets') }}/arrivals/",
        file_format="parquet",
        dicom_tags=["DICOMSeriesModality"],
    )

    @task
    def count_modalities(dataset: dict) -> dict[str, int]:
        """Read the parts that the manifest lists. The manifest exists only if all parts do."""
        from pyarrow.parquet import read_table

        s3 = S3Hook()

        def read(uri: str) -> bytes:
            bucket, key = s3.parse_s3_url(uri)
            return s3.get_key(key, bucket).get()["Body"].read()

        manifest = json.loads(read(dataset["manifest"]))
        tables = (read_table(BytesIO(read(part["uri"])), columns=["DICOMTags"]) for part in manifest["parts"])
        tags = (tags for table in tables for tags in table["DICOMTags"].to_pylist())
        return dict(Counter(each["DICOMSeriesModality"] or "none" for each in tags))

    count_modalities(search.output)
