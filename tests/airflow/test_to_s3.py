"""Image sets go to S3 in a real Airflow: whole, once, under keys without patient data."""

from __future__ import annotations

import gzip
import json
import logging
import uuid
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import DAG, Asset, task
from airflow.providers.openlineage.extractors.base import DefaultExtractor

from airflow_provider_healthimaging.exceptions import ExportFailedError, TooManyImageSetsError
from airflow_provider_healthimaging.operators.healthimaging import (
    HealthImagingSearchImageSetsOperator,
    HealthImagingStartDicomImportJobOperator,
)
from airflow_provider_healthimaging.transfers.healthimaging_to_s3 import HealthImagingToS3Operator
from tests.copies import objects
from tests.dicom_files import ROLE, dicom_file

from .evidence import kept_by_airflow, of_the_task

DATASTORE_ID = "d" * 32
WHEN = datetime(2026, 3, 1, tzinfo=UTC)
S3_URI = "s3://image-sets/copies/"


def dag(name):
    return DAG(name, schedule=None, start_date=WHEN, catchup=False)


def record(image_set):
    return {"datastoreId": DATASTORE_ID, "imageSetId": image_set.image_set_id, "version": image_set.version}


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


def image_sets(store, count=3):
    return [record(store.put_image_set(DATASTORE_ID, created_at=WHEN)) for _ in range(count)]


def test_batches_of_a_search_are_copied_by_mapped_tasks_and_an_outlet_gets_the_summary(
    store, bucket, run_dag, asset_events
):
    given = image_sets(store, 5)
    with dag("batches") as made:
        search = HealthImagingSearchImageSetsOperator(
            task_id="search", datastore_id=DATASTORE_ID, time_field=None, batch_size=2
        )
        HealthImagingToS3Operator.partial(
            task_id="copy", s3_uri=S3_URI, content=["metadata"], outlets=[Asset("s3://image-sets/copies")]
        ).expand(image_sets=search.output)

    run = run_dag(made, WHEN)

    assert run.states("copy") == ["success"] * 3
    copied = [each for index in range(3) for each in run.xcom("copy", map_index=index)]
    assert {each["imageSetId"] for each in copied} == {each["imageSetId"] for each in given}
    assert {f"{each['imageSetId']}/v1/_manifest.json" for each in given} <= set(objects(bucket))
    assert sorted(event.extra["image_sets"] for event in asset_events(made)) == [1, 2, 2]


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_the_dataset_of_a_search_is_copied_and_its_tags_stay_where_they_are(store, bucket, run_dag, file_format):
    for _ in range(5):
        store.put_image_set(DATASTORE_ID, created_at=WHEN, dicom_tags={"DICOMPatientName": "CANARY-4711"})
    with dag(f"dataset_{file_format}") as made:
        search = HealthImagingSearchImageSetsOperator(
            task_id="search",
            datastore_id=DATASTORE_ID,
            time_field=None,
            dicom_tags=["DICOMPatientName"],
            s3_uri="s3://image-sets/arrivals/",
            file_format=file_format,
            rows_per_file=2,
        )
        HealthImagingToS3Operator(task_id="copy", image_sets=search.output, s3_uri=S3_URI, content=["metadata"])
        manifest = "{{ ti.xcom_pull(task_ids='search')['manifest'] }}"
        again = HealthImagingToS3Operator(task_id="again", image_sets=manifest, s3_uri=S3_URI, content=["metadata"])
        search >> again

    run = run_dag(made, WHEN)

    assert run.states("copy") == run.states("again") == ["success"]
    assert len(run.xcom("copy")) == 5
    assert "CANARY-4711" not in json.dumps([run.xcom("copy"), run.xcom("copy", "summary")])


@pytest.mark.parametrize("native", [True, False], ids=["native", "text"])
def test_records_come_through_a_template(store, bucket, run_dag, native):
    given = image_sets(store)
    pulled = "{{ ti.xcom_pull(task_ids='choose') | tojson }}"
    with DAG(f"rendered_{native}", schedule=None, start_date=WHEN, render_template_as_native_obj=native) as made:

        @task
        def choose():
            return given

        copied = HealthImagingToS3Operator(task_id="copy", image_sets=pulled, s3_uri=S3_URI, content=["metadata"])
        choose() >> copied

    assert [each["imageSetId"] for each in run_dag(made, WHEN).xcom("copy")] == [each["imageSetId"] for each in given]


def test_rendered_records_show_ids_and_no_tags(store, bucket, run_dag):
    (given,) = image_sets(store, 1)
    tagged = {**given, "DICOMTags": {"DICOMPatientName": "CANARY-4711"}}
    with dag("shown") as made:
        operator = HealthImagingToS3Operator(task_id="copy", image_sets=[tagged], s3_uri=S3_URI, content=["metadata"])

    assert "DICOMTags" not in run_dag(made, WHEN).xcom("copy")[0]
    shown = str(operator.image_sets)
    assert given["imageSetId"] in shown
    assert "CANARY-4711" not in shown


