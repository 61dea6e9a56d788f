"""Runs that search by patient data, and all that they leave behind: what ``places.py`` looks through."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import pickle
import re
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import airflow
import pytest
from packaging.version import Version

from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor
from airflow_provider_healthimaging.triggers.healthimaging import (
    HealthImagingImageSetTrigger,
    HealthImagingNewImageSetsTrigger,
)
from airflow_provider_healthimaging.window import TimeWindow, format_utc
from tests.asset_state import state_store

from .places import CONTROL, DATASTORE_ID, Evidence

AIRFLOW = Version(Version(airflow.__version__).base_version)
AIRFLOW_3_0 = Version("3.0") <= AIRFLOW < Version("3.1")
DAGS = Path(__file__).parents[1] / "dags"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW = TimeWindow(NOON - timedelta(hours=1), NOON)


def criteria(attribute, value):
    return {"filters": [{"values": [{attribute: value}], "operator": "EQUAL"}]}


def kept_by_airflow() -> Iterator[tuple[str, bytes]]:
    """Yield every file of Airflow's home, and every value in its database."""
    home = Path(os.environ["AIRFLOW_HOME"])
    for path in home.rglob("*"):
        if path.is_file():
            # By another process: to close the database's file here would take this one's locks on it away.
            yield str(path.relative_to(home)), subprocess.run(["cat", path], stdout=subprocess.PIPE, check=True).stdout
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


def recording(sent):
    """Return a middleware that keeps all that is sent to S3, be it deleted later."""

    def middleware(app):
        def answer(environ, start_response):
            path = environ["PATH_INFO"]
            if path.startswith("/image-sets"):
                body = environ["wsgi.input"].read()
                environ["wsgi.input"].seek(0)
                number = len(sent)
                sent[f"key sent, {number}"] = f"{path}?{environ['QUERY_STRING']}".encode()
                sent[f"object sent, {number}"] = unpacked(body)
                headers = {name: value for name, value in environ.items() if name.startswith(("HTTP_", "CONTENT_"))}
                sent[f"headers sent, {number}"] = repr(headers).replace("CONTENT_TYPE", "Content-Type").encode()
            return app(environ, start_response)

        return answer

    return middleware


def command_line(evidence: Evidence, folder: Path, *arguments: str) -> None:
    """Run the DAG by Airflow's command line at DEBUG, with OpenLineage's events going to a file."""
    events = folder / "lineage.jsonl"
    transport = {"type": "file", "log_file_path": str(events), "append": True}
    command = [sys.executable, "-m", "airflow", "dags", "test", "canaries", NOON.isoformat(), *arguments]
    environment = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        "AIRFLOW__OPENLINEAGE__NAMESPACE": "tests",
        "AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT": "600",
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    evidence.note("log at DEBUG", *of_the_task(done.stdout + done.stderr))
    evidence.note("lineage", events.read_text() if events.exists() else "")


def of_the_task(log: str) -> list[str]:
    """Return the lines of a log that are not Airflow 3's about a secret that it is to mask, or 3.0's about XCom.

    It writes them with their values where task and supervisor share a process, as they do in ``dag.test()``: at DEBUG,
    and 3.0 at any level. A worker's supervisor omits the values: see tests/live. What is in XCom is a place of its own.
    """
    sent = r"msg=(MaskSecret|SetXCom)\(" if AIRFLOW_3_0 else r"msg=MaskSecret\("
    return [line for line in log.splitlines() if not re.search(sent, line)]


def triggers(evidence: Evidence) -> None:
    """Make triggers as sensor and DAG author do, store them as Airflow does, and let them look."""
    tags = evidence.canaries
    # A trigger whose time is up searches once more.
    deadline = format_utc(datetime.now(UTC))
    arguments = {
        "window_start": format_utc(WINDOW.start),
        "window_end": format_utc(WINDOW.end),
        "time_field": "createdAt",
        "search_criteria": json.dumps(criteria("DICOMPatientId", tags["DICOMPatientId"])),
        "match": json.dumps({"DICOMAccessionNumber": [tags["DICOMAccessionNumber"]]}),
        "min_image_sets": 4,
        "quiet_period": None,
        "poke_interval": 0.1,
        "deadline": deadline,
    }
    waiting = [HealthImagingImageSetTrigger(datastore_id=each, **arguments) for each in (DATASTORE_ID, "e" * 32)]
    for trigger in waiting:
        evidence.note("trigger events", asyncio.run(anext(trigger.run())).payload)
    watching = [watch(evidence)] if Version("3.3") <= AIRFLOW else []
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session

    with create_session() as session:
        rows = [Trigger(*trigger.serialize()) for trigger in (*waiting, *watching)]
        rows.append(Trigger("tests.control", {"given": CONTROL}))
        session.add_all(rows)
        session.flush()
        evidence.note("trigger rows", *((row.classpath, row.kwargs) for row in rows))
        session.rollback()
    evidence.note("triggers", *(text for each in (*waiting, *watching) for text in (repr(each), str(each))))


