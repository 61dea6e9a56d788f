"""The site that ``make docs`` builds: nothing in it leads nowhere, and the reference has every name and argument."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import airflow
import pytest
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt

from airflow_provider_healthimaging import exceptions

REPOSITORY = Path(__file__).parents[2]
PACKAGE = "airflow_provider_healthimaging"
# Public names, and where the reference says they are from; classes with all that they take.
CLASSES = [
    f"{PACKAGE}.operators.healthimaging.HealthImagingSearchImageSetsOperator",
    f"{PACKAGE}.operators.healthimaging.HealthImagingStartDicomImportJobOperator",
    f"{PACKAGE}.sensors.healthimaging.HealthImagingImageSetSensor",
    f"{PACKAGE}.sensors.healthimaging.HealthImagingDicomImportJobSensor",
    f"{PACKAGE}.triggers.healthimaging.HealthImagingDicomImportJobTrigger",
    f"{PACKAGE}.triggers.healthimaging.HealthImagingImageSetTrigger",
    f"{PACKAGE}.triggers.healthimaging.HealthImagingNewImageSetsTrigger",
    f"{PACKAGE}.window.TimeWindow",
    f"{PACKAGE}.local.LocalServer",
]
FUNCTIONS = [
    f"{PACKAGE}.hooks.healthimaging.HealthImagingHook.paginate_image_sets",
    f"{PACKAGE}.hooks.healthimaging.HealthImagingHook.search_image_sets",
    f"{PACKAGE}.hooks.healthimaging.HealthImagingHook.count_image_sets",
    f"{PACKAGE}.hooks.healthimaging.HealthImagingHook.start_dicom_import_job",
    f"{PACKAGE}.hooks.healthimaging.HealthImagingHook.get_dicom_import_job",
    f"{PACKAGE}.hooks.healthimaging.HealthImagingHook.list_dicom_import_jobs",
    f"{PACKAGE}.hooks.healthimaging.HealthImagingHook.read_import_report",
    f"{PACKAGE}.manifest.join_manifests",
    f"{PACKAGE}.local.backend",
    f"{PACKAGE}.local.airflow_connection",
]
OTHERS = [
    f"{PACKAGE}.hooks.healthimaging.HealthImagingHook",
    f"{PACKAGE}.hooks.healthimaging.ScanStats",
    f"{PACKAGE}.hooks.healthimaging.ImportReport",
    f"{PACKAGE}.links.healthimaging.HealthImagingDatastoreLink",
    f"{PACKAGE}.links.healthimaging.HealthImagingDicomImportJobLink",
    *(f"{PACKAGE}.exceptions.{name}" for name, kind in vars(exceptions).items() if inspect.isclass(kind)),
]

on_the_site = pytest.mark.skipif(
    airflow.__version__.startswith("2."), reason="the site is made once, with the newest Airflow"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The pages of the site, by their path in it."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, [line for line in built.stderr.splitlines() if "WARNING" in line or "ERROR" in line]
    return {path: BeautifulSoup(path.read_text(), "lxml") for path in folder.rglob("*.html") if path.name != "404.html"}


def anchors(page):
    return {tag.get("id") or tag.get("name") for tag in page.find_all(True)}


@on_the_site
def test_every_link_inside_the_site_leads_to_a_page_and_a_place_in_it(site):
    places = {path: anchors(page) for path, page in site.items()}
    broken, followed = [], 0
    for path, page in site.items():
        for tag in page.find_all(["a", "img", "link", "script"]):
            link = tag.get("href") or tag.get("src")
            if not link or urlsplit(link).scheme:
                continue
            where, anchor = urldefrag(link)
            target = (path.parent / unquote(where)).resolve() if where else path
            followed += 1
            if not target.exists() or (anchor and unquote(anchor) not in places[target] | {"__skip", ""}):
                broken.append(f"{path.name}: {link}")
    assert broken == []
    assert followed > 500


@on_the_site
def test_no_page_loads_anything_from_another_host(site):
    loaded = [
        tag.get("src") or tag.get("href")
        for page in site.values()
        for tag in page.find_all(["script", "img", "link", "iframe"])
        if tag.name != "link" or "stylesheet" in (tag.get("rel") or [])
    ]
    assert [link for link in loaded if link and urlsplit(link).netloc] == []


def described(site, name):
    """Return the arguments that the reference describes at a name."""
    (heading,) = [found for page in site.values() if (found := page.find(id=name))]
    body = heading.parent
    return {tag.get_text() for tag in body.select("li.doc-section-item > b > code")}


@on_the_site
@pytest.mark.parametrize("name", CLASSES + FUNCTIONS)
def test_the_reference_describes_every_argument(site, name):
    taken = inspect.signature(resolved(name)).parameters
    assert set(taken) - {"self", "args", "kwargs"} <= described(site, name)


@on_the_site
@pytest.mark.parametrize("name", OTHERS)
def test_the_reference_has_every_public_name(site, name):
    resolved(name)
    assert [page for page in site.values() if page.find(id=name)]


def resolved(name):
    """Return what a dotted name is."""
    module = name
    while not find_module(module):
        module = module.rpartition(".")[0]
    found = import_module(module)
    for part in name.removeprefix(module).split(".")[1:]:
        found = getattr(found, part)
    return found


def find_module(name):
    try:
        return find_spec(name)
    except ModuleNotFoundError:
        return None


@on_the_site
def test_arguments_show_their_defaults_and_no_role_of_sphinx_is_left(site):
    (operator,) = [page for path, page in site.items() if path.match("reference/operator.html")]
    assert 'time_field:str|None="createdAt"' in re.sub(r"\s", "", operator.get_text())
    left = re.compile(r":(class|meth|func|mod|param|return|raises)\b|\.\. \w+::")
    found = [left.search(page.get_text()) for path, page in site.items() if path.parent.name == "reference"]
    assert [match for match in found if match] == []


def links_of(page):
    for token in MarkdownIt().enable("table").parse(page.read_text()):
        for child in token.children or []:
            if link := child.attrGet("href") or child.attrGet("src"):
                yield str(link)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_relative_links_outside_of_the_site_lead_to_files(name):
    page = REPOSITORY / name
    relative = [link for link in links_of(page) if not urlsplit(link).scheme]
    assert [link for link in relative if not (page.parent / urldefrag(link).url).exists()] == []


def test_the_diagrams_are_what_their_text_draws():
    spec = spec_from_file_location("diagrams", REPOSITORY / "docs" / "tools" / "diagrams.py")
    diagrams = module_from_spec(spec)
    spec.loader.exec_module(diagrams)
    images = REPOSITORY / "docs" / "images"
    assert {path.name for path in images.glob("*.svg")} == set(diagrams.DIAGRAMS)
    assert [name for name, draw in diagrams.DIAGRAMS.items() if (images / name).read_text() != draw()] == []
