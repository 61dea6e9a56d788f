"""Image sets go to S3 in a real Airflow: whole, once, under keys without patient data."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_healthimaging.transfers.healthimaging_to_s3 import HealthImagingToS3Operator

DATASTORE_ID = "d" * 32
WHEN = datetime(2026, 3, 1, tzinfo=UTC)
S3_URI = "s3://image-sets/copies/"


def dag(name):
    return DAG(name, schedule=None, start_date=WHEN, catchup=False)


def record(image_set):
    return {"datastoreId": DATASTORE_ID, "imageSetId": image_set.image_set_id, "version": image_set.version}


def objects(bucket, prefix="copies/"):
    return {each.key.removeprefix(prefix): each.get()["Body"].read() for each in bucket.objects.filter(Prefix=prefix)}


def test_the_metadata_of_one_record_lie_in_s3_as_they_came(store, bucket, run_dag, hook):
    given = record(store.put_image_set(DATASTORE_ID))
    with dag("metadata") as made:
        HealthImagingToS3Operator(task_id="copy", image_sets=given, s3_uri=S3_URI, content=["metadata"])

    run = run_dag(made, WHEN)

    assert run.state == "success"
    folder = f"{given['imageSetId']}/v1/"
    assert run.xcom("copy") == [{**given, "s3_uri": S3_URI + folder}]
    stored = objects(bucket)
    assert set(stored) == {folder + "metadata.json.gz", folder + "_manifest.json"}
    blob = hook.get_image_set_metadata(DATASTORE_ID, given["imageSetId"], 1, parsed=False)
    assert stored[folder + "metadata.json.gz"] == blob
    assert json.loads(gzip.decompress(blob))["ImageSetID"] == given["imageSetId"]
    assert run.xcom("copy", "summary")["image_sets"] == 1
