"""``make demo`` and ``make demo-ui`` as someone who tries the package runs them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

REPOSITORY = Path(__file__).parents[2]


def test_the_demo_ends_with_files_to_look_at(tmp_path):
    home = tmp_path / "home"
    command = [sys.executable, "-m", "demo.demo", str(home)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]

    image_sets = int(re.search(r"imported +\d+ files, as (\d+) image sets", done.stdout)[1])
    assert image_sets > 20
    assert re.search(rf"found +{image_sets} image sets", done.stdout)
    pictures = home / "s3" / "pictures"
    shown = re.findall(r"<img src='([^']+)'", (pictures / "contact-sheet.html").read_text())
    assert len(shown) > 20
    assert {path.name for path in pictures.glob("*.png")} == set(shown)
    assert len(list((home / "s3" / "image-sets").rglob("_manifest.json"))) == image_sets
    following = done.stdout[done.stdout.index("what to look at next") :]
    assert "contact-sheet.html" in following
    assert "make demo-ui" in following


@pytest.fixture
def demo_ui(tmp_path):
    """The process of ``make demo-ui``, and the lines that it prints; it is ended in the end."""

    @contextmanager
    def started():
        process = subprocess.Popen(
            [sys.executable, "-m", "demo.ui"],
            cwd=REPOSITORY,
            env=os.environ | {"TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=60)

    return started


def read_until(process, text):
    """Return what the process prints up to a line that contains ``text``."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    pytest.fail(f"It ended before {text!r}:\n{''.join(lines)[-8000:]}")


def test_the_demo_in_airflows_pages_needs_no_login_and_leaves_nothing(demo_ui, tmp_path):
    with demo_ui() as process:
        printed = read_until(process, "Press Ctrl-C to stop")
        (url,) = re.findall(r"Airflow is ready: (\S+)", printed)
        with httpx.Client(base_url=url, follow_redirects=True) as browser:
            # What a browser is sent to without a login.
            browser.get("/api/v2/auth/login")
            runs = browser.get("/api/v2/dags/~/dagRuns").raise_for_status().json()["dag_runs"]
        states = {run["dag_id"]: run["state"] for run in runs}
        assert states["healthimaging_contact_sheet"] == "success"
        assert states["healthimaging_import_daily"] in {"running", "success"}
        (page,) = re.findall(r"\S+contact-sheet\.html", printed)
        assert Path(page).read_text().count("<img") > 20
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 4

        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)  # who presses it twice does not stop the stopping
        rest, _ = process.communicate(timeout=60)

    assert process.returncode == 0, rest
    assert rest.endswith("stopped\n")
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
    assert list(tmp_path.iterdir()) == []
