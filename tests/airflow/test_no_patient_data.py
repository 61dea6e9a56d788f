"""Patient data stays out of everything that Airflow and S3 keep, unless a DAG asks for it.

Each test has canaries of its own in every DICOM tag and in what is searched for, and looks for them in the whole
metadata database, every file of Airflow's home, the standard streams, and S3.
"""

from __future__ import annotations

import gzip
import json
import os
import pickle
import random
import sqlite3
import subprocess
import sys
import uuid
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import airflow
import pytest
from airflow.providers.common.compat.sdk import DAG
from packaging.version import Version

from airflow_provider_healthimaging.image_set import DICOM_TAGS
from airflow_provider_healthimaging.local import LocalServer, airflow_connection
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator

AIRFLOW_2 = Version(airflow.__version__) < Version("3.0.0.dev0")

DATASTORE_ID = "d" * 32
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def canaries(store, monkeypatch):
    """The DICOM tags of three image sets in the data store, no value of which exists anywhere else."""
    tags = {
        name: f"canary{uuid.uuid4().hex}" if kind is str else random.randrange(10**9, 2 * 10**9)
        for name, kind in DICOM_TAGS.items()
    }
    for minute in (10, 20, 30):
        store.put_image_set(DATASTORE_ID, created_at=NOON - timedelta(minutes=minute), dicom_tags=tags)
    monkeypatch.setenv("AIRFLOW_VAR_CANARY_PATIENT", tags["DICOMPatientId"])
    monkeypatch.setenv("AIRFLOW_VAR_CANARY_ACCESSION", tags["DICOMAccessionNumber"])
    monkeypatch.setenv("AIRFLOW_VAR_CANARY_CRITERIA", json.dumps(criteria(tags["DICOMPatientId"])))
    return tags


@pytest.fixture
def dag(parse):
    return parse(Path(__file__).parents[1] / "dags" / "canaries.py")["canaries"]


def criteria(patient):
    return {"filters": [{"values": [{"DICOMPatientId": patient}], "operator": "EQUAL"}]}


@pytest.fixture
def leaks(canaries, bucket, capfd):
    """``leaks()`` returns where each canary is, by tag; ``leaks.places`` is where it looked."""

    def look(said="", **more):
        captured = capfd.readouterr()
        look.places = dict([*kept_by_airflow(), *kept_in(bucket)])
        look.places |= {"stdout": captured.out.encode(), "stderr": captured.err.encode(), "output": said.encode()}
        return {
            tag: where
            for tag, canary in canaries.items()
            if (where := [name for name, content in look.places.items() if str(canary).encode() in content])
        }

    return look


def kept_by_airflow() -> Iterator[tuple[str, bytes]]:
    """Yield every file of Airflow's home, and every value in its database."""
    home = Path(os.environ["AIRFLOW_HOME"])
    for path in home.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(home)), path.read_bytes()
    with closing(sqlite3.connect(home / "airflow.db")) as db:
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = db.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in rows.description]
            for number, row in enumerate(rows):
                for column, value in zip(columns, row, strict=True):
                    yield f"{table}.{column}[{number}]", unpacked(value)


def unpacked(value) -> bytes:
    """Return a column's value, with what was compressed or pickled in it."""
    if not isinstance(value, bytes):
        return str(value).encode()
    found = [value]
    for unpack in (zlib.decompress, gzip.decompress, lambda packed: repr(pickle.loads(packed)).encode()):
        with suppress(Exception):
            found.append(unpack(value))
    return b"\n".join(found)


def kept_in(bucket) -> Iterator[tuple[str, bytes]]:
    """Yield every key of the bucket, and every object with its headers."""
    for stored in bucket.objects.all():
        yield f"key of {stored.key}", stored.key.encode()
        answer = stored.get()
        body = answer.pop("Body").read()
        yield f"object {stored.key}", gzip.decompress(body) if stored.key.endswith(".gz") else body
        yield f"headers of {stored.key}", repr(answer).encode()


def test_a_search_by_patient_leaves_no_trace_of_the_patient(dag, run_dag, leaks):
    run = run_dag(dag, NOON)

    assert len(run.xcom("to_xcom")) == run.xcom("to_s3")["image_sets"] == 3
    assert leaks() == {}
    # It looked where the run was.
    assert b"filters on DICOMPatientId; match on DICOMAccessionNumber" in leaks.places["stdout"]
    assert b"***" in b"".join(
        content for name, content in leaks.places.items() if name.startswith("rendered_task_instance_fields")
    )
    assert any(b"imageSetId" in content for name, content in leaks.places.items() if name.startswith("object"))


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
def test_a_search_that_fails_leaves_no_trace_of_the_patient(store, monkeypatch, dag, run_dag, leaks, broken):
    broken(store, monkeypatch)

    run = run_dag(dag, NOON)

    assert run.states("to_xcom") == run.states("to_s3") == ["failed"]
    assert leaks() == {}
    assert b"HealthImagingTaskFailed" in leaks.places["stdout"] + leaks.places["stderr"]


@pytest.mark.parametrize("status", ["400 Bad Request", "500 Internal Server Error"])
def test_a_service_error_that_quotes_the_request_is_not_passed_on(monkeypatch, canaries, dag, run_dag, leaks, status):
    quoted = []

    def quote(app):
        def answer(environ, start_response):
            if not environ["PATH_INFO"].endswith("/searchImageSets"):
                return app(environ, start_response)
            body = environ["wsgi.input"].read().decode()
            quoted.append(body)
            start_response(status, [("x-amzn-ErrorType", "ValidationException"), ("Content-Type", "application/json")])
            return [json.dumps({"message": f"cannot search for {body}"}).encode()]

        return answer

    with LocalServer(middleware=quote) as server:
        connection = json.loads(airflow_connection(server.url))
        connection["extra"]["config_kwargs"] = {"retries": {"total_max_attempts": 1}}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        run = run_dag(dag, NOON)

    assert run.states("to_xcom") == run.states("to_s3") == ["failed"]
    assert len(quoted) == 2
    assert all(canaries["DICOMPatientId"] in body for body in quoted)
    assert leaks() == {}
    assert b"ValidationException" in leaks.places["stdout"] + leaks.places["stderr"]


def test_a_run_from_the_command_line_leaves_no_trace_of_the_patient(canaries, metadata_db, leaks):
    command = [sys.executable, "-m", "airflow", "dags", "test", "canaries", NOON.isoformat()]
    environment = {}
    if AIRFLOW_2:
        # Its executor's tasks write log files; tests/live looks into those of Airflow 3.
        command.append("--use-executor")
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {"AIRFLOW__CORE__EXECUTOR": "SequentialExecutor", "PATH": path}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)

    assert done.returncode == 0, done.stdout + done.stderr
    assert leaks(done.stdout + done.stderr) == {}
    logs = b"".join(content for name, content in leaks.places.items() if name.startswith("logs/"))
    assert b"filters on DICOMPatientId" in (logs if AIRFLOW_2 else leaks.places["output"])
    assert any(name.endswith("_manifest.json") for name in leaks.places)
