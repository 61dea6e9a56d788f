"""Import jobs in a real Airflow: one job for a task of a run, the truth about its files, the same end in each mode."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from types import SimpleNamespace
from typing import Any

import airflow
import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowTaskTimeout, Asset, TaskDeferred, task
from packaging.version import Version

from airflow_provider_healthimaging.exceptions import (
    ConfigurationError,
    ConnectionFailedError,
    HealthImagingError,
    ImportJobFailedError,
    WaitTimeoutError,
)
from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.links.healthimaging import HealthImagingDicomImportJobLink
from airflow_provider_healthimaging.local import LocalServer, airflow_connection
from airflow_provider_healthimaging.operators.healthimaging import (
    HealthImagingSearchImageSetsOperator,
    HealthImagingStartDicomImportJobOperator,
)
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingDicomImportJobSensor
from airflow_provider_healthimaging.task import import_job
from airflow_provider_healthimaging.task.deferral import TRIGGER_FAILED
from airflow_provider_healthimaging.window import parse_instant
from tests.dicom_files import ROLE, dicom_file, upload

DATASTORE_ID = "d" * 32
WHEN = datetime(2026, 3, 1, tzinfo=UTC)
REQUEST = {
    "datastore_id": DATASTORE_ID,
    "input_s3_uri": "s3://image-sets/inbox/",
    "output_s3_uri": "s3://image-sets/reports/",
    "data_access_role_arn": ROLE,
}
IMPORT = {**REQUEST, "waiter_delay": 0.05}
DATA_STORE = Asset("s3://image-sets/data-store")
RETRIED = {"retries": 1, "retry_delay": timedelta(0)}


def dag(name):
    return DAG(name, schedule=None, start_date=WHEN, catchup=False)


def dag_id(request):
    return re.sub(r"\W", "_", request.node.name)


def imported(**arguments):
    return HealthImagingStartDicomImportJobOperator(task_id="import", **{**IMPORT, **arguments})


def jobs(hook, status=None):
    return [job["jobId"] for job in hook.list_dicom_import_jobs(DATASTORE_ID, job_status=status)]


class Script:
    """Plays a scenario in front of the local service: how it answers which call, by a part of the path."""

    def __init__(self, app):
        self.app = app
        self.answers: list[tuple[str, str, str]] = []
        self.calls: dict[str, int] = {}
        self.at: dict[tuple[str, int], Callable[[], object]] = {}

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        for each in ("startDICOMImportJob", "getDICOMImportJob"):
            if each in path:
                self.calls[each] = self.calls.get(each, 0) + 1
                self.at.get((each, self.calls[each]), lambda: None)()
        for answer in self.answers:
            part, status, code = answer
            if part in path:
                self.answers.remove(answer)
                body = f"<Error><Code>{code}</Code></Error>" if ".json" in path else '{"message": "no"}'
                start_response(status, [("x-amzn-ErrorType", code), ("Content-Type", "application/json")])
                return [body.encode()]
        return self.app(environ, start_response)


@pytest.fixture
def script(store, bucket, monkeypatch):
    """A server of its own for the scenario, with botocore's retries off so that faults reach the task."""
    scripts = []

    def scripted(app):
        scripts.append(Script(app))
        return scripts[0]

    with LocalServer(port=0, middleware=scripted) as server:
        connection = json.loads(airflow_connection(server.url, "us-east-1"))
        connection["extra"]["config_kwargs"] = {"retries": {"total_max_attempts": 1}}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        yield scripts[0]


# What a job is given and what it gives.


