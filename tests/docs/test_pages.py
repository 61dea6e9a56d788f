"""Pages whose lists have to be complete: operations of boto3, errors, what Airflow keeps, terms."""

from __future__ import annotations

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path

import botocore
import botocore.session
import pytest

from airflow_provider_healthimaging import exceptions
from airflow_provider_healthimaging.aws.botocore_error_table import BOTOCORE_RULES
from airflow_provider_healthimaging.aws.error_table import SERVICE_RULES
from airflow_provider_healthimaging.aws.image_set_error_table import IMAGE_SET_RULES
from airflow_provider_healthimaging.aws.import_job_error_table import OPERATION_RULES

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "airflow_provider_healthimaging"
DOCS = REPOSITORY / "docs"
# Written by `make`, or lists of links and code.
NO_TERMS = {"benchmarks.md", "reliability.md", "examples.md", "glossary.md", "index.md", "private-api.md"}

# Errors that troubleshooting.md covers with a sentence, by words of theirs.
REPORTED = re.compile("[Rr]eport (this|it|the image set) to (AWS|the maintainers)")
RETRIED = re.compile("is truncated|contains an invalid timestamp|Retry\\.")
# Errors that name another error, or that a user sees only beside another one.
NOT_ALONE = re.compile("The task is ending, so|The task was stopped before|\\{\\} Correct or remove these files")
# Errors of an argument that consist of the argument's name and of words from elsewhere.
OF_PARTS = re.compile(r"^(.{0,13}\{\})*.{0,13}$|The value is not shown, because it may hold patient data\.$")


TYPES = {name: kind for name, kind in vars(exceptions).items() if inspect.isclass(kind)}


def page(name):
    return (DOCS / name).read_text()


def test_no_page_and_no_module_has_the_marks_of_a_merge():
    files = [path for folder in (DOCS, PACKAGE) for path in folder.rglob("*") if path.suffix in {".md", ".py"}]
    assert [path.name for path in files if re.search("^(<{7}|>{7}) ", path.read_text(), re.MULTILINE)] == []


def test_the_page_on_boto3_has_every_operation_of_the_service():
    model = botocore.session.get_session().get_service_model("medical-imaging")
    operations = {botocore.xform_name(name) for name in model.operation_names}
    assert {name for name in operations if name not in page("boto3.md")} == set()


def quoted(text):
    """Return the words in backticks that are long enough to be an error's own."""
    return [words.strip("`") for words in re.findall(r"`[^`\n]*`", text) if len(words) > 11]


def raised():
    """Yield where an error is made, and its text with ``{}`` for each value."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if PACKAGE / "local" in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TYPES and node.args:
                text = text_of(node.args[0])
                if text.strip("{}"):
                    yield pytest.param(node.func.id, text, id=f"{path.relative_to(PACKAGE)}:{node.lineno}")


def text_of(node):
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return "{}"


@pytest.mark.parametrize(("kind", "text"), raised())
def test_every_error_has_an_entry_in_troubleshooting(kind, text):
    entries = page("troubleshooting.md").partition("## Before a response")[2]
    pages = entries + page("events.md").partition("## What the logs")[2]
    named = [words for words in quoted(pages) if words in text or words == kind]
    assert named or any(each.search(text) for each in (REPORTED, RETRIED, NOT_ALONE, OF_PARTS))


RETRIES = {
    name.strip("` "): row[1].strip()
    for line in page("troubleshooting.md").partition("## The type of the error")[2].partition("\n## ")[0].splitlines()
    if line.startswith("| `") and (row := line.strip("|").split("|"))
    for name in row[0].split(",")
}
BASES = {"HealthImagingError", "ImportJobError", "ExportError"}


def test_troubleshooting_says_of_each_type_whether_the_task_uses_its_retries():
    assert set(RETRIES) == TYPES.keys() - BASES
    said = {name: words.partition(",")[0] for name, words in RETRIES.items() if not words.startswith("if ")}
    assert said == {name: "yes" if TYPES[name].retryable else "no" for name in said}
    assert RETRIES.keys() - said.keys() == {"ExportFailedError"}


RULES = [
    *SERVICE_RULES,
    *(rule for table in (IMAGE_SET_RULES, OPERATION_RULES) for each in table.values() for rule in each),
]


@pytest.mark.parametrize("code", sorted({code for rule in RULES for code in rule.codes.split() if not code.isdigit()}))
def test_every_error_code_that_has_a_rule_is_in_troubleshooting(code):
    assert f"`{code}`" in page("troubleshooting.md").partition("## Error codes of AWS")[2].partition("\n## ")[0]


@pytest.mark.parametrize("described", sorted({rule.description for rule in BOTOCORE_RULES}))
def test_every_error_of_botocore_that_has_a_rule_is_in_troubleshooting(described):
    words = max(re.split(r"\{\w+\}", described), key=len).strip()
    assert [each for each in quoted(page("troubleshooting.md")) if each in described or words in each]


KEPT = {
    row[0].strip("` "): row[1:]
    for line in page("security.md").partition("### What Airflow keeps")[2].splitlines()
    if line.startswith("| `") and len(row := line.strip("|").split("|")) > 2
}


@pytest.mark.parametrize("module", ["operators", "sensors", "triggers"])
def test_the_table_of_what_airflow_keeps_has_every_task_and_trigger(module):
    names = set(import_module(f"airflow_provider_healthimaging.{module}.healthimaging").__all__)
    assert names <= set(KEPT)
    assert "HealthImagingToS3Operator" in KEPT


@pytest.mark.parametrize("name", [name for name in KEPT if name.endswith("Operator")])
def test_the_table_of_what_airflow_keeps_names_every_masked_field(name):
    module = "transfers.healthimaging_to_s3" if name == "HealthImagingToS3Operator" else "operators.healthimaging"
    task = getattr(import_module(f"airflow_provider_healthimaging.{module}"), name)
    rendered, masked = KEPT[name][0].replace("dicom_tags", ""), set(task.private_fields)
    assert {field for field in masked if f"`{field}`" not in rendered} == set()
    assert masked <= set(task.template_fields)


TERMS = re.findall(r'^\| <a id="([\w-]+)"></a>([^|]+?) \|', page("glossary.md"), re.MULTILINE)


def test_the_glossary_has_each_term_once_in_order():
    names = [name.lower() for _, name in TERMS]
    assert names == sorted(set(names))
    assert [place for place, _ in TERMS] == [name.replace(" ", "-") for name in names]
    assert len(TERMS) == page("glossary.md").count("\n| <a id")


@pytest.mark.parametrize("name", sorted({path.name for path in DOCS.glob("*.md")} - NO_TERMS))
def test_a_page_links_a_term_of_the_glossary_once(name):
    linked = re.findall(r"glossary\.md#([\w-]+)", page(name))
    assert linked or name == "troubleshooting.md"
    assert sorted(linked) == sorted(set(linked))
    assert set(linked) <= {place for place, _ in TERMS}
