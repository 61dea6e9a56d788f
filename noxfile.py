"""Tests the wheel on all versions that the package supports: ``make test-matrix``.

A session installs the wheel of ``make build`` and the requirements of the tests into an environment of its own. It
checks which versions were installed, and runs the unit and ``dag.test()`` suites from outside the checkout. Airflow is
pinned to a patch version. Everything else is the newest version that is allowed, as in a new installation today.
"""

from __future__ import annotations

import json
import os
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = False

HERE = Path(__file__).parent
SUITES = ["tests/unit", "tests/airflow"]
# The code blocks of the documentation are tested with one set of versions only.
NOT_HERE = "tests/airflow/test_code_blocks.py"

# The last patch of each minor version of Airflow, and which of our Python versions it supports.
PYTHONS = {
    "2.11.2": ("3.11", "3.12"),
    "3.0.6": ("3.11", "3.12"),
    "3.1.8": ("3.11", "3.12", "3.13"),
    "3.2.2": ("3.11", "3.12", "3.13"),
    "3.3.2": ("3.11", "3.12", "3.13"),
}

NEWEST = list(PYTHONS)[-1]

# Later releases that break this version of Airflow, also without our package. Airflow's own constraints exclude them.
SINCE_BROKEN = {
    # A task's first call of the execution API is answered with 422. PyJWT 2.11 rejects the issuer in tokens.
    "3.0.6": ("fastapi<0.117", "cadwyn<6", "pydantic<2.12", "pyjwt<2.11"),
    # The execution API cannot be built. svcs 26 ends the API that dag.test() has just started.
    "3.2.2": ("fastapi<0.137", "cadwyn<8", "svcs<26"),
}

# Prints which versions are installed in the environment of the tests.
PROBE = """
import json, platform
from importlib.metadata import version
import airflow_provider_healthimaging as package
print(json.dumps({
    "airflow": version("apache-airflow"), "python": platform.python_version(), "botocore": version("botocore"),
    "amazon": version("apache-airflow-providers-amazon"), "package": package.__file__, "version": package.__version__,
}))
"""


@nox.session
@nox.parametrize(
    ("python", "airflow"),
    [
        nox.param(python, airflow, id=f"{airflow.rpartition('.')[0]}-py{python}", tags=[airflow.rpartition(".")[0]])
        for airflow, pythons in PYTHONS.items()
        for python in pythons
    ],
)
def airflow(session: nox.Session, airflow: str) -> None:
    """Test each minor version of Airflow on each Python that it supports, with the newest of everything else."""
    check(session, airflow, f"apache-airflow=={airflow}", *SINCE_BROKEN.get(airflow, ()))


@nox.session(python="3.11", venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """Test with the lowest version of every dependency that the package declares, if these versions work together."""
    lowest = Path(session.create_tmp(), "lowest.txt").resolve()
    resolve = ("uv", "pip", "compile", "--quiet", "--resolution=lowest-direct", "--all-extras", "--python-version=3.11")
    session.run_install(*resolve, f"--output-file={lowest}", str(HERE / "pyproject.toml"), external=True, silent=True)
    check(session, "2.11.0", f"--constraint={lowest}")


@nox.session(python="3.11")
@nox.parametrize("botocore", ["1.43.90", "newest"])
def botocore(session: nox.Session, botocore: str) -> None:
    """Test with the last botocore that cuts fractions of a second off a window's edges, and with the newest."""
    pin = "botocore" if botocore == "newest" else f"botocore=={botocore}"
    check(session, NEWEST, f"apache-airflow=={NEWEST}", pin, botocore=pin.rpartition("=")[2])


def check(session: nox.Session, airflow: str, *requirements: str, botocore: str = "botocore") -> None:
    """Install the wheel with ``requirements``, check the installed versions, run the tests, and write a row."""
    began = time.monotonic()
    wheel = built_wheel(session)
    session.install(f"{wheel}[local,openlineage,parquet,pixels]", "--group", "test", *requirements)
    folder = Path(session.create_tmp()).resolve()
    session.chdir(folder)
    # Modules are imported neither from the current folder nor from the checkout, and nothing is written there.
    env = {"PYTHONSAFEPATH": "1", "PYTHONPYCACHEPREFIX": str(folder / "pycache"), "PYTHONDONTWRITEBYTECODE": None}
    found = json.loads(str(session.run("python", "-c", PROBE, silent=True, env=env)))
    meant = {
        "airflow": found["airflow"] == airflow,
        "python": found["python"].startswith(f"{session.python}."),
        "botocore": botocore in {"botocore", found["botocore"]},
        "package": Path(found["package"]).is_relative_to(session.virtualenv.location),
        "version": f"-{found['version']}-" in wheel.name,
    }
    if wrong := [f"{name} is {found[name]}" for name, right in meant.items() if not right]:
        session.error(f"not what {session.name} is meant to test: {'; '.join(wrong)}")
    report = folder / "junit.xml"
    options = ["-q", "-p", "no:cacheprovider", f"--config-file={HERE / 'pyproject.toml'}", f"--rootdir={HERE}"]
    options.append(f"--ignore={HERE / NOT_HERE}")
    suites = session.posargs or [str(HERE / suite) for suite in SUITES]
    options += [f"--numprocesses={os.environ.get('WORKERS', '2')}", "--dist=loadfile", "--no-loadscope-reorder"]
    session.run("python", "-m", "pytest", *options, f"--junitxml={report}", *suites, env=env, success_codes=[0, 1])
    row = {**found, **counts(report), "session": session.name, "seconds": round(time.monotonic() - began)}
    row["day"] = time.strftime("%Y-%m-%d", time.gmtime())
    if not session.posargs:
        write(row)
    session.log("{passed} passed, {failed} failed, {skipped} skipped, {seconds} s".format(**row))
    if row["failed"]:
        session.error(f"{row['failed']} failed")


def built_wheel(session: nox.Session) -> Path:
    """Return the wheel that ``make build`` made; there must be exactly one."""
    wheels = list((HERE / "dist").glob("*.whl"))
    if len(wheels) != 1:
        session.error("run `make build` first: there must be one wheel in dist/")
    return wheels[0]


def counts(report: Path) -> dict[str, int]:
    """Return how many tests passed, failed and were skipped, from pytest's report."""
    suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314 - pytest's own file, just written
    sums = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for suite in suites:
        for name in sums:
            sums[name] += int(suite.get(name, 0))
    failed = sums["failures"] + sums["errors"]
    return {"passed": sums["tests"] - failed - sums["skipped"], "failed": failed, "skipped": sums["skipped"]}


def write(row: dict[str, object]) -> None:
    """Put a row into ``matrix.json`` in ``RELIABILITY_REPORT_DIR``, if set, in place of the session's earlier row."""
    folder = os.environ.get("RELIABILITY_REPORT_DIR")
    if not folder:
        return
    path = HERE / folder / "matrix.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(path.read_text()) if path.exists() else []
    names = ("day", "session", "airflow", "python", "botocore", "amazon", "passed", "failed", "skipped", "seconds")
    rows = [*(old for old in kept if old["session"] != row["session"]), {name: row[name] for name in names}]
    path.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
