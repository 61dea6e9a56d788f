"""The tutorial, typed by a reader: files are saved under their titles, commands are run, and the log is compared.

Two things are not the reader's: the port is one that is free, and the search does not wait for its minute.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import ExitStack
from pathlib import Path

import airflow
import pytest

from tests.airflow.reading import BLOCKS, TUTORIAL, check_requirement
from tests.docs.test_readme_first_hour import Terminal

REPOSITORY = Path(__file__).parents[2]
DELAY = "delay=timedelta(minutes=1)"
EXPORTS = 3

pytestmark = pytest.mark.skipif(
    airflow.__version__.startswith("2."), reason="starts Airflow's command line: once, with the newest Airflow"
)


@pytest.fixture
def terminal(tmp_path):
    """Open terminals in an empty home, and close them in the end."""
    mine = ("AIRFLOW", "AWS_")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(mine)},
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
    }
    with ExitStack() as opened:

        def open_one():
            one = Terminal(environment, tmp_path)
            opened.callback(one.close)
            return one

        yield open_one


def start_service(terminal, command):
    """Start the service, and return the lines that the reader pastes."""
    terminal.process.stdin.write(f"{command} --port 0\n")
    terminal.process.stdin.flush()
    lines = []
    for line in terminal.process.stdout:
        if line.strip().startswith("export"):
            lines.append(line.strip())
        if len(lines) == EXPORTS:
            return "\n".join(lines)
    pytest.fail(f"{command!r} ended")


def content_of(block):
    """Return what the page shows in a block."""
    if not block.code.startswith("--8<--"):
        return block.code
    text = (REPOSITORY / block.code.split('"')[1]).read_text()
    assert DELAY in text
    return text.replace(DELAY, "delay=timedelta(0)")


def test_the_tutorial_works_word_for_word_and_shows_what_it_says(terminal, tmp_path):
    first, *blocks = BLOCKS[TUTORIAL]
    install, serve = first.code.splitlines()
    check_requirement(install.split("'")[1])
    reader = terminal()
    reader.enter(start_service(terminal(), serve))

    printed, compared = "", 0
    for block in blocks:
        if block.language == "python":
            folder = tmp_path / "airflow" / "dags" if block.code.startswith("--8<--") else tmp_path
            (folder / block.title).write_text(content_of(block))
        elif block.language == "bash":
            printed = reader.enter(block.code)
        else:
            for line in block.code.splitlines():
                assert re.search(re.escape(line).replace(r"\.\.\.", ".*"), printed), f"{line}\n{printed[-4000:]}"
                compared += 1

    assert compared >= 8
