"""Patient data stays out of everything that Airflow and S3 keep, unless a DAG asks for it.

Canaries are in every DICOM tag and in what is searched for. ``places.py`` is the table of where they are looked for,
``evidence.py`` makes the runs; the tests of searches that fail look through everything at once.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import random
import subprocess
import sys
import traceback
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import DAG
from cryptography.fernet import Fernet
from packaging.version import Version

from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.local import LocalServer, airflow_connection
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.search.image_set import DICOM_TAGS
from tests.reporting import report

from .evidence import (
    AIRFLOW,
    DAGS,
    NOON,
    command_line,
    criteria,
    kept_by_airflow,
    kept_in,
    objects,
    of_the_task,
    recording,
    rest,
    triggers,
)
from .places import CONTROL, DATASTORE_ID, PLACES, Evidence


@pytest.fixture
def canaries(store, monkeypatch, request):
    """The DICOM tags of three image sets in the data store, no value of which exists anywhere else."""
    # Above today's Unix times, in seconds.
    numbers = random.Random(request.node.name)
    tags = {
        name: f"canary{uuid.uuid4().hex}" if kind is str else numbers.randrange(2_000_000_000, 2**31)
        for name, kind in DICOM_TAGS.items()
    }
    tags |= {name: f"2.25.{uuid.uuid4().int}" for name in tags if name.endswith("InstanceUID")}
    for minute in (10, 20, 30):
        store.put_image_set(DATASTORE_ID, created_at=NOON - timedelta(minutes=minute), dicom_tags=tags)
    monkeypatch.setenv("AIRFLOW_VAR_CANARY_PATIENT", tags["DICOMPatientId"])
    monkeypatch.setenv("AIRFLOW_VAR_CANARY_ACCESSION", tags["DICOMAccessionNumber"])
    monkeypatch.setenv("AIRFLOW_VAR_CANARY_STUDY", tags["DICOMStudyInstanceUID"])
    monkeypatch.setenv("AIRFLOW_VAR_CANARY_CRITERIA", json.dumps(criteria("DICOMPatientId", tags["DICOMPatientId"])))
    monkeypatch.setenv("AIRFLOW_VAR_CANARY_CONTROL", CONTROL)
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    return tags


@pytest.fixture
def dag(parse):
    return parse(DAGS / "canaries.py")["canaries"]


@pytest.fixture
def leaks(canaries, bucket, capfd):
    """``leaks()`` returns where each canary is, by tag; ``leaks.places`` is where it looked."""

    def look(said=""):
        captured = capfd.readouterr()
        printed = "\n".join(of_the_task(captured.out))
        look.places = dict([*kept_by_airflow(), *kept_in(bucket)])
        look.places |= {"stdout": printed.encode(), "stderr": captured.err.encode(), "output": said.encode()}
        return {
            tag: where
            for tag, canary in canaries.items()
            if (where := [name for name, content in look.places.items() if str(canary).encode() in content])
        }

    return look


GATHERED: list[Evidence] = []


@pytest.fixture
def gather(canaries, dag, run_dag, bucket, capfd, caplog, monkeypatch, tmp_path, all_text):
    """Return a function that runs the DAG in every way, and gives all that it left behind."""

    def run():
        evidence = Evidence({tag: str(value) for tag, value in canaries.items()})
        sent: dict[str, bytes] = {}
        monkeypatch.setattr(logging.getLogger("airflow.task"), "propagate", True)
        with LocalServer(middleware=recording(sent)) as server:
            monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", airflow_connection(server.url))
            done = run_dag(dag, NOON)
            assert len(done.xcom("to_xcom")) == done.xcom("to_s3")["image_sets"] == 3
            triggers(evidence)
            said = capfd.readouterr()
            evidence.note("log at INFO", *of_the_task(said.out + said.err), caplog.text)
            # What the next run replaces, as it is of the same date.
            evidence.airflow += kept_by_airflow()
            command_line(evidence, tmp_path)
            objects(evidence)
            evidence.note("exceptions", *(all_text(each) for each in failed_searches(canaries, monkeypatch)))
        if Version("3") <= AIRFLOW:
            rest(evidence, monkeypatch)
        evidence.airflow += kept_by_airflow()
        evidence.stored = {**dict(kept_in(bucket)), **sent}
        return evidence

    return run


@pytest.fixture
def evidence(request):
    """What the DAG left behind: gathered once, for all places."""
    if not GATHERED:
        GATHERED.append(request.getfixturevalue("gather")())
    return GATHERED[0]


def failed_searches(canaries, monkeypatch):
    """Yield the errors of searches that the service refuses, quoting them, that no service answers, and malformed ones.

    The last one is what the others must not be: its text is gone, and what it is chained to is not.
    """
    quote = answering("400 Bad Request", []), answering("500 Internal Server Error", [])
    wanted = criteria("DICOMPatientId", canaries["DICOMPatientId"])
    for middleware in (*quote, None):
        with LocalServer(middleware=middleware) as server:
            url = server.url
            monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", one_attempt(url))
            if middleware:
                yield error_of(wanted)
    yield error_of(wanted)
    yield error_of({"filters": [{"values": [canaries["DICOMPatientId"]], "operator": "EQUAL"}]})
    yield error_of(f'{{"filters": {canaries["DICOMPatientId"]}')
    yield error_of(criteria("DICOMPatientId", {"nested": canaries["DICOMPatientId"]}))
    control = ValueError("no text")
    control.__context__ = KeyError(CONTROL)
    yield control


def error_of(search_criteria):
    with pytest.raises(HealthImagingError) as caught:
        list(HealthImagingHook().search_image_sets(DATASTORE_ID, time_field=None, search_criteria=search_criteria))
    return caught.value


def one_attempt(url):
    connection = json.loads(airflow_connection(url))
    connection["extra"]["config_kwargs"] = {"retries": {"total_max_attempts": 1}, "connect_timeout": 2}
    return json.dumps(connection)


HERE = [place for place in PLACES if Version(place.since) <= AIRFLOW]


@pytest.mark.parametrize("place", HERE, ids=lambda place: place.name)
def test_no_patient_data_is_kept_or_shown_in(place, evidence):
    report = place.report(evidence)

    assert report["control_found"], f"nothing can be said of {place.name}: {place.control} is not found there"
    assert report["planted"] == len(DICOM_TAGS)
    assert report["hits"] == []


def test_a_place_that_cannot_be_read_is_told_from_one_without_patient_data():
    blind = dataclasses.replace(HERE[0], collect=lambda _: [])

    assert not blind.report(Evidence({"DICOMPatientId": "canary"}))["control_found"]


def test_the_report_of_all_places_says_that_each_was_searched(evidence):
    rows = [place.report(evidence) for place in HERE]
    report("patient_data.json", rows)

    assert all(row["control_found"] and row["searched"] for row in rows)


def test_the_search_for_leaks_finds_what_a_dag_asked_for(canaries, hourly_dag, run_dag, leaks):
    with hourly_dag as dag:
        HealthImagingSearchImageSetsOperator(task_id="xcom", datastore_id=DATASTORE_ID, dicom_tags="all")
        HealthImagingSearchImageSetsOperator(
            task_id="s3", datastore_id=DATASTORE_ID, dicom_tags="all", s3_uri="s3://image-sets/asked/"
        )

    run_dag(dag, NOON)

    found = leaks()
    assert found.keys() == canaries.keys()
    for where in found.values():
        kinds = {name.partition(".")[0].partition(" ")[0] for name in where}
        assert {"airflow", "xcom", "object"} <= kinds
        assert not kinds & {"stdout", "stderr", "key", "headers"}


@pytest.fixture
def hourly_dag():
    return DAG("asks_for_tags", schedule="@hourly", start_date=NOON - timedelta(days=1), catchup=False)


def deleted(store, monkeypatch):
    for row in store.image_sets(DATASTORE_ID):
        store.delete_image_set(DATASTORE_ID, row.image_set_id)
    store.delete_datastore(DATASTORE_ID)


def malformed(store, monkeypatch):
    patient = os.environ["AIRFLOW_VAR_CANARY_PATIENT"]
    monkeypatch.setenv("AIRFLOW_VAR_CANARY_CRITERIA", f'{{"filters": {patient}')
    monkeypatch.setenv("AIRFLOW_VAR_CANARY_PATIENT", patient * 100)


@pytest.mark.parametrize("broken", [deleted, malformed])
def test_a_search_that_fails_leaves_no_trace_of_the_patient(store, monkeypatch, dag, run_dag, leaks, failures, broken):
    broken(store, monkeypatch)
    for task in dag.tasks:
        task.on_failure_callback = [failures.callbacks["on_failure_callback"]]

    run = run_dag(dag, NOON)

    assert run.states("to_xcom") == run.states("to_s3") == ["failed"]
    assert leaks() == {}
    assert b"Error was raised here" in leaks.places["stdout"] + leaks.places["stderr"]
    assert {name for error in failures for name in frames(error)} == {"wrapper"}


def frames(error):
    """Return the names of this package's functions whose variables services that collect errors would be sent."""
    while error:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if frame.f_globals["__name__"].startswith("airflow_provider_healthimaging"):
                yield frame.f_code.co_name
        error = error.__cause__ or error.__context__


