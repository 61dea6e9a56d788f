"""A release: its page on PyPI, its version, and the workflows that test and publish it."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from contextlib import chdir
from itertools import chain
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from airflow_provider_healthimaging import __version__

REPOSITORY = Path(__file__).parents[2]
GITHUB = REPOSITORY / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))

# What the build backend puts before a relative link.
GITHUB_FILE = r"https://(github\.com/[^/]+/[^/]+/blob|raw\.githubusercontent\.com/[^/]+/[^/]+)/v"
ADDRESS = re.compile(f"{GITHUB_FILE}{re.escape(__version__)}/")

pytestmark = pytest.mark.skipif(not GITHUB.is_dir(), reason="needs a checkout beside the tests")


def read(name):
    return (REPOSITORY / name).read_text()


@pytest.fixture(scope="module")
def metadata():
    """The metadata of the wheel, as the build backend makes them."""
    core = pytest.importorskip("hatchling.metadata.core", reason="needs hatchling in this environment")
    manager = pytest.importorskip("hatchling.plugin.manager")
    with chdir(REPOSITORY):
        return core.ProjectMetadata(str(REPOSITORY), manager.PluginManager()).core


def links(text):
    """Yield where links and images lead, those of HTML too."""
    parsed = MarkdownIt().enable("table").parse(text)
    for token in chain.from_iterable([each, *(each.children or [])] for each in parsed):
        if token.type.startswith("html"):
            yield from re.findall(r'(?:href|src)="([^"]*)"', token.content)
        elif link := token.attrGet("href") or token.attrGet("src"):
            yield str(link)


def test_no_link_and_no_image_of_the_page_on_pypi_is_relative(metadata):
    found = list(links(metadata.readme))

    assert len(found) > 20
    assert [link for link in found if not link.startswith(("https://", "#"))] == []


def test_the_page_on_pypi_links_to_files_of_this_release_that_exist(metadata):
    of_release = re.compile(rf"{ADDRESS.pattern}(?P<file>[^#]+)")
    files = [match["file"] for link in links(metadata.readme) if (match := of_release.match(link))]

    assert len(files) > 10
    assert [name for name in files if not (REPOSITORY / name).exists()] == []


def test_nothing_else_of_the_readme_changes_on_pypi(metadata):
    assert ADDRESS.sub("", metadata.readme) == read("README.md")


@pytest.mark.parametrize("name", ["pyproject.toml", "mkdocs.yml", ".github/ISSUE_TEMPLATE/config.yml"])
def test_all_addresses_of_the_repository_are_the_same(name):
    source = tomllib.loads(read("pyproject.toml"))["project"]["urls"]["Source"]
    repository = source.removeprefix("https://github.com/")
    owner, _, project = repository.partition("/")
    text = read(name)

    assert set(re.findall(r"https://(?:github|raw\.githubusercontent)\.com/([\w.-]+/[\w.-]+)", text)) == {repository}
    assert set(re.findall(r"https://[\w.-]+\.github\.io/[\w.-]+/", text)) == {f"https://{owner}.github.io/{project}/"}


def disagreements(version, changelog, environment):
    """Return what of version, changelog and tag does not agree."""
    heading = re.search(r"^## \[(\d[^\]]*)\](.*)", changelog, re.MULTILINE)
    wrong = [] if heading[1] == version else [f"CHANGELOG.md begins with {heading[1]}, not {version}"]
    if environment.get("GITHUB_REF_TYPE") == "tag":
        if environment["GITHUB_REF_NAME"] != f"v{version}":
            wrong.append(f"the tag is {environment['GITHUB_REF_NAME']}, not v{version}")
        if not re.fullmatch(r" - \d{4}-\d\d-\d\d", heading[2]):
            wrong.append(f"CHANGELOG.md gives no date of {version}, such as '## [{version}] - 2026-01-31'")
    return wrong


def test_version_changelog_and_tag_agree():
    assert disagreements(__version__, read("CHANGELOG.md"), os.environ) == []


@pytest.mark.parametrize(
    ("version", "heading", "tag", "wrong"),
    [
        ("1.0.0", "## [1.0.0] - 2026-01-31", "v1.0.0", 0),
        ("1.0.0", "## [Unreleased]\n\n## [1.0.0] - 2026-01-31", "v1.0.0", 0),
        ("1.0.0", "## [1.0.0], not released yet", None, 0),
        ("1.0.0", "## [1.0.0], not released yet", "v1.0.0", 1),
        ("1.0.0", "## [0.9.0] - 2026-01-31", None, 1),
        ("1.0.0", "## [1.0.0] - 2026-01-31", "v1.0.1", 1),
        ("1.0.0", "## [1.0.0] - 2026-01-31", "1.0.0", 1),
    ],
)
def test_a_release_that_does_not_agree_is_noticed(version, heading, tag, wrong):
    environment = {"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": tag} if tag else {"GITHUB_REF_TYPE": "branch"}

    assert len(disagreements(version, heading, environment)) == wrong


def targets():
    return set(re.findall(r"^([\w-]+):(?!=)", read("Makefile"), re.MULTILINE))


def commands(job):
    """Return what the steps of a job run, once for each value of its matrix."""
    matrix = job.get("strategy", {}).get("matrix", {})
    for step in job["steps"]:
        command = step.get("run", "")
        for name, values in matrix.items():
            if isinstance(values, list) and (place := f"${{{{ matrix.{name} }}}}") in command:
                yield from (command.replace(place, value) for value in values)
                break
        else:
            yield command


def test_workflows_and_documents_name_targets_of_the_makefile():
    named = [
        *(re.findall(r"\bmake (?:--silent )?([^\s)]+)", command) for _, job in jobs() for command in commands(job)),
        *(re.findall(r"`make ([\w-]+)", read(name)) for name in ("README.md", "CONTRIBUTING.md")),
        *(re.findall(r"`make ([\w-]+)", path.read_text()) for path in GITHUB.rglob("*.md")),
    ]
    found = set(chain.from_iterable(named))

    assert {"lint", "test-unit", "test", "test-matrix", "test-live", "soak", "docs", "build", "demo-ui"} <= found
    assert found - targets() == set()


def test_everything_that_can_be_made_is_documented():
    documented = set(re.findall(r"`make ([\w-]+)", read("CONTRIBUTING.md")))
    internal = {"install", "beside-oldest", "sessions", "test-all"}

    assert targets() - documented <= internal


def test_the_sessions_that_are_named_exist():
    (pythons,) = [
        ast.literal_eval(node.value)
        for node in ast.parse(read("noxfile.py")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PYTHONS"
    ]
    sessions = {f"airflow({name.rpartition('.')[0]}-py{python})" for name, each in pythons.items() for python in each}
    texts = [read("Makefile"), read("CONTRIBUTING.md"), *(path.read_text() for path in WORKFLOWS)]
    named = {name for text in texts for name in re.findall(r"airflow\(\d[^)]*\)", text)}

    assert named
    assert named - sessions == set()


def jobs():
    for path in WORKFLOWS:
        for name, job in yaml.safe_load(path.read_text())["jobs"].items():
            yield f"{path.name}: {name}", job


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_and_never_runs_twice_at_a_time(path):
    workflow = yaml.safe_load(path.read_text())

    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]


def test_each_job_ends_in_time_and_few_may_do_more_than_read():
    assert [name for name, job in jobs() if not job.get("timeout-minutes")] == []
    assert {name: job["permissions"] for name, job in jobs() if "permissions" in job} == {
        "docs.yml: publish": {"id-token": "write", "pages": "write"},
        "release.yml: publish": {"id-token": "write"},
    }


def test_actions_are_github_s_own_or_pinned_to_a_commit():
    used = set(re.findall(r"uses: (\S+)", "\n".join(path.read_text() for path in GITHUB.rglob("*.yml"))))
    allowed = re.compile(r"actions/[\w-]+@v\d+|\./\.github/actions/setup|[\w-]+/[\w-]+@[0-9a-f]{40}")

    assert used
    assert [action for action in used if not allowed.fullmatch(action)] == []


def test_the_release_uses_no_cache():
    assert "cache" not in re.sub(r"#.*", "", read(".github/workflows/release.yml"))
    assert "actions/setup\n" not in read(".github/workflows/release.yml")


def test_hooks_before_a_commit_run_what_make_lint_runs():
    hooks = [hook for repo in yaml.safe_load(read(".pre-commit-config.yaml"))["repos"] for hook in repo["hooks"]]
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", read("Makefile"), re.MULTILINE)[1]

    assert [hook["entry"] for hook in hooks] == [line.strip() for line in recipe.splitlines()]
    assert {hook["language"] for hook in hooks} == {"system"}


def test_the_form_for_bugs_asks_for_no_patient_data_and_for_the_local_service():
    form = yaml.safe_load(read(".github/ISSUE_TEMPLATE/bug.yml"))
    text = yaml.safe_dump(form, width=10_000)

    assert "No patient data" in text
    assert "airflow_provider_healthimaging.local serve" in text
    assert form["body"][-1]["attributes"]["options"][0]["required"]
