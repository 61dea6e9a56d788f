"""A reader of the documentation: finds the code blocks of a page, and does what each of them says.

What a block is follows from its language and title:

- ``python``: with a DAG in it, parsed by Airflow and run; titled ``test_*.py``, run by pytest; else executed. A title
  ``Airflow 3.3`` says from which version on. In Airflow 2 the words behind ``# Airflow 2:`` replace their line.
- ``bash``: run. Of ``pip install``, which needs a package index, the requirement is checked. What README.md and
  docs/tutorial.md say, test_readme_first_hour.py and test_tutorial.py in tests/docs do as a reader would, and not this.
- ``json`` is parsed, and the actions of a policy are looked up; ``ini`` has options that there are; ``sql`` is run by
  DuckDB, or parsed as Athena would; ``text`` is for people.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from configparser import ConfigParser
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import metadata
from pathlib import Path

import boto3
import botocore.session
import duckdb
import pytest
import sqlglot
from markdown_it import MarkdownIt
from packaging.requirements import Requirement
from packaging.version import Version

from airflow_provider_healthimaging.get_provider_info import get_provider_info

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "README.md"
TUTORIAL = REPOSITORY / "docs" / "tutorial.md"
PAGES = [README, *sorted((REPOSITORY / "docs").rglob("*.md"))]
BUCKET = "image-sets"


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


DOCUMENTED_ADDRESS = "http://127.0.0.1:5000"


class Reader:
    """Runs the blocks of a page, one after the other, and keeps what they leave behind."""

    def __init__(self, tmp_path, airflow_version, request):
        self.folder, self.airflow_version, self.request = tmp_path, airflow_version, request
        self.names, self.runs, self.tables, self.servers = {}, [], {}, ExitStack()
        self.address = DOCUMENTED_ADDRESS

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
        done_elsewhere = {line for each in BLOCKS[README] if each.language == "bash" for line in each.code.splitlines()}
        if set(block.code.splitlines()) <= done_elsewhere:
            return
        for line in block.code.splitlines():
            if line.startswith("pip install"):
                check_requirement(shlex.split(line)[2])
            elif line.startswith("python -m airflow_provider_healthimaging.local serve"):
                self._serve(line)
            else:
                self.request.getfixturevalue("shell")(line.replace(DOCUMENTED_ADDRESS, self.address))

    def _serve(self, line):
        """Run the local service as the page says, but on a port that is free."""
        process = subprocess.Popen(
            [sys.executable, *shlex.split(line.replace("--port 5000", "--port 0"))[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.servers.callback(process.communicate, timeout=30)
        self.servers.callback(process.terminate)
        for printed in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+", printed):
                self.address = found[0]
            if "aws medical-imaging" in printed:
                return
        pytest.fail(f"{line!r} ended")

    def json(self, block):
        shown = json.loads(block.code)
        if "Statement" in shown:
            check_policy(shown)

    def ini(self, block):
        settings = ConfigParser()
        settings.read_string(block.code)
        known = get_provider_info()["config"]
        assert [
            name
            for section in settings.sections()
            for name in settings[section]
            if name not in known[section]["options"]
        ] == []

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

    def mermaid(self, block):
        """Diagrams, which are drawn where the page is shown."""
        assert block.code.startswith("sequenceDiagram\n")

    def close(self):
        self.servers.close()


def check_requirement(text):
    """The requirement is this package's, and it has the extras that are named."""
    requirement = Requirement(text)
    assert requirement.name == "airflow-provider-healthimaging"
    assert requirement.extras <= set(metadata(requirement.name).get_all("Provides-Extra"))


def check_policy(policy):
    """The actions of HealthImaging that the policy names are calls that there are."""
    actions = [action for each in policy["Statement"] for action in as_list(each["Action"])]
    named = {action.partition(":")[2] for action in actions if action.startswith("medical-imaging:")}
    # The operations of DICOMweb are not in botocore's model.
    model = botocore.session.get_session().get_service_model("medical-imaging")
    assert named <= {"GetDICOMInstance", *model.operation_names}


def as_list(one_or_more):
    return [one_or_more] if isinstance(one_or_more, str) else one_or_more


def download(folder):
    """Put the bucket's objects into a folder of its name, as DuckDB's reader of S3 is not in its wheel."""
    for stored in boto3.resource("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).Bucket(BUCKET).objects.all():
        path = folder / BUCKET / stored.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stored.get()["Body"].read())
