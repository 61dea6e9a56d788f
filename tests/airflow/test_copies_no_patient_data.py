"""Attributes of copied image sets stay out of all that Airflow keeps, and out of S3's keys and manifests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from packaging.version import Version

from airflow_provider_healthimaging.local import LocalServer, airflow_connection, load_dicom
from tests.copies import manifests
from tests.dicom_files import dicom_file

from .evidence import AIRFLOW, NOON, kept_by_airflow, kept_in, of_the_task, recording
from .places import CONTROL, COPY_PLACES, DATASTORE_ID, Evidence

DAGS = Path(__file__).parents[1] / "dags"
ASKED_FOR = (".dcm", ".jph", ".json.gz")
IF_IT_FAILS = {
    "XCom": (CONTROL, "image_sets_failed"),
    "S3 keys": (r"/v1/_manifest\.json", r"/v1/metadata\.json\.gz"),
}
"""What is found where a copy fails at its first DICOM file: it returns no record, and has asked for the manifest."""

PIXELS = {
    "Rows": 2,
    "Columns": 2,
    "BitsAllocated": 8,
    "BitsStored": 8,
    "HighBit": 7,
    "PixelRepresentation": 0,
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "PixelData": b"\1\2\3\4",
}


@pytest.fixture
def canaries(store, tmp_path, monkeypatch):
    """Attributes of an image set, no value of which exists anywhere else."""
    planted = {name: f"canary{uuid.uuid4().hex}" for name in ("PatientName", "PatientID", "StudyDescription")}
    uids = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
    planted |= {name: f"2.25.{uuid.uuid4().int}" for name in uids}
    file = tmp_path / "one.dcm"
    file.write_bytes(dicom_file(**PIXELS, **planted))
    created_at = NOON - timedelta(minutes=30)
    assert load_dicom([file], DATASTORE_ID, backend=store, created_at=created_at).files_read == 1
    monkeypatch.setenv("AIRFLOW_VAR_CANARY_CONTROL", CONTROL)
    return planted


@pytest.fixture
def evidence(canaries):
    return Evidence(canaries=canaries)


@pytest.fixture
def run_at_debug(evidence, tmp_path, metadata_db):
    """Runs the DAG by Airflow's command line, keeps what it leaves behind, and returns the exit status."""

    def run() -> int:
        dags, events, sent = tmp_path / "dags", tmp_path / "lineage.jsonl", {}
        dags.mkdir()
        shutil.copy(DAGS / "canary_copies.py", dags)
        transport = {"type": "file", "log_file_path": str(events), "append": True}
        with LocalServer(middleware=recording(sent)) as server:
            environment = {
                "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
                "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
                "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
                "AIRFLOW__OPENLINEAGE__NAMESPACE": "tests",
                "AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT": "600",
                "AIRFLOW_CONN_AWS_DEFAULT": airflow_connection(server.url),
            }
            command = [sys.executable, "-m", "airflow", "dags", "test", "canary_copies", NOON.isoformat()]
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
        evidence.note("log at DEBUG", *of_the_task(done.stdout + done.stderr))
        evidence.note("lineage", events.read_text() if events.exists() else "")
        evidence.airflow.extend(kept_by_airflow())
        evidence.stored |= {where: value for where, value in sent.items() if not where.startswith("object")}
        return done.returncode

    return run


def test_copies_leave_no_trace_of_what_was_copied(evidence, bucket, run_at_debug):
    assert run_at_debug() == 0, "\n".join(evidence.texts["log at DEBUG"][-30:])

    stored = dict(kept_in(bucket))
    copied = {where for where in stored if where.startswith("object") and where.endswith(ASKED_FOR)}
    evidence.stored |= {where: value for where, value in stored.items() if where not in copied}
    reports = [place.report(evidence) for place in COPY_PLACES if Version(place.since) <= AIRFLOW]
    assert [each["place"] for each in reports if not each["control_found"]] == []
    assert [(each["place"], each["hits"]) for each in reports if each["hits"]] == []
    content = b"".join(stored[where] for where in copied)
    assert all(value.encode() in content for value in evidence.canaries.values()), "the copies themselves have it"


def test_copies_that_fail_leave_no_trace_either(evidence, store, bucket, run_at_debug):
    store.settings.missing_object_share = 1

    run_at_debug()

    evidence.stored |= {where: value for where, value in kept_in(bucket) if not where.startswith("object")}
    places = [place for place in COPY_PLACES if Version(place.since) <= AIRFLOW and place.name != "manifests"]
    reports = [replace(each, control=IF_IT_FAILS.get(each.name, each.control)).report(evidence) for each in places]
    assert [each["place"] for each in reports if not each["control_found"]] == []
    assert [(each["place"], each["hits"]) for each in reports if each["hits"]] == []
    assert manifests(bucket) == []
    log = "\n".join(evidence.texts["log at DEBUG"])
    for told in ("ExportFailedError", "Error was raised here"):
        assert told in log
