"""What the operator promises, kept by real task runs against the local service.

Each DAG stands in the test that runs it. All of them run at noon and search the hour before, ``[11:00, 12:00)``.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from subprocess import PIPE
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import DAG, Asset, TaskDeferred, task

from airflow_provider_healthimaging.exceptions import (
    DatastoreNotFoundError,
    InvalidArgumentError,
    NoImageSetsError,
    ServiceError,
)
from airflow_provider_healthimaging.local import LocalServer, airflow_connection
from airflow_provider_healthimaging.operators import search as operators
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.search.image_set import DICOM_TAGS

DATASTORE_ID = "d" * 32
OTHER_DATASTORE_ID = "e" * 32
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ELEVEN = NOON - timedelta(hours=1)
MINUTE = timedelta(minutes=1)
RETRIED = {"retries": 3, "retry_delay": timedelta(0)}
FOLDER = "arrivals/window=20260301T110000Z_20260301T120000Z/"


@pytest.fixture
def hourly(request):
    """``hourly(...)`` makes a DAG named after the test."""
    return lambda **arguments: DAG(
        request.node.originalname, schedule="@hourly", start_date=ELEVEN, catchup=False, **arguments
    )


def find(**arguments):
    """Make the task under test, ``find``."""
    return HealthImagingSearchImageSetsOperator(**{"task_id": "find", "datastore_id": DATASTORE_ID, **arguments})


def put(store, count, datastore_id=DATASTORE_ID, **tags):
    """Put so many image sets into the hour before noon, one a second, and return their ids in order."""
    return [
        store.put_image_set(datastore_id, created_at=ELEVEN + timedelta(seconds=second), dicom_tags=tags).image_set_id
        for second in range(count)
    ]


def ids(records):
    return [record["imageSetId"] for record in records]


# What is handed on through XCom.


def test_each_record_has_ids_version_times_and_no_tag(store, hourly, run_dag, capfd):
    (image_set_id,) = put(store, 1, DICOMPatientId="somebody")
    with hourly() as dag:
        find()

    run = run_dag(dag, NOON)

    assert "will be kept in" not in capfd.readouterr().out
    assert run.xcom("find") == [
        {
            "datastoreId": DATASTORE_ID,
            "imageSetId": image_set_id,
            "version": 1,
            "createdAt": "2026-03-01T11:00:00.000Z",
            "updatedAt": "2026-03-01T11:00:00.000Z",
            "isPrimary": True,
        }
    ]


def test_a_task_is_mapped_over_what_was_found(store, hourly, run_dag):
    expected = put(store, 3)
    with hourly() as dag:

        @task
        def take(image_set):
            return image_set["imageSetId"]

        take.expand(image_set=find().output)

    run = run_dag(dag, NOON)

    assert [run.xcom("take", map_index=index) for index in range(3)] == expected
    assert run.states("take") == ["success"] * 3


def test_with_batch_size_a_task_is_mapped_over_lists(store, hourly, run_dag):
    expected = put(store, 7)
    with hourly() as dag:

        @task
        def take(batch):
            return [image_set["imageSetId"] for image_set in batch]

        take.expand(batch=find(batch_size=3).output)

    run = run_dag(dag, NOON)

    assert [run.xcom("take", map_index=index) for index in range(3)] == [expected[:3], expected[3:6], expected[6:]]


def test_the_summary_says_window_rule_and_what_it_cost(store, server, hourly, run_dag):
    put(store, 120)
    with hourly() as dag:
        find(lookback=timedelta(0))

    summary = run_dag(dag, NOON).xcom("find", "summary")

    assert summary.pop("rule").startswith(("rule 2", "rule 3"))
    assert summary.pop("seconds") >= 0
    assert summary == {
        "datastore_id": DATASTORE_ID,
        "time_field": "createdAt",
        "window": {"start": "2026-03-01T11:00:00Z", "end": "2026-03-01T12:00:00Z"},
        "filters": [],
        "match": [],
        "read": 120,
        "image_sets": 120,
        "pages": 3,
        "calls": 3,
        "output": "XCom",
    }
    assert server.calls.count("SearchImageSets") == 3


def test_as_many_as_max_xcom_items_are_handed_on(store, hourly, run_dag):
    expected = put(store, 4)
    with hourly() as dag:
        find(max_xcom_items=4)

    assert ids(run_dag(dag, NOON).xcom("find")) == expected


def test_one_more_than_max_xcom_items_is_an_error_that_names_s3_uri_and_pushes_nothing(
    store, hourly, run_dag, failures
):
    put(store, 5)
    with hourly() as dag:
        find(max_xcom_items=4, **RETRIED, **failures.callbacks)

    run = run_dag(dag, NOON)

    assert run.states("find") == ["failed"]
    assert {key for _, _, key in run.xcoms}.isdisjoint({"return_value", "summary"})
    (error,) = failures
    assert "max_xcom_items=4" in str(error)
    assert "s3_uri" in str(error)


@pytest.mark.parametrize(
    ("on_empty", "states"),
    [("succeed", ["success", "success"]), ("skip", ["skipped", "skipped"]), ("fail", ["failed", "upstream_failed"])],
)
def test_on_empty_says_what_becomes_of_a_run_that_finds_nothing(store, hourly, run_dag, failures, on_empty, states):
    with hourly() as dag:

        @task
        def after():
            return "went on"

        find(on_empty=on_empty, **failures.callbacks) >> after()

    run = run_dag(dag, NOON)

    assert [*run.states("find"), *run.states("after")] == states
    assert [type(error) for error in failures] == ([NoImageSetsError] if on_empty == "fail" else [])


@pytest.mark.parametrize("on_empty", ["skip", "fail"])
def test_on_empty_does_nothing_where_something_was_found(store, hourly, run_dag, on_empty):
    expected = put(store, 1)
    with hourly() as dag:
        find(on_empty=on_empty)

    assert ids(run_dag(dag, NOON).xcom("find")) == expected


# What is searched.


def test_search_criteria_and_match_narrow_what_is_found(store, hourly, run_dag):
    put(store, 2, DICOMPatientId="one", DICOMSeriesModality="US")
    expected = put(store, 2, DICOMPatientId="one", DICOMSeriesModality="CT")
    put(store, 2, DICOMPatientId="two", DICOMSeriesModality="CT")
    with hourly() as dag:
        find(
            search_criteria={"filters": [{"values": [{"DICOMPatientId": "one"}], "operator": "EQUAL"}]},
            match={"DICOMSeriesModality": ["CT", "MR"]},
        )

    assert sorted(ids(run_dag(dag, NOON).xcom("find"))) == sorted(expected)


def test_time_field_updated_at_finds_what_changed(store, hourly, run_dag):
    changed = store.put_image_set(DATASTORE_ID, created_at=ELEVEN - timedelta(days=9), updated_at=ELEVEN, version=2)
    store.put_image_set(DATASTORE_ID, created_at=ELEVEN, updated_at=NOON)
    with hourly() as dag:
        find(time_field="updatedAt")

    (record,) = run_dag(dag, NOON).xcom("find")

    assert (record["imageSetId"], record["version"]) == (changed.image_set_id, 2)


def test_time_field_none_searches_by_the_criteria_alone(store, hourly, run_dag):
    expected = store.put_image_set(
        DATASTORE_ID, created_at=NOON - timedelta(days=999), dicom_tags={"DICOMAccessionNumber": "A1"}
    )
    put(store, 3)
    with hourly() as dag:
        find(
            time_field=None,
            search_criteria={"filters": [{"values": [{"DICOMAccessionNumber": "A1"}], "operator": "EQUAL"}]},
        )

    run = run_dag(dag, NOON)

    assert ids(run.xcom("find")) == [expected.image_set_id]
    assert run.xcom("find", "summary")["window"] is None


def test_lookback_moves_the_start_back_and_leaves_the_end(store, hourly, run_dag):
    moments = [ELEVEN - 10 * MINUTE, ELEVEN - 5 * MINUTE, ELEVEN, NOON]
    rows = [store.put_image_set(DATASTORE_ID, created_at=moment).image_set_id for moment in moments]
    with hourly() as dag:
        find(lookback=5 * MINUTE)

    assert ids(run_dag(dag, NOON).xcom("find")) == rows[1:3]


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (["DICOMPatientId", "DICOMSeriesModality"], ["DICOMPatientId", "DICOMSeriesModality"]),
        ("all", list(DICOM_TAGS)),
    ],
    ids=["list", "all"],
)
def test_dicom_tags_are_kept_where_asked_for_and_the_log_says_where(store, hourly, run_dag, capfd, asked, kept):
    put(store, 1, DICOMPatientId="somebody", DICOMSeriesModality="CT")
    with hourly() as dag:
        find(dicom_tags=asked)

    run = run_dag(dag, NOON)

    have = {"DICOMPatientId": "somebody", "DICOMSeriesModality": "CT"}
    assert run.xcom("find")[0]["DICOMTags"] == {tag: have.get(tag) for tag in kept}
    (said,) = {
        line.partition("kept in ")[2] for line in capfd.readouterr().out.splitlines() if "will be kept in" in line
    }
    assert said.startswith("XCom")
    assert ", ".join(kept) in said


def test_max_items_cuts_off_and_next_token_goes_on_from_there(store, hourly, run_dag):
    expected = put(store, 7)
    with hourly(params={"token": ""}) as dag:
        find(pagination_config={"MaxItems": 4, "PageSize": 3, "StartingToken": "{{ params.token }}"})

    first = run_dag(dag, NOON)
    second = run_dag(dag, NOON, conf={"token": first.xcom("find", "next_token")})

    assert ids(first.xcom("find")) == expected[:4]
    assert ids(second.xcom("find")) == expected[4:]
    assert second.xcom("find", "next_token") is None


# When it is searched.


@pytest.fixture
def clock(monkeypatch):
    """The times that the operator sees when it looks at the clock, one a look; it cannot sleep."""
    looks = []

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return looks.pop(0)

    monkeypatch.setattr(operators, "datetime", Clock)
    monkeypatch.delattr(operators, "time")
    return looks


def test_the_search_waits_for_the_windows_end_and_the_delay(store, server, clock, hourly, run_dag, monkeypatch):
    expected = put(store, 2)
    slept = []
    sleep = SimpleNamespace(sleep=lambda seconds: slept.append((seconds, server.calls.count())))
    monkeypatch.setattr(operators, "time", sleep, raising=False)
    clock.append(NOON + timedelta(seconds=30))
    with hourly() as dag:
        find(delay=timedelta(seconds=90))

    run = run_dag(dag, NOON)

    assert slept == [(60.0, 0)]
    assert ids(run.xcom("find")) == expected


def test_the_search_does_not_wait_where_the_delay_is_over(store, clock, hourly, run_dag):
    clock.append(NOON + timedelta(seconds=90))
    with hourly() as dag:
        find(delay=timedelta(seconds=90))

    assert run_dag(dag, NOON).states("find") == ["success"]


def test_a_deferrable_search_waits_in_the_triggerer(store, clock, hourly, run_dag):
    expected = put(store, 2)
    clock += [NOON + timedelta(seconds=30), NOON + timedelta(seconds=61)]
    with hourly() as dag:
        find(deferrable=True)

    run = run_dag(dag, NOON)

    assert clock == []
    assert ids(run.xcom("find")) == expected


def test_a_deferred_search_ends_without_a_triggerer(store, clock):
    clock.append(NOON)
    with pytest.raises(TaskDeferred) as deferred:
        find(deferrable=True, window_start=NOON - timedelta(hours=1), window_end=NOON).execute({})
    assert timedelta(seconds=60) < deferred.value.timeout < timedelta(hours=1)


def test_the_connection_and_the_arguments_for_s3_are_templates(store, bucket, hourly, run_dag, monkeypatch):
    put(store, 1)
    monkeypatch.setenv("AIRFLOW_CONN_WRITER", os.environ["AIRFLOW_CONN_AWS_DEFAULT"])
    with hourly(params={"conn": "writer", "class": "STANDARD_IA"}) as dag:
        find(
            s3_uri="s3://image-sets/",
            s3_conn_id="{{ params.conn }}",
            s3_extra_args={"StorageClass": "{{ params['class'] }}"},
        )

    run = run_dag(dag, NOON)

    assert run.states("find") == ["success"]
    assert {stored.storage_class for stored in bucket.objects.all()} == {"STANDARD_IA"}


def test_a_key_in_the_arguments_for_s3_is_not_shown():
    task = find(s3_uri="s3://image-sets/", s3_extra_args={"StorageClass": "STANDARD_IA", "SSECustomerKey": "a-secret"})
    assert str(task.s3_extra_args) == '{"StorageClass": "***", "SSECustomerKey": "***"}'


# The dataset in S3.


def contents(bucket):
    """Return every object of the bucket, by key."""
    return {stored.key: stored.get()["Body"].read() for stored in bucket.objects.all()}


def rows_in(bucket, manifest_key=FOLDER + "_manifest.json"):
    """Return the rows of the parts that the manifest lists."""
    stored = contents(bucket)
    parts = json.loads(stored[manifest_key])["parts"]
    keys = [part["uri"].removeprefix(f"s3://{bucket.name}/") for part in parts]
    return [json.loads(line) for key in keys for line in gzip.decompress(stored[key]).splitlines()]


def test_s3_uri_writes_parts_and_a_manifest_and_returns_its_summary(store, bucket, hourly, run_dag):
    expected = put(store, 5)
    with hourly() as dag:
        find(s3_uri="s3://image-sets/arrivals/", rows_per_file=2)

    run = run_dag(dag, NOON)

    parts = [f"{FOLDER}part-0000{number}.jsonl.gz" for number in range(3)]
    assert list(contents(bucket)) == [FOLDER + "_manifest.json", *parts]
    assert ids(rows_in(bucket)) == expected
    assert run.xcom("find") == {
        "s3_uri": f"s3://image-sets/{FOLDER}",
        "manifest": f"s3://image-sets/{FOLDER}_manifest.json",
        "image_sets": 5,
        "parts": 3,
    }
    manifest = json.loads(contents(bucket)[FOLDER + "_manifest.json"])
    assert manifest["window"] == {"start": "2026-03-01T11:00:00Z", "end": "2026-03-01T12:00:00Z"}
    assert [part["rows"] for part in manifest["parts"]] == [2, 2, 1]


def test_more_than_xcom_takes_goes_to_s3(store, bucket, hourly, run_dag):
    expected = put(store, 5)
    with hourly() as dag:
        find(s3_uri="s3://image-sets/arrivals", max_xcom_items=1)

    assert run_dag(dag, NOON).states("find") == ["success"]
    assert ids(rows_in(bucket)) == expected


def test_a_run_that_finds_nothing_writes_a_manifest_of_no_parts(store, bucket, hourly, run_dag):
    with hourly() as dag:
        find(s3_uri="s3://image-sets/arrivals/")

    run = run_dag(dag, NOON)

    assert list(contents(bucket)) == [FOLDER + "_manifest.json"]
    assert (run.xcom("find")["image_sets"], run.xcom("find")["parts"]) == (0, 0)


def test_the_same_window_again_leaves_the_same_keys_and_bytes(store, bucket, hourly, run_dag):
    put(store, 5)
    with hourly() as dag:
        find(s3_uri="s3://image-sets/arrivals/", rows_per_file=2)
    run_dag(dag, NOON)
    first = contents(bucket)

    run = run_dag(dag, NOON)

    assert run.xcom("find")["parts"] == 3
    assert contents(bucket) == first


def test_a_second_run_that_finds_less_leaves_no_part_of_the_first(store, bucket, hourly, run_dag):
    *gone, kept = put(store, 5)
    with hourly() as dag:
        find(s3_uri="s3://image-sets/arrivals/", rows_per_file=2)
    run_dag(dag, NOON)
    for image_set_id in gone:
        store.delete_image_set(DATASTORE_ID, image_set_id)

    run_dag(dag, NOON)

    assert list(contents(bucket)) == [FOLDER + "_manifest.json", FOLDER + "part-00000.jsonl.gz"]
    assert ids(rows_in(bucket)) == [kept]


WRITES_TWO_PARTS_AND_HANGS = """
import threading
from datetime import UTC, datetime
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow_provider_healthimaging.output.dataset import S3Dataset, window_folder
from airflow_provider_healthimaging.output.destination import OutputRequest
from airflow_provider_healthimaging.output.file_formats import file_format
from airflow_provider_healthimaging.window import TimeWindow