@pytest.mark.parametrize("deferrable", [False, True])
def test_real_files_are_imported_and_found_by_the_search_in_the_same_run(
    store, bucket, hook, run_dag, deferrable, failures
):
    from airflow_provider_healthimaging.local.dicom import pydicom_sample_files

    for path in pydicom_sample_files()[:12]:
        bucket.upload_file(str(path), f"inbox/{path.name}")
    store.settings.import_duration = 0.2
    with dag(f"end_to_end_{deferrable}") as pipeline:
        importing = imported(deferrable=deferrable, on_failed_files="warn", **failures.callbacks)
        searching = HealthImagingSearchImageSetsOperator(task_id="search", datastore_id=DATASTORE_ID, time_field=None)

        @task
        def each(image_set: dict) -> str:
            return image_set["imageSetId"]

        importing >> searching
        each.expand(image_set=importing.output)

    run = run_dag(pipeline, WHEN)

    assert run.state == "success", failures
    records, found = run.xcom("import"), run.xcom("search")
    keys = ("datastoreId", "imageSetId", "version", "isPrimary")
    assert {tuple(record[key] for key in keys) for record in records} == {
        tuple(record[key] for key in keys) for record in found
    }
    assert set(run.states("each")) == {"success"}
    assert len(run.states("each")) == len(records)
    summary = run.xcom("import", "summary")
    assert (summary["scanned"], summary["imported"] + summary["failed"]) == (12, 12)
    assert (summary["image_sets"], summary["status"], summary["output"]) == (len(records), "COMPLETED", "XCom")
    assert summary["output_s3_uri"].startswith(f"s3://image-sets/reports/{DATASTORE_ID}-DicomImport-")
    assert summary["job_id"] in summary["output_s3_uri"]
    assert summary["seconds"] >= 0.2


def test_batches_are_lists_of_records(store, bucket, run_dag):
    upload(bucket, series=5, instances=1)
    with dag("batches") as pipeline:
        imported(batch_size=2)

    assert [len(batch) for batch in run_dag(pipeline, WHEN).xcom("import")] == [2, 2, 1]


def test_more_records_than_xcom_may_take_are_an_error_that_names_s3_uri(store, bucket, run_dag, failures):
    upload(bucket, series=3)
    with dag("too_many") as pipeline:
        imported(max_xcom_items=2, **RETRIED, **failures.callbacks)

    run = run_dag(pipeline, WHEN)

    assert run.states("import") == ["failed"]
    assert "Set s3_uri to write them to S3, or import fewer files with each job" in str(failures[0])
    assert isinstance(failures[0], AirflowFailException)


def test_a_dataset_holds_the_records_and_is_the_same_for_the_same_job(store, bucket, run_dag, clear_and_run):
    upload(bucket, series=3)
    with dag("dataset") as pipeline:
        imported(s3_uri="s3://image-sets/arrivals/", rows_per_file=2)

    run = run_dag(pipeline, WHEN)

    summary = run.xcom("import", "summary")
    folder = f"arrivals/job={summary['job_id']}/"
    assert run.xcom("import") == {
        "s3_uri": f"s3://image-sets/{folder}",
        "manifest": f"s3://image-sets/{folder}_manifest.json",
        "image_sets": 3,
        "parts": 2,
    }
    assert summary["output"] == f"s3://image-sets/{folder}"
    written = {each.key: each.e_tag for each in bucket.objects.filter(Prefix="arrivals/")}
    first = gzip.decompress(bucket.Object(f"{folder}part-00000.jsonl.gz").get()["Body"].read())
    assert json.loads(first.splitlines()[0]).keys() >= {"datastoreId", "imageSetId", "version", "isPrimary"}
    manifest = json.loads(bucket.Object(f"{folder}_manifest.json").get()["Body"].read())
    assert (manifest["job_id"], manifest["image_sets"], manifest["window"]) == (summary["job_id"], 3, None)
    clear_and_run(pipeline, run)
    assert {each.key: each.e_tag for each in bucket.objects.filter(Prefix="arrivals/")} == written


def test_without_waiting_the_task_returns_the_id_that_the_sensor_waits_for(store, bucket, run_dag):
    upload(bucket, broken=1)
    store.settings.import_duration = 600
    times = {"now": datetime.now(UTC) - timedelta(hours=1)}
    store.clock = lambda: times["now"]
    with dag("start_and_sense") as pipeline:
        an_hour_later = {"on_success_callback": lambda _: times.update(now=datetime.now(UTC))}
        started = imported(wait_for_completion=False, **an_hour_later)
        HealthImagingDicomImportJobSensor(
            task_id="wait",
            datastore_id=DATASTORE_ID,
            job_id=started.output,
            on_failed_files="ignore",
            poke_interval=0.05,
        )

    run = run_dag(pipeline, WHEN)

    assert run.state == "success"
    assert run.xcom("import") == run.xcom("wait", "summary")["job_id"]
    assert run.xcom("import", "summary")["status"] == "SUBMITTED"
    assert len(run.xcom("wait")) == 2


