"""The site that ``make docs`` builds: nothing in it leads nowhere, and the reference has every name and argument."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import airflow
import pytest
from markdown_it import MarkdownIt

from airflow_provider_healthimaging import exceptions

REPOSITORY = Path(__file__).parents[2]
PACKAGE = "airflow_provider_healthimaging"
# The public names by module; ``None`` for those in its ``__all__``. docs/reference/index.md has the same.
PUBLIC = {
    "operators.healthimaging": None,
    "sensors.healthimaging": None,
    "triggers.healthimaging": None,
    "transfers.healthimaging_to_s3": ["HealthImagingToS3Operator"],
    "hooks.healthimaging": None,
    "links.healthimaging": ["HealthImagingDatastoreLink", "HealthImagingDicomImportJobLink"],
    "pixels": None,
    "window": ["TimeWindow"],
    "manifest": ["join_manifests"],
    "exceptions": [name for name, kind in vars(exceptions).items() if inspect.isclass(kind)],
    "local": None,
}
NAMES = [
    f"{PACKAGE}.{module}.{name}"
    for module, names in PUBLIC.items()
    for name in names or import_module(f"{PACKAGE}.{module}").__all__
]
METHODS = [
    *("paginate_image_sets", "search_image_sets", "count_image_sets"),
    *("start_dicom_import_job", "get_dicom_import_job", "list_dicom_import_jobs", "read_import_report"),
    *("get_image_set_metadata", "get_image_frame", "iter_image_frames", "get_dicom_instance", "client_for"),
]
# Names that take arguments of this package.
NO_ARGUMENTS = re.compile(r"\.(exceptions|links)\.|\.(mock_aws|Call|CallLog|register)$")
DESCRIBED = [name for name in NAMES if not NO_ARGUMENTS.search(name)]
DESCRIBED += [f"{PACKAGE}.hooks.healthimaging.HealthImagingHook.{method}" for method in METHODS]
DESCRIBED += [f"{PACKAGE}.window.TimeWindow.split", f"{PACKAGE}.export.contents.Display"]
# Those of them that nobody calls, or that come from the local service.
RAISE_NOTHING = re.compile(r"\.(ScanStats|ImportReport|PixelFrame|Display)$|\.local\.(airflow_connection|LocalServer)$")

on_the_site = pytest.mark.skipif(
    airflow.__version__.startswith("2."), reason="the site is made once, with the newest Airflow"
)


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
@pytest.mark.parametrize("name", NAMES)
def test_the_reference_has_every_public_name(site, name):
    resolved(name)
    assert [path for path, page in site.items() if path.parent.name == "reference" and page.find(id=name)]


@on_the_site
def test_the_reference_has_no_private_name(site):
    ids = {place for path, page in site.items() if path.parent.name == "reference" for place in anchors(page) if place}
    documented = {place for place in ids if place.startswith(PACKAGE)}
    assert len(documented) > len(NAMES)
    assert [place for place in documented if re.search(r"\._(?!_)", place)] == []


def test_the_index_of_the_reference_has_every_public_name():
    index = (REPOSITORY / "docs" / "reference" / "index.md").read_text()
    names = {name for name in NAMES if ".exceptions." not in name}
    assert {name for name in names if f"`{name.rpartition('.')[2]}`" not in index} == set()


@on_the_site
@pytest.mark.parametrize("name", DESCRIBED)
def test_the_reference_describes_every_argument(site, name):
    taken = inspect.signature(resolved(name)).parameters
    assert set(taken) - {"self", "args", "kwargs"} <= described(site, name)


@on_the_site
@pytest.mark.parametrize("name", [name for name in DESCRIBED if not RAISE_NOTHING.search(name)])
def test_the_reference_says_which_errors_are_raised(site, name):
    (heading,) = [found for page in site.values() if (found := page.find(id=name))]
    titles = {tag.get_text() for tag in heading.parent.select(".doc-section-title")}
    assert "Raises:" in titles


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