def records():
    yield from ({"imageSetId": str(number)} for number in range(4))
    print("both are written", flush=True)
    threading.Event().wait()

window = TimeWindow("2026-03-01T11:00:00Z", "2026-03-01T12:00:00Z")
destination = OutputRequest.parse(s3_uri="s3://image-sets/arrivals/", rows_per_file=2).s3
dataset = S3Dataset(S3Hook(), destination, window_folder(window), file_format("jsonl", ()))
dataset.write(records(), {}, dataset.load_checkpoint(None, "createdAt"))
"""


def test_a_run_killed_halfway_leaves_no_manifest_and_the_next_one_is_complete(store, bucket, hourly, run_dag):
    expected = put(store, 5)
    with hourly() as dag:
        find(s3_uri="s3://image-sets/arrivals/", rows_per_file=2)
    run_dag(dag, NOON)
    second_part = FOLDER + "part-00001.jsonl.gz"
    before = contents(bucket)[second_part]

    with subprocess.Popen([sys.executable, "-c", WRITES_TWO_PARTS_AND_HANGS], stdout=PIPE, text=True) as writer:
        assert "both are written\n" in iter(writer.stdout.readline, "")
        writer.kill()

    assert contents(bucket)[second_part] != before
    assert FOLDER + "_manifest.json" not in contents(bucket)
    run_dag(dag, NOON)
    assert ids(rows_in(bucket)) == expected


# What goes wrong.


def test_what_no_retry_will_cure_fails_at_once(store, hourly, run_dag, failures):
    with hourly() as dag:
        find(datastore_id="0" * 32, **RETRIED, **failures.callbacks)

    run = run_dag(dag, NOON)

    assert run.states("find") == ["failed"]
    assert run.task("find").try_number == 1
    assert failures.retried == []
    (error,) = failures
    assert isinstance(error, DatastoreNotFoundError)
    assert error.code == "ResourceNotFoundException"


def test_what_a_retry_may_cure_is_retried(store, monkeypatch, hourly, run_dag, failures):
    expected = put(store, 2)
    left = ["503 Service Unavailable"]

    def down_once(app):
        def answer(environ, start_response):
            if left and "searchImageSets" in environ["PATH_INFO"]:
                start_response(left.pop(), [("Content-Type", "application/json")])
                return [b"{}"]
            return app(environ, start_response)

        return answer

    with hourly() as dag:
        find(
            botocore_config={"retries": {"total_max_attempts": 1}},
            **RETRIED,
            **failures.callbacks,
        )
    with LocalServer(middleware=down_once) as server:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", airflow_connection(server.url))
        run = run_dag(dag, NOON)

    assert [type(error) for error in failures.retried] == [ServiceError]
    assert failures == []
    assert run.task("find").try_number == 2
    assert ids(run.xcom("find")) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        {"time_field": "created_at"},
        {"on_empty": "ignore"},
        {"batch_size": 0},
        {"delay": "60 seconds"},
        {"lookback": -1},
        {"datastore": DATASTORE_ID},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_an_argument_that_cannot_work_is_an_error_when_the_dag_is_parsed(hourly, arguments):
    with hourly(), pytest.raises(InvalidArgumentError):
        find(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"datastore_id": "too-short"},
        {"datastore_id": "{{ params.store }}"},
        {"dicom_tags": ["PatientName"]},
        {"pagination_config": {"PageSize": 51}},
        {"s3_uri": "/tmp/arrivals"},
    ],
)
def test_a_template_field_that_cannot_work_fails_the_task_at_once(arguments, store, server, hourly, run_dag, failures):
    with hourly(params={"store": "too-short"}) as dag:
        find(**arguments, **RETRIED, **failures.callbacks)

    run = run_dag(dag, NOON)

    assert run.states("find") == ["failed"]
    assert run.task("find").try_number == 1
    assert isinstance(failures[0], InvalidArgumentError)
    assert server.calls.count() == 0


# How it fits into Airflow.


def test_the_event_of_an_outlet_carries_the_summary(store, hourly, run_dag, asset_events):
    put(store, 2)
    with hourly() as dag:
        find(outlets=[Asset("s3://image-sets/found")])

    run = run_dag(dag, NOON)

    (event,) = asset_events(dag)
    assert event.extra == run.xcom("find", "summary")
    assert event.extra["image_sets"] == 2


def test_the_link_leads_to_the_data_store_in_the_console(store, hourly, run_dag):
    with hourly() as dag:
        find()

    run = run_dag(dag, NOON)

    shown = serialized(dag.dag_id).get_task("find").get_extra_links(run.task("find"), "HealthImaging Data Store")
    assert shown == ("https://console.aws.amazon.com/medical-imaging/home?region=us-east-1#/dataStores/" + DATASTORE_ID)


def serialized(dag_id):
    """Return a DAG as Airflow's own components read it from the metadata database."""
    from airflow.models.serialized_dag import SerializedDagModel

    return SerializedDagModel.get(dag_id).dag


