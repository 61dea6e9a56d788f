"""Names of input files, messages about them, their headers and the mappings stay out of all that Airflow and S3 keep.

The report of a job lies in S3 by the service's own doing. It is left out here, and docs/security.md says what it holds.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import uuid
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.local import LocalServer, airflow_connection
from airflow_provider_healthimaging.triggers.healthimaging import HealthImagingDicomImportJobTrigger
from tests.dicom_files import NOT_DICOM, dicom_file

from .evidence import NOON, kept_by_airflow, kept_in, of_the_task, recording
from .places import CONTROL, DATASTORE_ID

DAG_FILE = Path(__file__).parents[1] / "dags" / "canary_imports.py"
SERVICES_OWN = ("inbox/", "reports/")


def canary():
    return f"canary{uuid.uuid4().hex}"


@pytest.fixture
def canaries(store, bucket, monkeypatch):
    """Values of which none exists anywhere else, in all that an import is given."""
    planted = {name: canary() for name in ("file name", "folder", "name of a foreign file", "header", "metadata file")}
    planted |= {name: f"2.25.{uuid.uuid4().int}" for name in ("mapped study", "mapped series")}
    planted["message"] = f"2.25.{uuid.uuid4().int}"
    good = dicom_file(PatientName=planted["header"], PatientID=planted["header"])
    bucket.put_object(Key=f"inbox/{planted['folder']}/{planted['file name']}.dcm", Body=good)
    bucket.put_object(Key=f"inbox/{planted['name of a foreign file']}.txt", Body=NOT_DICOM)
    # The message of a failed file may quote what is in it.
    bucket.put_object(Key="inbox/broken.dcm", Body=dicom_file(2, SOPClassUID=planted["message"])[:-20])
    mapping = {
        "studyInstanceUID": planted["mapped study"],
        "seriesInstanceUID": planted["mapped series"],
        "metadataFilePath": f"{planted['metadata file']}.json",
    }
    mappings = {"dicomJsonMetadataImportConfiguration": {"dicomMetadataMappings": [mapping]}}
    monkeypatch.setenv("AIRFLOW_VAR_CANARY_MAPPINGS", json.dumps(mappings))
    monkeypatch.setenv("AIRFLOW_VAR_CANARY_CONTROL", CONTROL)
    monkeypatch.setattr(logging.getLogger("airflow.task"), "propagate", True)
    return planted


@pytest.fixture
def leaks(canaries, bucket, capfd, caplog):
    """``leaks(...)`` returns where each canary is; ``leaks.places`` is where it looked."""

    def look(said="", sent=()):
        captured = capfd.readouterr()
        mine = ((name, content) for name, content in kept_in(bucket) if not any(each in name for each in SERVICES_OWN))
        look.places = dict([*kept_by_airflow(), *mine, *sent])
        look.places["log"] = "\n".join(of_the_task(captured.out + captured.err + caplog.text + said)).encode()
        return {
            name: where
            for name, value in canaries.items()
            if (where := [place for place, content in look.places.items() if value.encode() in content])
        }

    return look


def test_an_import_leaves_no_trace_of_what_it_imported(
    canaries, parse, run_dag, leaks, monkeypatch, bucket, asset_events
):
    sent: dict[str, bytes] = {}
    dag = parse(DAG_FILE)["canary_imports"]
    with LocalServer(middleware=recording(sent)) as server:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", airflow_connection(server.url))
        run = run_dag(dag, NOON)

    assert run.state == "success"
    assert leaks(sent=sent.items()) == {}
    everything = b"\n".join(leaks.places.values())
    for control in (CONTROL, run.xcom("to_s3", "summary")["job_id"], "files were not imported"):
        assert control.encode() in everything, control
    assert any(place.endswith("_manifest.json") for place in leaks.places)
    rendered = [text for place, text in leaks.places.items() if place.startswith("rendered_task_instance_fields")]
    if dag.get_task("start").import_configuration.value:
        assert any(b'"import_configuration": "***"' in text for text in rendered)
    (event,) = asset_events(dag)
    assert event.extra["failed"] == 2


def test_the_log_at_debug_shows_nothing_of_it_either(canaries, store, bucket, leaks, metadata_db, tmp_path):
    events = tmp_path / "lineage.jsonl"
    environment = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAG_FILE.parent),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps({"type": "file", "log_file_path": str(events), "append": True}),
        "AIRFLOW__OPENLINEAGE__NAMESPACE": "tests",
        "AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT": "600",
    }
    command = [sys.executable, "-m", "airflow", "dags", "test", "canary_imports", NOON.isoformat()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    lineage = events.read_text() if events.exists() else ""
    assert leaks(done.stdout + done.stderr + lineage) == {}
    log = leaks.places["log"].decode()
    assert "files were not imported" in log
    assert "name=ListObjectsV2" in log, "what botocore says at DEBUG of another client's listing"
    assert f'"name": "{DATASTORE_ID}"' in lineage


@pytest.mark.parametrize("failing", ["files", "job"])
def test_an_import_that_fails_leaves_no_trace_of_it(
    canaries, store, parse, run_dag, leaks, failures, monkeypatch, all_text, failing
):
    monkeypatch.setenv("CANARIES_FAIL", "fail")
    if failing == "job":
        store.settings.import_max_files = 1
    dag = parse(DAG_FILE)["canary_imports"]
    for task in dag.tasks:
        task.on_failure_callback = [failures.callbacks["on_failure_callback"]]

    run = run_dag(dag, NOON + timedelta(days=1))

    assert run.states("to_s3") == run.states("deferred") == run.states("wait") == ["failed"]
    assert leaks("\n".join(map(all_text, failures))) == {}
    assert b"Error was raised here" in leaks.places["log"]


def test_a_trigger_shows_the_job_and_no_more(canaries, bucket):
    job = HealthImagingHook().start_dicom_import_job(
        DATASTORE_ID,
        input_s3_uri="s3://image-sets/inbox/",
        output_s3_uri="s3://image-sets/reports/",
        data_access_role_arn="arn:aws:iam::123456789012:role/import",
    )
    trigger = HealthImagingDicomImportJobTrigger(
        datastore_id=DATASTORE_ID, job_id=job["jobId"], poke_interval=1, deadline="2999-01-01T00:00:00Z"
    )
    assert repr(trigger) == (
        f"<HealthImagingDicomImportJobTrigger datastore_id={DATASTORE_ID}, job_id={job['jobId']}, "
        "deadline=2999-01-01T00:00:00Z>"
    )
    assert "image-sets" not in json.dumps(trigger.serialize())
