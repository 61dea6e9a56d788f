"""docs/reliability.md shows the counts in tests/reliability/counts, and these are what the package promises."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.reliability.report import main

REPOSITORY = Path(__file__).parents[2]
COUNTS = REPOSITORY / "tests" / "reliability" / "counts"
MACHINE = re.compile(r"It was written on .*")


def rows(name):
    return json.loads((COUNTS / f"{name}.json").read_text())


def test_the_page_shows_what_was_counted(capsys):
    main(str(COUNTS))
    page = (REPOSITORY / "docs" / "reliability.md").read_text()
    assert MACHINE.sub("", page) == MACHINE.sub("", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("name", "column", "promised"),
    [
        *((name, column, 0) for name in ("soak", "faults") for column in ("lost", "repeated", "wrong")),
        *((name, "hits", []) for name in ("patient_data", "patient_data_live")),
        ("errors", "wrong", 0),
        ("matrix", "failed", 0),
    ],
)
def test_every_count_is_what_the_package_promises(name, column, promised):
    assert rows(name)
    assert [row for row in rows(name) if row[column] != promised] == []
