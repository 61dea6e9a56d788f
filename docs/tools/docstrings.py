"""Docstrings as the site shows them: Markdown, and every argument that a class takes.

The package's docstrings are written for Sphinx, as Airflow's are. The site is made with Markdown, so roles become
links. Operator and sensor take most of their arguments through ``**kwargs`` from the class that they share; their pages
show all of them, with defaults. What means the same is described once: the sensor's page takes it from the operator,
and the hook's count from its search.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import (
    Class,
    DocstringSectionKind,
    Extension,
    Function,
    NameResolutionError,
    Object,
    ParameterKind,
    Parameters,
    Parser,
)

PACKAGE = "airflow_provider_healthimaging."
ROLE = re.compile(r":(?:class|meth|func|mod|exc|attr):`(~?)([\w.]+)`")
LINK = re.compile(r"`([^`<]+?)\s*<([^>`]+)>`__?")
SEE_ALSO = re.compile(r"^\.\. seealso::\n((?:[ ]+\S.*\n?)+)", re.MULTILINE)
OPERATOR = "operators.healthimaging.HealthImagingSearchImageSetsOperator"


class MarkdownDocstrings(Extension):
    """Run by griffe once all of the package has been read."""

    def on_package(self, *, pkg: Any, **_: Any) -> None:
        """Rewrite docstrings, then complete the classes."""
        self._rewrite(pkg)
        for path in (OPERATOR, "sensors.healthimaging.HealthImagingImageSetSensor"):
            _take_in_arguments(pkg[path], pkg["search_task.ImageSetSearchTask"])
        hook = pkg["hooks.healthimaging.HealthImagingHook"]
        _take_over_descriptions(pkg["sensors.healthimaging.HealthImagingImageSetSensor"], pkg[OPERATOR])
        _take_over_descriptions(hook["count_image_sets"], hook["search_image_sets"])

    def _rewrite(self, found: Object) -> None:
        if found.docstring:
            found.docstring.value = _markdown(found.docstring.value, found)
        for member in found.members.values():
            if not member.is_alias:
                self._rewrite(member)


def _markdown(text: str, where: Object) -> str:
    def reference(match: re.Match[str]) -> str:
        short, target = match.groups()
        path = _path(target, where)
        name = target.rpartition(".")[2] if short else target
        return f"[`{name}`][{path}]" if path.startswith(PACKAGE) else f"`{name}`"

    def see_also(match: re.Match[str]) -> str:
        return "See also:\n\n" + "\n".join(line.strip() for line in match[1].splitlines()) + "\n"

    text = SEE_ALSO.sub(see_also, text)
    text = LINK.sub(r"[\1](\2)", text)
    text = re.sub(r"::\n\n(?=    )", ":\n\n", text)
    return ROLE.sub(reference, text)


def _path(target: str, where: Object) -> str:
    """Return the full path of what a docstring calls ``target``, and ``target`` where that is not known."""
    try:
        return target if target.startswith(PACKAGE) else where.resolve(target)
    except NameResolutionError:
        return target


def _take_in_arguments(taker: Class, base: Class) -> None:
    """Put the arguments of ``base`` in the place of ``**kwargs``, before those that the class has itself."""
    own = taker["__init__"].parameters
    theirs = [each for each in base["__init__"].parameters if each.kind is ParameterKind.keyword_only]
    mine = [each for each in own if each.kind is ParameterKind.keyword_only]
    taker["__init__"].parameters = Parameters(own["self"], *theirs, *mine, own["kwargs"])


def _take_over_descriptions(taker: Class | Function, describer: Class | Function) -> None:
    """Describe each argument that the one takes and does not describe as the other does."""
    described = {each.name: each.description for each in _described(describer)}
    known = {each.name for each in _described(taker)}
    taken = taker["__init__"].parameters if taker.is_class else taker.parameters
    missing = [each.name for each in taken if each.name in described.keys() - known]
    lines = [f":param {name}: {' '.join(described[name].split())}" for name in missing]
    taker.docstring.value = taker.docstring.value.rstrip() + "\n" + "\n".join(lines)


def _described(found: Class | Function) -> list[Any]:
    sections = found.docstring.parse(Parser.sphinx, warnings=False)
    return [each for section in sections if section.kind is DocstringSectionKind.parameters for each in section.value]