def test_outlets_get_the_summary(store, bucket, run_dag, asset_events):
    upload(bucket)
    with dag("tells_an_asset") as pipeline:
        imported(outlets=[DATA_STORE])
    run = run_dag(pipeline, WHEN)

    (event,) = asset_events(pipeline)
    assert event.extra == run.xcom("import", "summary")


def test_a_dag_that_the_outlet_starts_finds_the_image_sets_of_the_job(store, bucket, run_dag, asset_events):
    upload(bucket)
    with dag("starts_a_reader") as pipeline:
        imported(outlets=[DATA_STORE])
    run = run_dag(pipeline, WHEN)
    with DAG("reads_the_data_store", schedule=[DATA_STORE], start_date=WHEN, catchup=False) as reader:
        HealthImagingSearchImageSetsOperator(
            task_id="search", datastore_id=DATASTORE_ID, time_field="updatedAt", delay=0
        )
    (event,) = asset_events(pipeline)

    read = run_dag(reader, WHEN, **started_by(event), **NO_INTERVAL)

    assert read.state == "success"
    found = {record["imageSetId"] for record in read.xcom("search")}
    assert found == {record["imageSetId"] for record in run.xcom("import")}


NO_INTERVAL = {"data_interval_start": None, "data_interval_end": None}


def started_by(event):
    kind = "asset" if Version("3") <= Version(airflow.__version__) else "dataset"
    return {"run_type": f"{kind}_triggered", f"consumed_{kind}_events": [event]}


def test_the_links_to_job_and_data_store_are_kept_at_the_start(store, bucket, run_dag):
    upload(bucket)
    store.settings.import_duration = 1000
    with dag("links") as pipeline:
        imported(waiter_max_attempts=1)

    run = run_dag(pipeline, WHEN)

    assert run.states("import") == ["failed"]
    (job_id,) = jobs(HealthImagingHook())
    assert run.xcom("import", "healthimaging_import_job")["job_id"] == job_id
    link = HealthImagingDicomImportJobLink()
    address = link.format_link(**run.xcom("import", "healthimaging_import_job"))
    assert address.endswith(f"/medical-imaging/home?region=us-east-1#/dataStores/{DATASTORE_ID}/importJobs/{job_id}")


def test_lineage_leads_from_the_input_to_the_data_store(store, bucket, run_dag):
    pytest.importorskip("airflow.providers.openlineage")
    upload(bucket)
    with dag("lineage"):
        operator = imported(s3_uri="s3://image-sets/arrivals/")
    operator.execute(context())

    lineage = operator.get_openlineage_facets_on_complete(None)

    assert [(each.namespace, each.name) for each in lineage.inputs] == [("s3://image-sets", "inbox")]
    store_, dataset = lineage.outputs
    assert (store_.namespace, store_.name) == ("healthimaging://us-east-1", DATASTORE_ID)
    assert dataset.name.startswith("arrivals/job=")


def context(**ti):
    identity = {"dag_id": "d", "run_id": "r", "task_id": "import", "map_index": -1, "try_number": 1, **ti}
    return {"ti": SimpleNamespace(**identity, xcom_push=lambda **_: None), "outlet_events": {}}


# Once.


def test_a_cleared_task_finds_the_job_that_succeeded(store, bucket, hook, run_dag, clear_and_run):
    upload(bucket)
    with dag("cleared") as pipeline:
        imported()
    run = run_dag(pipeline, WHEN)

    again = clear_and_run(pipeline, run)

    assert again.xcom("import") == run.xcom("import")
    assert jobs(hook) == [run.xcom("import", "summary")["job_id"]]


def test_a_cleared_task_with_another_job_name_starts_another_job(
    store, bucket, hook, run_dag, clear_and_run, monkeypatch
):
    upload(bucket)
    with dag("cleared_again") as pipeline:
        imported(job_name="{{ var.value.job_name }}")
    monkeypatch.setenv("AIRFLOW_VAR_JOB_NAME", "first")
    run = run_dag(pipeline, WHEN)
    monkeypatch.setenv("AIRFLOW_VAR_JOB_NAME", "second")
    again = clear_and_run(pipeline, run)

    assert len(jobs(hook)) == 2
    assert [record["version"] for record in again.xcom("import")] == [2, 2]