def test_the_serialized_dag_shows_the_structure_of_criteria_and_match_but_no_value(hourly, register):
    from airflow.models.serialized_dag import SerializedDagModel

    with hourly() as dag:
        find(
            search_criteria={"filters": [{"values": [{"DICOMPatientId": "canary-1"}], "operator": "EQUAL"}]},
            match={"DICOMAccessionNumber": "canary-2"},
        )

    register(dag)

    kept = json.dumps(SerializedDagModel.get(dag.dag_id).data)
    assert "DICOMPatientId" in kept
    assert "DICOMAccessionNumber" in kept
    assert "canary" not in kept


def test_criteria_may_be_another_tasks_output(store, hourly, run_dag):
    put(store, 2, DICOMPatientId="one")
    expected = put(store, 2, DICOMPatientId="two")
    with hourly() as dag:

        @task
        def choose():
            return {"filters": [{"values": [{"DICOMPatientId": "two"}], "operator": "EQUAL"}]}

        found = find(search_criteria=choose())

    assert found.upstream_task_ids == {"choose"}
    assert ids(run_dag(dag, NOON).xcom("find")) == expected


def test_it_can_be_mapped_over_data_stores(store, hourly, run_dag):
    store.create_datastore("other", datastore_id=OTHER_DATASTORE_ID)
    expected = [put(store, 2, datastore_id) for datastore_id in (DATASTORE_ID, OTHER_DATASTORE_ID)]
    with hourly() as dag:
        HealthImagingSearchImageSetsOperator.partial(
            task_id="find",
            search_criteria={"filters": [{"values": [{"isPrimary": True}], "operator": "EQUAL"}]},
        ).expand(datastore_id=[DATASTORE_ID, OTHER_DATASTORE_ID])

    run = run_dag(dag, NOON)

    assert [ids(run.xcom("find", map_index=index)) for index in range(2)] == expected


