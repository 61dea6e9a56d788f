"""The site, built once for the tests of this folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def built_site(tmp_path_factory):
    """The folder of the site, as ``make docs`` builds it."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, [line for line in built.stderr.splitlines() if "WARNING" in line or "ERROR" in line]
    return folder


@pytest.fixture(scope="session")
def site(built_site):
    """The pages of the site, by their path in it."""
    from bs4 import BeautifulSoup

    pages = (path for path in built_site.rglob("*.html") if path.name != "404.html")
    return {path: BeautifulSoup(path.read_text(), "lxml") for path in pages}


@pytest.fixture(scope="session")
def search(built_site):
    """The search of the site."""
    from tests.docs.lunr_search import Search

    return Search(json.loads((built_site / "search" / "search_index.json").read_text()))