def test_tasks_that_are_mapped_and_other_runs_have_jobs_of_their_own(store, bucket, hook, run_dag):
    upload(bucket)
    with dag("mapped") as pipeline:
        HealthImagingStartDicomImportJobOperator.partial(
            task_id="import", **{name: value for name, value in IMPORT.items() if name != "input_s3_uri"}
        ).expand(input_s3_uri=["s3://image-sets/inbox/", "s3://image-sets/inbox/"])

    assert run_dag(pipeline, WHEN).states("import") == ["success"] * 2
    assert len(jobs(hook)) == 2
    run_dag(pipeline, WHEN + timedelta(days=1))
    assert len(jobs(hook)) == 4


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_retry_after_a_failed_job_starts_another_one(store, bucket, hook, run_dag, failures, deferrable):
    upload(bucket)
    store.settings.import_failure_rate = 1
    with dag(f"retried_{deferrable}") as pipeline:
        operator = imported(deferrable=deferrable, **RETRIED, **failures.callbacks)
    note = failures.callbacks["on_retry_callback"]

    def recover(context):
        note(context)
        store.settings.import_failure_rate = 0

    operator.on_retry_callback = [recover]

    run = run_dag(pipeline, WHEN)

    assert run.states("import") == ["success"]
    assert [type(each).__name__ for each in failures.retried] == ["ImportJobFailedError"]
    assert (len(jobs(hook, "FAILED")), len(jobs(hook, "COMPLETED"))) == (1, 1)


def test_a_retry_after_failed_files_starts_another_job_and_a_cleared_task_finds_that_one(
    store, bucket, hook, run_dag, clear_and_run, failures
):
    upload(bucket, broken=1)
    with dag("files_retried") as pipeline:
        operator = imported(**RETRIED, **failures.callbacks)
    operator.on_retry_callback = [lambda _: bucket.Object("inbox/0.txt").delete()]

    run = run_dag(pipeline, WHEN)

    assert run.states("import") == ["success"]
    assert len(jobs(hook)) == 2
    again = clear_and_run(pipeline, run)
    assert again.xcom("import") == run.xcom("import")
    assert len(jobs(hook)) == 2


def test_a_retry_after_a_time_out_waits_for_the_same_job(store, bucket, hook, run_dag, failures):
    upload(bucket)
    store.settings.import_duration = 1000
    with dag("waits_again") as pipeline:
        operator = imported(waiter_max_attempts=1, **RETRIED, **failures.callbacks)

    def finish(_):
        for job in store.import_jobs._jobs.values():
            job.due_at = job.submitted_at

    operator.on_retry_callback = [failures.callbacks["on_retry_callback"], finish]

    run = run_dag(pipeline, WHEN)

    assert run.states("import") == ["success"]
    assert [type(each) for each in failures.retried] == [WaitTimeoutError]
    assert len(jobs(hook)) == 1


def test_a_retry_waits_for_the_report_of_a_job_that_has_completed_meanwhile(store, bucket, hook):
    upload(bucket)
    store.settings.import_output_lag = 1000
    operator = imported(waiter_max_attempts=1)
    with pytest.raises(WaitTimeoutError, match="or its report is not complete"):
        operator.execute(context())

    now = store.clock
    store.clock = lambda: now() + timedelta(seconds=1001)
    records = imported().execute(context(try_number=2))

    assert len(records) == 2
    assert len(jobs(hook)) == 1


def test_without_waiting_only_a_job_that_failed_is_left_behind(store, bucket, hook):
    upload(bucket, broken=1)
    first = imported(wait_for_completion=False).execute(context())
    assert imported(wait_for_completion=False).execute(context(try_number=2)) == first
    store.settings.import_failure_rate = 1
    failed = imported(wait_for_completion=False).execute(context(run_id="another"))
    store.settings.import_failure_rate = 0
    assert imported(wait_for_completion=False).execute(context(run_id="another", try_number=2)) != failed


def test_a_token_that_was_given_is_used_as_it_is(store, bucket, hook, run_dag):
    upload(bucket)
    with dag("token") as pipeline:
        imported(client_token="{{ dag.dag_id }}-1")
    first, second = (run_dag(pipeline, WHEN + timedelta(days=day)) for day in range(2))

    assert len(jobs(hook)) == 1
    assert first.xcom("import") == second.xcom("import")