def test_what_one_run_rendered_does_not_leak_into_the_next(store, hourly, run_dag):
    by_patient = {name: put(store, 2, DICOMPatientId=name, DICOMSeriesModality=f"{name}-CT") for name in ("a", "b")}
    with hourly(params={"patient": ""}) as dag:
        find(
            search_criteria={
                "filters": [{"values": [{"DICOMPatientId": "{{ params.patient }}"}], "operator": "EQUAL"}]
            },
            match={"DICOMSeriesModality": ["{{ params.patient }}-CT"]},
        )

    for name, expected in by_patient.items():
        assert ids(run_dag(dag, NOON, conf={"patient": name}).xcom("find")) == expected


def test_templates_may_render_to_python_objects(store, hourly, run_dag):
    put(store, 3, DICOMPatientId="one")
    expected = put(store, 3, DICOMPatientId="two")[1:]
    criteria = {"filters": [{"values": [{"DICOMPatientId": "two"}], "operator": "EQUAL"}]}
    params = {
        "criteria": criteria,
        "match": {"isPrimary": True},
        "tags": ["DICOMPatientId"],
        "paging": {"PageSize": 2},
        "start": (ELEVEN + timedelta(seconds=1)).isoformat(),
    }
    with hourly(render_template_as_native_obj=True, params=params) as dag:
        find(
            search_criteria="{{ params.criteria }}",
            match="{{ params.match }}",
            dicom_tags="{{ params.tags }}",
            pagination_config="{{ params.paging }}",
            window_start="{{ params.start }}",
            window_end="{{ data_interval_end }}",
        )

    records = run_dag(dag, NOON).xcom("find")

    assert ids(records) == expected
    assert [record["DICOMTags"] for record in records] == [{"DICOMPatientId": "two"}] * 2


def test_encryption_goes_with_every_object(store, bucket, hourly, run_dag):
    put(store, 3)
    with hourly() as dag:
        find(
            s3_uri="s3://image-sets/arrivals/",
            rows_per_file=2,
            s3_extra_args={"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "a-key"},
        )

    run_dag(dag, NOON)

    stored = [each.Object() for each in bucket.objects.all()]
    assert len(stored) == 3
    assert {(each.server_side_encryption, each.ssekms_key_id) for each in stored} == {("aws:kms", "a-key")}