def answering(status, quoted):
    """Return a middleware that answers every search with an error which quotes it."""

    def middleware(app):
        def answer(environ, start_response):
            if not environ["PATH_INFO"].endswith("/searchImageSets"):
                return app(environ, start_response)
            body = environ["wsgi.input"].read().decode()
            quoted.append(body)
            start_response(status, [("x-amzn-ErrorType", "ValidationException"), ("Content-Type", "application/json")])
            return [json.dumps({"message": f"cannot search for {body}"}).encode()]

        return answer

    return middleware


@pytest.mark.parametrize("status", ["400 Bad Request", "500 Internal Server Error"])
def test_a_service_error_that_quotes_the_request_is_not_passed_on(monkeypatch, canaries, dag, run_dag, leaks, status):
    quoted = []
    with LocalServer(middleware=answering(status, quoted)) as server:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", one_attempt(server.url))
        run = run_dag(dag, NOON)

    assert run.states("to_xcom") == run.states("to_s3") == ["failed"]
    assert sum(canaries["DICOMPatientId"] in body for body in quoted) == 2
    assert leaks() == {}
    assert b"ValidationException" in leaks.places["stdout"] + leaks.places["stderr"]


@pytest.mark.skipif(Version("3") <= AIRFLOW, reason="Airflow 3 writes no log files here: tests/live looks into those")
def test_the_log_files_of_an_executors_tasks_hold_no_trace_of_the_patient(canaries, metadata_db, leaks):
    command = [sys.executable, "-m", "airflow", "dags", "test", "canaries", NOON.isoformat(), "--use-executor"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {"AIRFLOW__CORE__EXECUTOR": "SequentialExecutor", "PATH": path, "CANARIES_DEFERRABLE": ""}
    environment["AIRFLOW__CORE__DAGS_FOLDER"] = str(DAGS)
    environment["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "DEBUG"
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)

    assert done.returncode == 0, done.stdout + done.stderr
    assert leaks(done.stdout + done.stderr) == {}
    logs = b"".join(content for name, content in leaks.places.items() if name.startswith("logs/"))
    assert b"filters on DICOMPatientId" in logs
    assert f'"{CONTROL}"'.encode() in logs, "what botocore says at DEBUG of another client's search"
    assert any(name.endswith("_manifest.json") for name in leaks.places)