def test_with_a_token_that_was_given_no_retry_starts_another_job(store, bucket, hook, run_dag, failures):
    upload(bucket, broken=1)
    with dag("given_token") as pipeline:
        imported(client_token="mine", **RETRIED, **failures.callbacks)

    assert run_dag(pipeline, WHEN).states("import") == ["failed"]
    assert failures.retried == []
    assert "unless client_token is given: change it" in str(failures[0])


def test_a_task_that_is_killed_says_that_the_job_goes_on(store, bucket, monkeypatch):
    upload(bucket)
    operator, said = imported(wait_for_completion=False), []
    log = SimpleNamespace(warning=lambda text, *values: said.append(text % values), info=lambda *_: None)
    monkeypatch.setattr(type(operator), "log", log)
    operator.on_kill()
    assert said == []
    job_id = operator.execute(context())

    operator.on_kill()

    assert said[-1] == f"The task is stopped, but import job {job_id} goes on: it cannot be cancelled."


def test_without_a_triggerer_a_deferred_task_times_out_with_its_own_error():
    operator = imported(deferrable=True)
    with pytest.raises(WaitTimeoutError, match="check that a triggerer is running"):
        operator.resume_execution(TRIGGER_FAILED, {"error": "Trigger timeout"}, {})


@pytest.mark.parametrize(
    "settings", [{"import_permission": "pass-role-denied"}, {"unknown_datastore": "access-denied"}]
)
def test_a_start_that_is_denied_is_not_waited_for(store, bucket, run_dag, failures, settings):
    upload(bucket)
    store.settings.update(settings)
    with dag(f"denied_{next(iter(settings))}") as pipeline:
        datastore_id = "e" * 32 if "unknown_datastore" in settings else DATASTORE_ID
        imported(datastore_id=datastore_id, **RETRIED, **failures.callbacks)

    assert run_dag(pipeline, WHEN).states("import") == ["failed"]
    assert failures.retried == []
    assert "iam:PassRole" in str(failures[0])


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_task_whose_job_cannot_be_started_in_time_says_so(store, bucket, run_dag, failures, deferrable):
    upload(bucket)
    store.settings.import_max_jobs = 0
    with dag(f"never_started_{deferrable}") as pipeline:
        imported(deferrable=deferrable, waiter_max_attempts=3, **failures.callbacks)

    assert run_dag(pipeline, WHEN).states("import") == ["failed"]
    assert "No import job could be started by" in str(failures[0])
    assert failures[0].retryable


def test_a_deferred_task_keeps_to_its_execution_timeout(store, bucket):
    upload(bucket)
    store.settings.import_duration = 1000
    operator = imported(deferrable=True, execution_timeout=timedelta(minutes=5))
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context())
    trigger = deferred.value.trigger
    assert parse_instant(trigger.deadline, "deadline") <= datetime.now(UTC) + timedelta(minutes=5)

    event = {**trigger.status("timeout"), "started": "2026-01-01T00:00:00Z"}
    with pytest.raises(AirflowTaskTimeout, match=r"execution_timeout of 0:05:00 is over"):
        operator.execute_complete(context(), event)


def test_an_error_of_the_trigger_that_the_task_does_not_see_itself_is_raised(store, bucket):
    upload(bucket)
    store.settings.import_duration = 1000
    job_id = imported(wait_for_completion=False).execute(context())
    event = {"status": "failed", "deadline": "2999-01-01T00:00:00Z", "job_id": job_id, "error": "what the trigger met"}
    with pytest.raises(HealthImagingError, match="what the trigger met"):
        imported(deferrable=True).execute_complete(context(), event)


# The truth.


def test_failed_files_fail_the_task_by_default_and_the_summary_is_there(store, bucket, run_dag, failures, capfd):
    upload(bucket, broken=3)
    with dag("failed_files") as pipeline:
        imported(**failures.callbacks)

    run = run_dag(pipeline, WHEN)

    assert run.states("import") == ["failed"]
    assert run.xcom("import") is None
    summary = run.xcom("import", "summary")
    assert (summary["imported"], summary["failed"], summary["failed_by_type"]) == (4, 3, {"ValidationException": 3})
    assert "3 of 7 files were not imported (ValidationException: 3)" in str(failures[0])
    assert f"{summary['output_s3_uri']}FAILURE/failure.ndjson" in str(failures[0])


