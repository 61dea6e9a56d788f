"""What happens when Airflow parses a DAG with the provider in it: nothing but definitions. And what code never does."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import airflow
import pytest
from packaging.version import Version

import airflow_provider_healthimaging as package

REPOSITORY = Path(__file__).parents[2]
PACKAGE = Path(package.__file__).parent
EXAMPLES = sorted((REPOSITORY / "example_dags").glob("*.py"))
SOURCES = sorted(PACKAGE.rglob("*.py"))

# What is seen while each of some groups is imported, and then while deeds are done that should be seen.
# Airflow and what it brings are imported before anything is watched: its croniter runs `file`, for one.
WATCH = """
import importlib, json, runpy, sys
import airflow, boto3, botocore.session, croniter
import airflow.providers.amazon.aws.hooks.base_aws, airflow.providers.amazon.aws.operators.base_aws
import airflow.providers.amazon.aws.sensors.base_aws
try:
    import airflow.sdk
except ImportError:
    import airflow.decorators

WATCHED = {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "sqlite3.connect",
           "subprocess.Popen", "os.system", "os.fork", "os.exec", "os.posix_spawn", "pickle.find_class"}
seen = []
sys.addaudithook(lambda event, arguments: seen.append(event) if event in WATCHED else None)
create_client = botocore.session.Session.create_client
botocore.session.Session.create_client = lambda *a, **k: (seen.append("create_client"), create_client(*a, **k))[1]
groups, deeds = json.loads(sys.argv[1]), json.loads(sys.argv[2])
seen_in = {}
for name, targets in groups.items():
    for target in targets:
        runpy.run_path(target) if target.endswith(".py") else importlib.import_module(target)
    seen_in[name] = [*seen]
    seen.clear()
exec(deeds)
print(json.dumps({**seen_in, "deeds": seen}))
"""

DEEDS = {
    "socket.connect": "import socket; socket.socket().connect_ex(('127.0.0.1', 9))",
    "create_client": "boto3.client('s3', region_name='us-east-1')",
    "sqlite3.connect": "import sqlite3; sqlite3.connect(':memory:')",
    "subprocess.Popen": "import subprocess; subprocess.run(['true'])",
}


def module(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def needs_new_airflow(path):
    return "AssetWatcher" in path.read_text()


@pytest.fixture(scope="module")
def seen():
    """What was seen in a fresh Python: while the package and the examples were imported, and of the deeds."""
    modules = [module(path) for path in SOURCES if "local" not in path.parts]
    new = Version(airflow.__version__) >= Version("3.3.0.dev0")
    examples = [str(path) for path in EXAMPLES if new or not needs_new_airflow(path)]
    assert len(modules) > 30
    assert len(examples) > 4
    groups = json.dumps({"package": modules, "examples": examples})
    command = [sys.executable, "-c", WATCH, groups, json.dumps("\n".join(DEEDS.values()))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_the_package_opens_no_connection_database_or_client(seen):
    assert seen["package"] == []


def test_importing_an_example_opens_no_connection_database_or_client(seen):
    assert seen["examples"] == []


def test_what_is_watched_for_would_be_seen(seen):
    assert DEEDS.keys() <= set(seen["deeds"])


FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "system", "popen", "unsafe_load", "full_load"}
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "joblib", "yaml", "subprocess"}


def dangers(source):
    """Yield what in a source text runs text as code, or may make code of data."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
                yield name
            case ast.Call(func=ast.Attribute(attr=name, value=ast.Name(id="os" | "builtins"))) if (
                name in FORBIDDEN_CALLS
            ):
                yield name
            case ast.Import(names=names):
                yield from {alias.name.partition(".")[0] for alias in names} & FORBIDDEN_MODULES
            case ast.ImportFrom(module=str(name)):
                yield from {name.partition(".")[0]} & FORBIDDEN_MODULES
            case ast.keyword(arg="shell"):
                yield "shell"


@pytest.mark.parametrize("path", SOURCES, ids=[module(path) for path in SOURCES])
def test_no_source_evaluates_text_unpickles_or_starts_programs(path):
    assert list(dangers(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    ["eval(x)", "exec(x)", "import pickle", "from marshal import loads", "os.system(x)", "yaml = __import__('yaml')",
     "import yaml", "from subprocess import run", "f(shell=True)"],
)  # fmt: skip
def test_what_is_forbidden_would_be_found(source):
    assert list(dangers(source))
