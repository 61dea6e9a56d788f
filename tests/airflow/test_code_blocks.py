"""Every code block of README.md and docs/ does what its page says: it runs, in the order of its page.

``reading.py`` says what that means for each language.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import airflow
import pyarrow.parquet
import pydicom
import pytest
from packaging.version import Version

from airflow_provider_healthimaging.local import load_dicom
from airflow_provider_healthimaging.local.dicom import pydicom_sample_files
from tests.airflow.reading import BLOCKS, BUCKET, REPOSITORY, TUTORIAL, Reader
from tests.copies import copy
from tests.dicom_files import upload

DATASTORE_ID = "local".ljust(32, "0")
MODALITIES = ("CT", "MR", "US")

# Columns of Athena's for the types of Parquet that the package writes.
ATHENA = {"string": "VARCHAR", "int64": "BIGINT", "timestamp[ms, tz=UTC]": "TIMESTAMP", "bool": "BOOLEAN"}


@pytest.fixture
def data(store, server, bucket, monkeypatch):
    """What a reader has on the local service: image sets of the last hours and of last year, a bucket, DICOM files."""
    store.create_datastore("local", datastore_id=DATASTORE_ID)
    now = datetime.now(UTC)
    recent = [now - minutes * timedelta(minutes=1) for minutes in range(11, 180, 15)]
    last_year = [datetime(2025, 1, 1, tzinfo=UTC) + days * timedelta(days=1) for days in range(0, 365, 30)]
    for number, moment in enumerate(recent + last_year):
        tags = {
            "DICOMSeriesModality": MODALITIES[number % 3],
            "DICOMStudyDate": "20260131",
            "DICOMAccessionNumber": "A-1",
        }
        store.put_image_set(DATASTORE_ID, created_at=moment, dicom_tags=tags)
    upload(bucket)
    monkeypatch.setenv("AIRFLOW_VAR_HEALTHIMAGING_DATASTORE_ID", DATASTORE_ID)
    monkeypatch.setenv("AIRFLOW_VAR_SECRET_ACCESSION_NUMBER", "A-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    return store


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """An Airflow home of its own, for commands and for tests that a page shows."""
    folder = tmp_path_factory.mktemp("docs_airflow")
    (folder / "dags").mkdir()
    return folder


@pytest.fixture(scope="session")
def shell(home, metadata_db):
    """``shell(commands)`` runs commands of a reader with this environment's programs, and returns what they print."""
    mine = ("AIRFLOW_CONN_", "AIRFLOW_VAR_", "AWS_ENDPOINT_URL")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(mine)},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    def run(commands):
        done = subprocess.run(
            ["bash", "-e", "-c", commands], env=environment, cwd=home, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    shutil.copy(metadata_db, home / "airflow.db")
    return run


@pytest.fixture
def reader(data, tmp_path, request):
    reader = Reader(tmp_path, Version(Version(airflow.__version__).base_version), request)
    yield reader
    reader.close()


@pytest.mark.parametrize(
    "page", [page for page in BLOCKS if page != TUTORIAL], ids=lambda page: str(page.relative_to(REPOSITORY))
)
def test_the_code_blocks_of_a_page_run_in_its_order(page, reader):
    reader.read(page)

    for run in reader.runs:
        for (task_id, _, key), summary in run.xcoms.items():
            if key == "summary":
                assert summary["image_sets"] > 0, f"{task_id} of {run.dag_id} found nothing to show"


def test_the_queries_of_the_page_on_datasets_see_what_was_written(reader):
    reader.read(REPOSITORY / "docs" / "datasets.md")

    (run,) = reader.runs
    written = run.xcom("search", "summary")["image_sets"]
    by_modality = {modality: count for modality, count, _ in reader.names["by_modality"]}
    assert sum(by_modality.values()) == written > 0
    assert set(by_modality) == set(MODALITIES)
    window = Path(run.xcom("search")["s3_uri"]).name.removeprefix("window=")
    assert reader.names["rows"] == [(window, written)]


def test_the_functions_of_the_page_on_copies_read_what_was_copied(reader, store, bucket):
    (path,) = (path for path in pydicom_sample_files() if path.name == "CT_small.dcm")
    (image_set_id,) = load_dicom([path], DATASTORE_ID, backend=store).created
    reader.read(REPOSITORY / "docs" / "export.md")
    (record,) = copy({"datastoreId": DATASTORE_ID, "imageSetId": image_set_id, "version": 1})

    original = pydicom.dcmread(path)
    assert reader.names["mean_of_each_frame"](record) == [float(original.pixel_array.mean())]
    assert reader.names["open_first_file"](record).SOPInstanceUID == original.SOPInstanceUID
    assert "20260131" in {study_date for _, study_date in reader.names["rows"]}


def test_athenas_table_has_the_columns_and_types_of_the_parquet_files(reader):
    reader.read(REPOSITORY / "docs" / "datasets.md")

    (part,) = (reader.folder / BUCKET).rglob("*.parquet")
    written = pyarrow.parquet.read_schema(part)
    declared = {column.name: column.kind for column in reader.tables["image_sets"].this.expressions}
    tags = {field.name: athena_type(field.kind) for field in declared.pop("DICOMTags").expressions}
    assert tags == {field.name: ATHENA[str(field.type)] for field in written.field("DICOMTags").type}
    types = {name: athena_type(kind) for name, kind in declared.items()}
    assert types == {name: ATHENA[str(written.field(name).type)] for name in declared}
    assert {*declared, "DICOMTags"} == set(written.names) - {"window"}


def athena_type(kind):
    return kind.sql("athena")


def test_each_example_is_on_the_page_of_examples():
    shown = Counter(re.findall(r'"example_dags/(.*)"', (REPOSITORY / "docs" / "examples.md").read_text()))
    assert shown == Counter(path.name for path in (REPOSITORY / "example_dags").glob("*.py"))
