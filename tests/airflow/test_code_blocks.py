"""Every code block of README.md and docs/ does what its page says: it runs, in the order of its page.

What a block is follows from its language and title:

- ``python``: with a DAG in it, parsed by Airflow and run; titled ``test_*.py``, run by pytest; else executed. A title
  ``Airflow 3.3`` says from which version on. In Airflow 2 the words behind ``# Airflow 2:`` replace their line.
- ``bash``: run, but for ``UNRUN``, which has the reasons.
- ``json`` is parsed; ``sql`` is run by DuckDB, or parsed as Athena would; ``text`` is for people.

tests/docs/test_readme_first_hour.py does what README.md says a second time, as a reader would.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import metadata
from pathlib import Path

import boto3
import duckdb
import pyarrow.parquet
import pytest
import sqlglot
from markdown_it import MarkdownIt
from packaging.requirements import Requirement
from packaging.version import Version

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
DATASTORE_ID = "local".ljust(32, "0")
BUCKET = "image-sets"
HOUR = timedelta(hours=1)
MODALITIES = ("CT", "MR", "US")

UNRUN = {
    "pip install": "needs a package index: the requirement is checked, and the test of README.md installs README.md's",
    "mkdir -p ~": "would be in the home folder of whoever runs the tests: the test of README.md does it",
}
# Columns of Athena's for the types of Parquet that the package writes.
ATHENA = {"string": "VARCHAR", "int64": "BIGINT", "timestamp[ms, tz=UTC]": "TIMESTAMP", "bool": "BOOLEAN"}


@dataclass(frozen=True)
class Block:
    """A code block, and where it is."""

    page: Path
    line: int
    language: str
    title: str
    code: str

    def __str__(self):
        return f"{self.page.relative_to(REPOSITORY)}, line {self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Return all code blocks of a page, those that are only indented included."""
    found = []
    for token in MarkdownIt().parse(page.read_text()):
        if token.type in {"fence", "code_block"}:
            language, _, rest = token.info.partition(" ")
            title = re.fullmatch(r'title="(.*)"', rest)
            found.append(Block(page, token.map[0] + 1, language, title[1] if title else rest, token.content))
    return found


BLOCKS = {page: blocks for page in PAGES if (blocks := blocks_of(page))}


def as_on_this_airflow(code: str, airflow_version: Version) -> str:
    if airflow_version >= Version("3"):
        return code
    return re.sub(r"^( *).*  # Airflow 2: (.*)$", r"\1\2", code, flags=re.MULTILINE)


@pytest.fixture
def data(store, server, bucket, monkeypatch):
    """What a reader has on the local service: image sets of the last hours and of last year, and a bucket."""
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
def shell(home):
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

    run("airflow db migrate")
    return run


class Reader:
    """Runs the blocks of a page, one after the other, and keeps what they leave behind."""

    def __init__(self, tmp_path, airflow_version, request):
        self.folder, self.airflow_version, self.request = tmp_path, airflow_version, request
        self.names, self.runs, self.tables, self.servers = {}, [], {}, []

    def read(self, page):
        for block in BLOCKS[page]:
            try:
                getattr(self, block.language)(block)
            except BaseException as error:
                error.add_note(f"This is about the block in {block}.")
                raise
        return self

    def python(self, block):
        title = re.fullmatch(r"Airflow ([\d.]+)", block.title)
        if title and Version(title[1]) > self.airflow_version:
            return
        code = as_on_this_airflow(block.code, self.airflow_version)
        if block.code.startswith("--8<--"):
            assert (REPOSITORY / block.code.split('"')[1]).exists()
        elif block.title.startswith("test_"):
            self._pytest(block.title, code)
        elif block.title == "Spark":
            compile(code, str(block), "exec")
        elif "with DAG(" in code:
            self._dags(block, code)
        else:
            # As many empty lines before it as the page has, so that a traceback shows the line of the page.
            exec(compile("\n" * block.line + code, block.page, "exec"), self.names)

    def _dags(self, block, code):
        path = self.folder / f"line_{block.line}.py"
        path.write_text(code)
        dags = self.request.getfixturevalue("parse")(path)
        assert dags
        for dag in dags.values():
            if block.title:
                self.request.getfixturevalue("register")(dag)
                continue
            run = self.request.getfixturevalue("run_dag")(dag, datetime.now(UTC))
            assert run.state == "success"
            self.runs.append(run)

    def _pytest(self, name, code):
        shell = self.request.getfixturevalue("shell")
        home = self.request.getfixturevalue("home")
        (home / name).write_text(code)
        first_search = next(page for page in PAGES if page.name == "first-search.md")
        dag = next(block for block in BLOCKS[first_search] if block.language == "python")
        (home / "dags" / "new_image_sets.py").write_text(as_on_this_airflow(dag.code, self.airflow_version))
        shell(f"python -m pytest -q -p no:cacheprovider -o pythonpath=dags {name}")

    def bash(self, block):
        if block.page.name in {"README.md", "first-search.md"}:
            known = {line for each in BLOCKS[REPOSITORY / "README.md"] for line in each.code.splitlines()}
            if set(block.code.splitlines()) <= known:
                return  # by the test of README.md
        for line in block.code.splitlines():
            if line.startswith("pip install"):
                check_requirement(shlex.split(line)[2])
            elif line.startswith("python -m airflow_provider_healthimaging.local serve"):
                self._serve(line)
            elif not line.startswith(tuple(UNRUN)):
                self.request.getfixturevalue("shell")(line)

    def _serve(self, line):
        process = subprocess.Popen(
            [sys.executable, *shlex.split(line)[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.servers.append(process)
        for printed in process.stdout:
            if "aws medical-imaging" in printed:
                return
        pytest.fail(f"{line!r} ended")

    def json(self, block):
        json.loads(block.code)

    def sql(self, block):
        if block.title == "Athena":
            (statement,) = sqlglot.parse(block.code, read="athena", error_level=sqlglot.ErrorLevel.RAISE)
            if isinstance(statement, sqlglot.exp.Create):
                self.tables[statement.this.this.name] = statement
        else:
            download(self.folder)
            self.names["rows"] = duckdb.sql(block.code.replace("s3://", f"{self.folder}/")).fetchall()

    def text(self, block):
        assert block.code.strip()

    def close(self):
        for process in self.servers:
            process.terminate()
            process.communicate(timeout=30)


def check_requirement(text):
    """The requirement is this package's, and it has the extras that are named."""
    requirement = Requirement(text)
    assert requirement.name == "airflow-provider-healthimaging"
    assert requirement.extras <= set(metadata(requirement.name).get_all("Provides-Extra"))


def download(folder):
    """Put the bucket's objects into a folder of its name, as DuckDB's reader of S3 is not in its wheel."""
    for stored in boto3.resource("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).Bucket(BUCKET).objects.all():
        path = folder / BUCKET / stored.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stored.get()["Body"].read())


@pytest.fixture
def reader(data, tmp_path, request):
    import airflow

    reader = Reader(tmp_path, Version(Version(airflow.__version__).base_version), request)
    yield reader
    reader.close()


@pytest.mark.parametrize("page", BLOCKS, ids=lambda page: str(page.relative_to(REPOSITORY)))
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
