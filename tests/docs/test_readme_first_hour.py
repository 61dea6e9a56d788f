"""README.md followed word for word, by a reader who has Python, an empty home folder and nothing else.

Commands, code and paths are taken out of README.md itself. Only two things are not the reader's: pip is told where
the wheel lies that the next release would be made of, and that it may take the pins in ``constraints.txt``.
"""

from __future__ import annotations

import filecmp
import os
import re
import signal
import subprocess
import sys
import venv
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import airflow
import pytest
from markdown_it import MarkdownIt

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()
BLOCKS = [(token.info, token.content) for token in MarkdownIt().parse(README) if token.type in {"fence", "code_block"}]
PACKAGE = "airflow_provider_healthimaging"
# What a reader's machine may need to reach a package index.
PASSED_ON = re.compile(r"PIP_.*|.*_CA_BUNDLE|SSL_CERT_.*|(https?|all|no)_proxy", re.IGNORECASE)
# How Airflow's log says what came of the search, and what `process` in README.md prints.
FOUND = re.compile(r"Window \[(\S+), (\S+)\), by rule (\d).*?Found (\d+) image sets", re.DOTALL)
PROCESSED = re.compile(r"\b(\d{4}-\d\d-\d\dT[\d:.]+Z) (s3://image-sets/copies/[0-9a-f]{32}/v\d+/)")

pytestmark = pytest.mark.skipif(
    airflow.__version__.startswith("2."), reason="makes an environment of its own: once, with the newest Airflow"
)


class Terminal:
    """A shell of the reader's, that ends at the first command that fails."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.process = subprocess.Popen(
            ["bash", "-e"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )

    def enter(self, commands: str, *, until: str | None = None) -> str:
        """Type commands, and read what they print until they are through, or until a line that begins so."""
        over = until or "-- all done --"
        self.process.stdin.write(f"{commands.rstrip()}\n" + ("" if until else f"echo '{over}'\n"))
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line.strip().startswith(over):
                return line.strip() if until else "".join(lines)
            lines.append(line)
        pytest.fail(f"A command failed:\n{commands}\n{''.join(lines)[-4000:]}")

    def close(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(timeout=30)
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("first_hour")


@pytest.fixture(scope="module")
def environment(folder):
    """A new virtual environment, an empty home folder, and hardly a variable."""
    wheels, home = folder / "wheels", folder / "home"
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, REPOSITORY],
        check=True,
        capture_output=True,
    )
    venv.create(folder / "venv", with_pip=True)
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
    cache = subprocess.run([sys.executable, "-m", "pip", "cache", "dir"], check=True, capture_output=True, text=True)
    return {
        **kept,
        "HOME": str(home),
        "PATH": f"{folder / 'venv' / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "PIP_CACHE_DIR": cache.stdout.strip(),
        "PIP_CONSTRAINT": str(REPOSITORY / "constraints.txt"),
        "PIP_NO_COMPILE": "1",  # most of what is installed is never imported
        "PIP_FIND_LINKS": f"{kept.get('PIP_FIND_LINKS', '')} {wheels}".strip(),
    }


@pytest.fixture
def terminal(environment, folder):
    """Open terminals, and close them in the end."""
    with ExitStack() as opened:

        def open_one():
            one = Terminal(environment, folder / "home")
            opened.callback(one.close)
            return one

        yield open_one


def quoted(sentence: str) -> str:
    """Return what stands in README.md in the place of ``...`` in a sentence of it."""
    (found,) = re.findall(re.escape(sentence).replace(r"\.\.\.", "([^`]+)"), " ".join(README.split()))
    return found


def test_the_readme_works_word_for_word_from_an_empty_home(terminal, environment, folder):
    (_, dag), (_, install), (_, try_it), (_, prepare), (_, run) = [
        block for block in BLOCKS if block[0] in {"python", "bash"}
    ]
    server = terminal()
    server.enter(install)
    connection = server.enter(try_it, until=quoted("a line that begins with `...`."))

    airflow_terminal = terminal()
    airflow_terminal.enter(connection)
    airflow_terminal.enter(prepare)
    path = Path(quoted("Save the DAG above as `...`").replace("~", environment["HOME"]))
    path.write_text(dag)
    printed = airflow_terminal.enter(run)

    (start, end, _, found) = FOUND.search(printed).groups()
    processed = [created for created, _ in PROCESSED.findall(printed)]
    assert len(processed) == int(found) > 1
    assert all(
        datetime.fromisoformat(start) <= datetime.fromisoformat(at) < datetime.fromisoformat(end) for at in processed
    )

    (installed,) = (folder / "venv").glob(f"lib/python*/site-packages/{PACKAGE}")
    compared = filecmp.dircmp(installed, REPOSITORY / PACKAGE, ignore=["__pycache__"])
    assert compared.left_only + compared.right_only + compared.diff_files == [], "that was another release"


def test_no_block_of_the_readme_is_left_out():
    assert {info for info, _ in BLOCKS} <= {"python", "bash", "json"}