@pytest.mark.parametrize(("mode", "told"), [("warn", True), ("ignore", False)])
def test_failed_files_can_be_a_warning_or_ignored(store, bucket, run_dag, capfd, caplog, mode, told):
    upload(bucket, broken=1)
    with dag(f"failed_files_{mode}") as pipeline:
        imported(on_failed_files=mode)

    run = run_dag(pipeline, WHEN)

    assert run.states("import") == ["success"]
    assert run.xcom("import", "summary")["failed"] == 1
    said = "".join(capfd.readouterr()) + caplog.text
    assert ("1 of 5 files were not imported" in said) is told


def test_image_sets_that_are_not_primary_can_be_an_error_that_no_retry_cures(store, bucket, hook, run_dag, failures):
    bucket.put_object(Key="inbox/1.dcm", Body=dicom_file(1))
    with dag("primary") as pipeline:
        imported(require_primary=True, **RETRIED, **failures.callbacks)
    assert run_dag(pipeline, WHEN).states("import") == ["success"]
    bucket.put_object(Key="inbox/1.dcm", Body=dicom_file(2, patient="another"))

    run = run_dag(pipeline, WHEN + timedelta(days=1))

    assert run.states("import") == ["failed"]
    assert failures.retried == []
    assert "1 of 1 image sets are not primary" in str(failures[0])
    assert len(jobs(hook)) == 2


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda bucket: bucket.objects.all().delete(), "No file lies under input_s3_uri"),
        (lambda bucket: many(bucket, 5001), "5001 files with 10,002 bytes lie under input_s3_uri"),
    ],
)
def test_an_input_that_no_job_takes_is_found_before_the_job_is_started(
    store, bucket, hook, run_dag, failures, break_it, words, request
):
    break_it(bucket)
    with dag(dag_id(request)) as pipeline:
        imported(**RETRIED, **failures.callbacks)

    run = run_dag(pipeline, WHEN)

    assert run.states("import") == ["failed"]
    assert failures.retried == []
    assert words in str(failures[0])
    assert jobs(hook) == []


def many(bucket, count):
    from moto.s3.models import s3_backends

    for number in range(count):
        s3_backends["123456789012"]["aws"].put_object(bucket.name, f"inbox/{number}", b"12")


def test_without_the_check_the_service_decides(store, bucket, hook, run_dag):
    with dag("unchecked") as pipeline:
        imported(check_input=False)

    assert run_dag(pipeline, WHEN).xcom("import") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"input_s3_uri": "s3://image-sets/inbox"}, "input_s3_uri must end with '/'"),
        ({"output_s3_uri": "s3://image-sets/inbox/reports/"}, "lies under input_s3_uri"),
        ({"data_access_role_arn": "{{ 'import' }}"}, "data_access_role_arn='import' is malformed"),
        ({"job_name": "{{ 'my job' }}"}, "job_name='my job' is malformed"),
        ({"import_configuration": {"x": "{{ nope }}"}}, "A template in import_configuration cannot be rendered"),
        ({"input_s3_uri": "s3://image-sets/{{ nope }}/"}, "A template of this task cannot be rendered"),
        ({"s3_uri": "s3://image-sets/a/", "batch_size": 2}, "Give only one of them"),
    ],
)
def test_a_bad_argument_fails_the_task_at_once_and_starts_nothing(
    store, bucket, hook, run_dag, failures, arguments, words, request
):
    upload(bucket)
    with dag(dag_id(request)) as pipeline:
        imported(**RETRIED, **failures.callbacks, **arguments)

    run = run_dag(pipeline, WHEN)

    assert run.states("import") == ["failed"]
    assert failures.retried == []
    assert words in str(failures[0])
    assert jobs(hook) == []


# The same end in each mode.


def found_at_once(store, script, bucket):
    pass


def late(store, script, bucket):
    store.settings.import_duration = 0.2
    store.settings.import_output_lag = 0.2


def no_empty_output(store, script, bucket):
    store.settings.import_empty_output = False


def throttled(store, script, bucket):
    script.answers += [
        (each, "429 Throttled", "ThrottlingException") for each in ("startDICOM", "getDICOM", "getDICOM")
    ]


def broken_inside(store, script, bucket):
    script.answers += [("getDICOM", "500 Error", "InternalServerException")]
    script.answers += [("job-output-manifest.json", "503 Slow Down", "SlowDown")]


