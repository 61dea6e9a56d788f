"""The rooms of the package import each other one way only, and what each may know about stays true."""

import importlib.util
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGE = "airflow_provider_healthimaging"

pytestmark = pytest.mark.skipif(not (REPOSITORY / PACKAGE).is_dir(), reason="needs a checkout beside the tests")

# From top to bottom: a room imports only rooms of lower lines.
LINES = (
    {"operators", "sensors", "transfers"},
    {"task", "triggers", "manifest", "pixels"},
    {"output"},
    {"hooks"},
    {"aws", "privacy"},
    {"imports", "export"},
    {"search"},
    {"links"},
    {"window"},
    {"exceptions"},
)
APART = {"local", "get_provider_info"}


@pytest.fixture(scope="module")
def layout():
    spec = importlib.util.spec_from_file_location("layout", REPOSITORY / "docs" / "tools" / "layout.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def imported(layout, *rooms):
    """Return the top-level packages that the modules of these rooms import, each with the file."""
    return {
        (name.partition(".")[0], path.name)
        for room, path in layout.modules()
        if room in rooms
        for name in layout.imported_modules(path)
    }


def test_every_room_stands_in_the_plan(layout):
    assert layout.arrows().keys() == set().union(*LINES, APART)


def test_no_arrow_runs_up(layout):
    line = {room: number for number, rooms in enumerate(LINES) for room in rooms}
    wrong = [
        f"{room} -> {other}"
        for room, others in layout.arrows().items()
        for other in others
        if room in line and line.get(other, -1) <= line[room]
    ]
    assert wrong == []


def test_there_are_at_most_twenty_rooms_on_nine_floors_and_no_circle(layout):
    floors = layout.floors(layout.arrows())
    assert len(floors) <= 20
    assert max(floors.values()) <= 9


@pytest.mark.parametrize(
    ("room", "unknown"),
    [
        ("search", {"airflow", "boto3", "botocore"}),
        ("imports", {"airflow", "boto3", "botocore"}),
        ("export", {"airflow", "boto3", "botocore"}),
        ("window", {"airflow", "boto3", "botocore"}),
        ("exceptions", {"airflow", "boto3", "botocore"}),
        ("aws", {"airflow"}),
        ("local", {"airflow"}),
    ],
)
def test_a_room_does_not_import_what_it_may_not_know(layout, room, unknown):
    found = imported(layout, room)
    assert found, "nothing was read"
    assert sorted((name, path) for name, path in found if name in unknown) == []


def test_nothing_outside_local_imports_local_and_local_imports_nothing_else(layout):
    arrows = layout.arrows()
    assert arrows["local"] == {}
    assert [room for room, others in arrows.items() if "local" in others] == []


def test_a_module_is_one_idea_of_at_most_250_lines(layout):
    long = {path.name: lines for _, path in layout.modules() if (lines := len(path.read_text().splitlines())) > 250}
    assert long == {}


def test_a_circle_is_found(layout):
    with pytest.raises(ValueError, match="a -> b -> a"):
        layout.floors({"a": {"b": 1}, "b": {"a": 1}})