def test_a_task_that_failed_copies_only_what_is_missing_when_it_is_cleared(
    store, bucket, run_dag, clear_and_run, server, failures
):
    given = image_sets(store)
    gone = {**given[0], "imageSetId": "e" * 32}
    with dag("cleared") as made:
        HealthImagingToS3Operator(
            task_id="copy", image_sets=[*given, gone], s3_uri=S3_URI, content=["metadata"], **failures.callbacks
        )

    run = run_dag(made, WHEN)

    assert run.states("copy") == ["failed"]
    (error,) = failures
    assert isinstance(error, ExportFailedError)
    assert error.errors == {"ImageSetNotFoundError": 1}
    assert run.xcom("copy", "summary")["failed_by_type"] == {"ImageSetNotFoundError": 1}
    server.calls.reset()
    clear_and_run(made, run)
    assert [call.status for call in server.calls if call.operation == "GetImageSetMetadata"] == [404]


def test_more_image_sets_than_xcom_may_take_are_refused_before_the_first_call(store, bucket, run_dag, failures, server):
    given = image_sets(store)
    with dag("many") as made:
        HealthImagingToS3Operator(
            task_id="copy", image_sets=given, s3_uri=S3_URI, max_xcom_items=2, **failures.callbacks
        )
    server.calls.reset()

    assert run_dag(made, WHEN).states("copy") == ["failed"]
    assert isinstance(failures[0], TooManyImageSetsError)
    assert len(server.calls) == 0


def test_more_records_than_a_task_can_be_mapped_over_are_refused_before_the_first_call(
    store, bucket, run_dag, failures, server, monkeypatch
):
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "2")
    given = image_sets(store)
    with dag("mapped") as made:

        @task
        def train(record):
            pass

        copied = HealthImagingToS3Operator(task_id="copy", image_sets=given, s3_uri=S3_URI, **failures.callbacks)
        train.expand(record=copied.output)
    server.calls.reset()

    assert run_dag(made, WHEN).states("copy") == ["failed"]
    with pytest.raises(TooManyImageSetsError, match="max_map_length"):
        raise failures[0]
    assert len(server.calls) == 0


def test_nothing_to_copy_is_no_failure(store, bucket, run_dag):
    with dag("nothing") as made:
        HealthImagingToS3Operator(task_id="copy", image_sets=[], s3_uri=S3_URI)
    run = run_dag(made, WHEN)
    assert (run.xcom("copy"), run.xcom("copy", "summary")["image_sets"]) == ([], 0)


def test_lineage_runs_from_the_data_store_to_the_prefix(store, bucket):
    operator = HealthImagingToS3Operator(
        task_id="copy", image_sets=image_sets(store), s3_uri=S3_URI, content=["metadata"], do_xcom_push=False
    )
    operator.execute({"ti": SimpleNamespace(xcom_push=lambda **_: None)})
    found = DefaultExtractor(operator).extract_on_complete(task_instance=SimpleNamespace())
    (source,), (written,) = found.inputs, found.outputs
    assert (source.namespace, source.name) == ("healthimaging://us-east-1", DATASTORE_ID)
    assert (written.namespace, written.name) == ("s3://image-sets", "copies")
    statistics = written.outputFacets["outputStatistics"]
    assert (statistics.rowCount, statistics.fileCount) == (3, 3)


# Patient data.


def test_a_copy_leaves_no_trace_of_what_it_copied_but_the_objects_themselves(
    store, bucket, run_dag, capfd, caplog, monkeypatch, failures
):
    monkeypatch.setattr(logging.getLogger("airflow.task"), "propagate", True)
    name, uid = f"canary{uuid.uuid4().hex}", f"2.25.{uuid.uuid4().int}"
    bucket.put_object(
        Key="inbox/1.dcm",
        Body=dicom_file(PatientName=name, PatientID=name, StudyInstanceUID=uid, SeriesInstanceUID=uid + ".1"),
    )
    # After the upload, which this test does itself: boto3 logs its body.
    caplog.set_level(logging.DEBUG)
    with dag("canaries_of_copies") as made:
        imported = HealthImagingStartDicomImportJobOperator(
            task_id="import",
            datastore_id=DATASTORE_ID,
            input_s3_uri="s3://image-sets/inbox/",
            output_s3_uri="s3://image-sets/reports/",
            data_access_role_arn=ROLE,
            waiter_delay=0.05,
        )
        HealthImagingToS3Operator(task_id="copy", image_sets=imported.output, s3_uri=S3_URI)
        HealthImagingToS3Operator(
            task_id="fails", image_sets=imported.output, s3_uri="s3://no-such-bucket/", **failures.callbacks
        )

    run = run_dag(made, WHEN)

    assert (run.states("copy"), run.states("fails")) == (["success"], ["failed"])
    captured = capfd.readouterr()
    keys = "\n".join(objects(bucket))
    manifest = next(body for key, body in objects(bucket).items() if key.endswith("_manifest.json"))
    shown = [
        captured.out,
        captured.err,
        caplog.text,
        keys,
        manifest.decode(),
        *map(repr, failures),
        *map(str, failures),
    ]
    shown += [value.decode(errors="replace") for _, value in kept_by_airflow()]
    for canary in (name, uid):
        assert [text[:200] for text in shown if canary in "\n".join(of_the_task(text))] == []
    assert "dicom/00001.dcm" in keys
    body = next(body for key, body in objects(bucket).items() if key.endswith(".dcm"))
    assert name.encode() in body