def too_many_jobs(store, script, bucket):
    script.answers += [("startDICOM", "402 Payment Required", "ServiceQuotaExceededException")] * 3


def failed(store, script, bucket):
    store.settings.import_failure_rate = 1


def failed_files(store, script, bucket):
    upload(bucket, broken=2)


def failed_files_warned(store, script, bucket):
    upload(bucket, broken=2)
    return {"on_failed_files": "warn"}


def failed_files_ignored(store, script, bucket):
    upload(bucket, broken=2)
    return {"on_failed_files": "ignore"}


def report_denied(store, script, bucket):
    script.answers += [("job-output-manifest.json", "403 Forbidden", "AccessDenied")] * 9


def report_never_comes(store, script, bucket):
    store.settings.import_output_lag = 1000


def report_long_overdue(store, script, bucket, monkeypatch):
    store.settings.import_output_lag = 1000
    monkeypatch.setattr(import_job, "REPORT_GRACE", timedelta(seconds=0.1))
    return {"timeout": 60}


def store_deleted(store, script, bucket):
    store.settings.import_duration = 1000
    gone = [("getDICOM", "404 Not Found", "ResourceNotFoundException")] * 9
    script.at["getDICOMImportJob", 2] = lambda: script.answers.extend(gone)


def time_out(store, script, bucket):
    store.settings.import_duration = 1000


def never_answered(store, script, bucket):
    script.answers += [("getDICOM", "500 Error", "InternalServerException")] * 1000


FOUND = ("success", None)
SCENARIOS: dict[Callable[..., Any], tuple[str, str | None]] = {
    found_at_once: FOUND,
    late: FOUND,
    no_empty_output: FOUND,
    throttled: FOUND,
    broken_inside: FOUND,
    too_many_jobs: FOUND,
    failed: ("failed", "ImportJobFailedError"),
    failed_files: ("failed", "FilesNotImportedError"),
    failed_files_warned: FOUND,
    failed_files_ignored: FOUND,
    report_denied: ("failed", "AccessDeniedError"),
    report_never_comes: ("failed", "timeout"),
    store_deleted: ("failed", "DatastoreNotFoundError"),
    time_out: ("failed", "timeout"),
    never_answered: ("failed", "timeout"),
}
SHORT = {report_never_comes, time_out, never_answered}
IMAGE_SETS = 2
MODES = {"poke": {}, "reschedule": {"mode": "reschedule"}, "deferrable": {"deferrable": True}}


@pytest.fixture
def quickly(monkeypatch):
    """Let nothing wait for a list of warnings that may not come."""
    monkeypatch.setattr(import_job, "WARNINGS_GRACE", timedelta(0))


def ends(run, task_id, failures, scenario, timeout):
    state, error = SCENARIOS[scenario]
    error = timeout if error == "timeout" else error
    if state == "failed" and error is None:
        state = "skipped"
    assert run.states(task_id) == [state]
    assert [type(each).__name__ for each in failures] == ([error] if error else [])
    if state == "success":
        assert [record["version"] for record in run.xcom(task_id)] == [1] * IMAGE_SETS
        assert run.xcom(task_id, "summary")["image_sets"] == IMAGE_SETS
    else:
        assert run.xcom(task_id) is None