def watch(evidence: Evidence) -> HealthImagingNewImageSetsTrigger:
    """Let the asset's trigger announce a batch, its watermark in Airflow's own table."""
    from airflow._shared.state import AssetScope
    from airflow.models.asset import AssetModel
    from airflow.state.metastore import MetastoreBackend
    from airflow.utils.session import create_session

    with create_session() as session:
        scope = AssetScope(asset_id=session.query(AssetModel).first().id)

    class Table(dict[str, Any]):
        """The state of the asset in Airflow's own table."""

        def __contains__(self, key: object) -> bool:
            return MetastoreBackend().get(scope, key) is not None

        def __getitem__(self, key: str) -> Any:
            return json.loads(MetastoreBackend().get(scope, key))

        def __setitem__(self, key: str, value: Any) -> None:
            MetastoreBackend().set(scope, key, json.dumps(value))

    trigger = HealthImagingNewImageSetsTrigger(
        datastore_id=DATASTORE_ID,
        search_criteria=criteria("DICOMPatientId", evidence.canaries["DICOMPatientId"]),
        match={"DICOMAccessionNumber": [evidence.canaries["DICOMAccessionNumber"]]},
        start=WINDOW.start,
        poke_interval=0.1,
    )
    with pytest.MonkeyPatch.context() as patch:
        trigger.asset_state_store = state_store(patch, Table(), "canaries")
        evidence.note("trigger events", asyncio.run(anext(trigger.run())).payload)
    return trigger


def objects(evidence: Evidence) -> None:
    """Show operator, sensor, hook, window, criteria and match, as a log line or a debugger would."""
    tags = evidence.canaries
    arguments = {
        "datastore_id": DATASTORE_ID,
        "search_criteria": criteria("DICOMPatientId", tags["DICOMPatientId"]),
        "match": {"DICOMAccessionNumber": [tags["DICOMAccessionNumber"]]},
    }
    operator = HealthImagingSearchImageSetsOperator(task_id="show", **arguments)
    hook = HealthImagingHook()
    list(hook.search_image_sets(window=WINDOW, **arguments))
    sensor = HealthImagingImageSetSensor(task_id="show_sensor", **arguments)
    for name, value in {
        "operator": operator,
        "sensor": sensor,
        "hook": hook,
        "window": WINDOW,
        "criteria": operator.search_criteria,
        "match": operator.match,
    }.items():
        evidence.note(name, repr(value), str(value), f"{value}")


def rest(evidence: Evidence, monkeypatch) -> None:
    """Ask Airflow 3's REST API, in this process, about all that the DAG has left."""
    from airflow.api_fastapi.app import create_app
    from fastapi.testclient import TestClient

    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True")
    # Airflow 3.0 signs without one, which the newest PyJWT refuses.
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_ISSUER", "tests")
    client = TestClient(create_app("core"))
    token = client.get("/auth/token").json()["access_token"]

    def ask(path, **parameters):
        answer = client.get(f"/api/v2/{path}", headers={"Authorization": f"Bearer {token}"}, params=parameters)
        assert answer.status_code in {200, 404}, f"{path}: {answer.status_code}"
        evidence.note("rest", f"{path}: {answer.text}")
        return answer.json()

    for path in ("dags", "assets", "assets/events", "eventLogs", "importErrors", "dagSources/canaries"):
        ask(path)
    for path in ("details", "tasks", "dagVersions", "assets/queuedEvents"):
        ask(f"dags/canaries/{path}")
    for run in ask("dags/canaries/dagRuns")["dag_runs"]:
        here = f"dags/canaries/dagRuns/{run['dag_run_id']}"
        ask(f"{here}/upstreamAssetEvents")
        for instance in ask(f"{here}/taskInstances")["task_instances"]:
            task = f"{here}/taskInstances/{instance['task_id']}"
            for path in ("", "/tries", "/links", "/dependencies", f"/logs/{max(instance['try_number'], 1)}"):
                ask(task + path)
            for entry in ask(f"{task}/xcomEntries").get("xcom_entries", []):
                ask(f"{task}/xcomEntries/{entry['key']}", stringify="false")
