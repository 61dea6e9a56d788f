"""Each of the most likely mistakes is made in a DAG that Airflow parses and runs. The last line it shows is checked.

The headings of ``docs/troubleshooting.md`` are words of these lines.
"""

from __future__ import annotations

import re
import subprocess
import sys
import traceback
from datetime import timedelta
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from .conftest import AIRFLOW
from .mistakes import DAG_FILE, ELEVEN, MISTAKES, World

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
NO_MOTO = "needs moto and pydicom"


@pytest.fixture
def last_line(store, bucket, server, monkeypatch, tmp_path, dag_bag, run_dag, failures):
    """``last_line(mistake)`` makes the mistake, and returns the last line that Airflow shows for it."""

    def made(mistake):
        mistake.where(World(store, server.url, monkeypatch))
        dag_id = f"mistake_{MISTAKES.index(mistake)}"
        path = tmp_path / f"{dag_id}.py"
        text = DAG_FILE.format(dag_id=dag_id, schedule=mistake.schedule, line=mistake.line, native=mistake.native)
        path.write_text(text)
        bag = dag_bag(path)
        for shown in bag.import_errors.values():
            return shown.strip().splitlines()[-1]
        task = next(task for task in bag.dags[dag_id].tasks if task.task_id in {"search", "wait", "import", "copy"})
        task.on_failure_callback = [failures.callbacks["on_failure_callback"]]
        run_dag(bag.dags[dag_id], ELEVEN + timedelta(hours=1), **mistake.run)
        return traceback.format_exception(failures[0])[-1].strip()

    return made


@pytest.mark.parametrize("mistake", MISTAKES, ids=[f"{i}: {each.words}" for i, each in enumerate(MISTAKES)])
def test_the_last_line_of_a_mistake_contains_its_heading_in_troubleshooting(mistake, last_line):
    if str(AIRFLOW) not in SpecifierSet(mistake.airflow):
        pytest.skip(f"a mistake of Airflow {mistake.airflow}")

    assert mistake.words in last_line(mistake)


def test_the_local_service_without_its_extra_names_the_extra():
    code = "import sys, runpy; sys.modules['moto'] = None; runpy.run_module('airflow_provider_healthimaging.local')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert NO_MOTO in done.stderr.strip().splitlines()[-1]
    assert "pip install 'airflow-provider-healthimaging[local]'" in done.stderr.strip().splitlines()[-1]


def test_troubleshooting_has_a_section_for_each_mistake_and_no_others():
    headings = re.findall(r"^### `(.+)`$", PAGE.read_text(), re.MULTILINE)

    assert sorted(headings) == sorted({NO_MOTO, *(each.words for each in MISTAKES)})


def test_each_section_of_troubleshooting_has_cause_and_fix():
    _, *sections = re.split(r"^### ", PAGE.read_text(), flags=re.MULTILINE)

    assert [each for each in sections if not re.fullmatch(r"`.+`\n\nCause: .+\n\nFix: .+\n+(## .+\n+)?", each)] == []