@pytest.mark.parametrize("deferrable", [False, True], ids=["blocking", "deferred"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_operator_ends_alike_whether_it_is_deferred_or_not(
    scenario, deferrable, store, script, bucket, run_dag, failures, quickly
):
    upload(bucket)
    arguments = scenario(store, script, bucket) or {}
    with dag(f"{scenario.__name__}_{deferrable}") as pipeline:
        attempts = 8 if scenario in SHORT else 1000
        imported(deferrable=deferrable, waiter_max_attempts=attempts, **arguments, **failures.callbacks)

    ends(run_dag(pipeline, WHEN), "import", failures, scenario, "WaitTimeoutError")


STARTED_ELSEWHERE = [scenario for scenario in SCENARIOS if scenario is not too_many_jobs]
SOFT = [failed, report_denied, time_out, never_answered]


# With soft_fail, a poke in the slot ends in the same way whether it frees the slot or not.
@pytest.mark.parametrize(
    ("scenario", "soft_fail", "mode"),
    [
        *product(STARTED_ELSEWHERE, [False], MODES),
        *product(SOFT, [True], ["reschedule", "deferrable"]),
    ],
    ids=lambda each: each if isinstance(each, str) else getattr(each, "__name__", f"soft_fail={each}"),
)
def test_the_sensor_ends_alike_in_every_mode_and_only_a_time_out_is_skipped(
    scenario, mode, soft_fail, store, script, bucket, run_dag, failures, quickly
):
    upload(bucket)
    arguments = scenario(store, script, bucket) or {}
    script.answers = [each for each in script.answers if each[0] != "startDICOM"]
    job_id = HealthImagingHook().start_dicom_import_job(**REQUEST)["jobId"]
    with dag(f"{scenario.__name__}_{mode}_{soft_fail}") as pipeline:
        HealthImagingDicomImportJobSensor(
            task_id="wait",
            datastore_id=DATASTORE_ID,
            job_id=job_id,
            poke_interval=0.05,
            timeout=0.4 if scenario in SHORT else 60,
            soft_fail=soft_fail,
            retries=3,
            **MODES[mode],
            **arguments,
            **failures.callbacks,
        )

    run = run_dag(pipeline, WHEN)

    is_skipped = soft_fail and scenario is not never_answered
    ends(run, "wait", failures, scenario, None if is_skipped else "AirflowSensorTimeout")
    assert failures.retried == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("error", "state"), [(ConnectionFailedError, "success"), (ConfigurationError, "failed")])
def test_a_temporary_error_before_the_first_look_does_not_end_the_wait(
    mode, error, state, store, bucket, run_dag, monkeypatch
):
    upload(bucket)
    job_id = HealthImagingHook().start_dicom_import_job(**REQUEST)["jobId"]
    client_for, asked = HealthImagingHook.client_for, []

    def fails_at_first(hook, datastore_id):
        asked.append(datastore_id)
        if len(asked) == 1:
            raise error("STS does not answer")
        return client_for(hook, datastore_id)

    monkeypatch.setattr(HealthImagingHook, "client_for", fails_at_first)
    with dag(f"first_look_{mode}_{state}") as pipeline:
        HealthImagingDicomImportJobSensor(
            task_id="wait", datastore_id=DATASTORE_ID, job_id=job_id, poke_interval=0.05, retries=0, **MODES[mode]
        )

    assert run_dag(pipeline, WHEN).states("wait") == [state]


@pytest.mark.parametrize("deferrable", [False, True], ids=["blocking", "deferred"])
def test_a_report_that_is_long_overdue_is_an_error(store, script, bucket, run_dag, failures, monkeypatch, deferrable):
    upload(bucket)
    report_long_overdue(store, script, bucket, monkeypatch)
    with dag(f"overdue_{deferrable}") as pipeline:
        imported(deferrable=deferrable, **failures.callbacks)

    assert run_dag(pipeline, WHEN).states("import") == ["failed"]
    assert [type(each).__name__ for each in failures] == ["ImportReportMissingError"]


@pytest.mark.parametrize("deferrable", [False, True], ids=["blocking", "deferred"])
def test_a_list_of_warnings_that_may_still_come_is_waited_for_a_moment(store, bucket, run_dag, monkeypatch, deferrable):
    upload(bucket)
    store.settings.import_empty_output = False
    monkeypatch.setattr(import_job, "WARNINGS_GRACE", timedelta(seconds=0.3))
    with dag(f"warnings_{deferrable}") as pipeline:
        imported(deferrable=deferrable)

    run = run_dag(pipeline, WHEN)

    assert run.states("import") == ["success"]
    assert run.xcom("import", "summary")["with_warnings"] == 0


def test_a_sensor_of_a_failed_job_is_not_retried(store, bucket, hook, run_dag, failures):
    store.settings.import_failure_rate = 1
    job_id = hook.start_dicom_import_job(**{name: value for name, value in IMPORT.items() if name != "waiter_delay"})[
        "jobId"
    ]
    with dag("not_retried") as pipeline:
        HealthImagingDicomImportJobSensor(
            task_id="wait", datastore_id=DATASTORE_ID, job_id=job_id, **RETRIED, **failures.callbacks
        )

    run = run_dag(pipeline, WHEN)

    assert run.states("wait") == ["failed"]
    assert failures.retried == []
    assert isinstance(failures[0], ImportJobFailedError)
    assert "Its message is not shown" in str(failures[0])
