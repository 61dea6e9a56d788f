"""The wheel: what is in it, and that Airflow knows the provider once it is installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import distributions
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from airflow_provider_healthimaging import __version__
from airflow_provider_healthimaging.get_provider_info import get_provider_info

REPOSITORY = Path(__file__).parents[2]
PACKAGE = "airflow_provider_healthimaging"
NAME = "airflow-provider-healthimaging"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from this tree."""
    pytest.importorskip("hatchling", reason="building the wheel needs hatchling in this environment")
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "hatchling", "build", "--target", "wheel", "--directory", folder, cwd=REPOSITORY)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with the wheel unpacked in it, which is all that an installer does for pure Python."""
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def run(*command, **options):
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


COMMANDS = {
    name: ["providers", *arguments, "--output", "json"]
    for name, arguments in {
        "get": ["get", NAME, "--full"],
        "links": ["links"],
        "hooks": ["hooks"],
    }.items()
}

# Airflow's command line once for each of its arguments, as often as there are any.
RUN_COMMANDS = f"""
import contextlib, io, json, sys
import {PACKAGE}
from airflow.__main__ import main
printed = {{"file": {PACKAGE}.__file__}}
for name, arguments in json.loads(sys.argv[1]).items():
    sys.argv, out = ["airflow", *arguments], io.StringIO()
    with contextlib.redirect_stdout(out):
        main()
    printed[name] = out.getvalue()
print(json.dumps(printed))
"""


@pytest.fixture(scope="module")
def airflow(installed, metadata_db):
    """What commands of Airflow's command line print with the wheel, by name, read as JSON."""
    # Before the editable installation, which the tests themselves run from.
    options = {"env": os.environ | {"PYTHONPATH": str(installed)}, "cwd": installed}
    done = run("-c", RUN_COMMANDS, json.dumps(COMMANDS), **options)
    assert PACKAGE not in done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    assert Path(printed.pop("file")).is_relative_to(installed)
    # Airflow 3.0 logs to the same stream before, each line with its time in brackets.
    return {
        name: json.loads(text[re.search(r"^\[(?!\d)", text, re.MULTILINE).start() :]) for name, text in printed.items()
    }


def test_the_wheel_holds_the_package_its_licence_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()

    metadata = f"{PACKAGE}-{__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {PACKAGE, metadata}
    assert {f"{PACKAGE}/py.typed", f"{metadata}/licenses/LICENSE", f"{metadata}/entry_points.txt"} <= set(names)
    assert {f"{PACKAGE}/{path.relative_to(REPOSITORY / PACKAGE)}" for path in sources()} == {
        name for name in names if name.endswith(".py")
    }
    assert not [name for name in names if "test" in Path(name).name or "benchmark" in name]


def test_the_source_distribution_builds_the_same_wheel(wheel, tmp_path):
    run("-m", "hatchling", "build", "--target", "sdist", "--directory", tmp_path, cwd=REPOSITORY)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    unpacked = tmp_path / archive.name.removesuffix(".tar.gz")
    run("-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path, cwd=unpacked)

    (built,) = tmp_path.glob("*.whl")
    assert built.name == wheel.name
    assert contents(built) == contents(wheel)


def contents(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_version_is_written_down_once():
    places = [REPOSITORY / "pyproject.toml", *sources()]

    assert [path.name for path in places if f'= "{__version__}"' in path.read_text()] == ["__init__.py"]


def sources():
    return (REPOSITORY / PACKAGE).rglob("*.py")


def test_the_wheels_metadata_say_what_it_is(installed):
    (distribution,) = distributions(path=[str(installed)])

    assert distribution.metadata["Name"] == NAME
    assert distribution.version == __version__
    assert distribution.metadata["License-Expression"] == "Apache-2.0"
    assert distribution.metadata["Description"].startswith(f"# {NAME}")
    (entry_point,) = distribution.entry_points
    assert entry_point.group == "apache_airflow_provider"
    assert entry_point.value == f"{PACKAGE}.get_provider_info:get_provider_info"


def test_the_changelog_begins_with_this_version_or_what_comes_after_it():
    headings = [line for line in (REPOSITORY / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]

    assert headings[0].split()[1].strip("[],") in {"Unreleased", __version__}


def test_the_provider_info_is_valid_by_airflows_schema():
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())

    jsonschema.validate(get_provider_info(), schema)


def test_what_the_provider_info_names_can_be_imported():
    info = get_provider_info()
    modules = [
        module
        for kind in ("hooks", "operators", "sensors", "triggers")
        for integration in info[kind]
        for module in integration["python-modules"]
    ]
    paths = [*modules, *(link.rpartition(".")[0] for link in info["extra-links"])]

    assert len(paths) == 6
    for path in paths:
        __import__(path)


def test_airflow_providers_get_shows_all_of_the_provider(airflow):
    (shown,) = airflow["get"]

    text = json.dumps(shown)
    assert __version__ in text
    for kind in ("hooks", "operators", "sensors", "triggers", "links"):
        assert f"{PACKAGE}.{kind}.healthimaging" in text


def test_airflow_providers_links_lists_the_providers_link(airflow):
    assert "HealthImagingDatastoreLink" in json.dumps(airflow["links"])


def test_airflow_providers_hooks_still_lists_the_hook_of_the_connections_type(airflow):
    assert "aws" in {hook["connection_type"] for hook in airflow["hooks"]}
