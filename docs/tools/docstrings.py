"""Shows the package's docstrings on the site: a griffe extension.

The docstrings are written for Sphinx, as Airflow's are. The site is made with Markdown, so roles become links.
Arguments that the hook's count and its search share are described once, at the search.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import (
    DocstringSectionKind,
    Extension,
    Function,
    NameResolutionError,
    Object,
    Parser,
)

PACKAGE = "airflow_provider_healthimaging."
ROLE = re.compile(r":(?:class|meth|func|mod|exc|attr):`(~?)([\w.]+)`")
LINK = re.compile(r"`([^`<]+?)\s*<([^>`]+)>`__?")
SEE_ALSO = re.compile(r"^\.\. seealso::\n((?:[ ]+\S.*\n?)+)", re.MULTILINE)


class MarkdownDocstrings(Extension):
    """Run by griffe once all of the package has been read."""

    def on_package(self, *, pkg: Any, **_: Any) -> None:
        """Rewrite docstrings, then complete those of the hook."""
        self._rewrite(pkg)
        hook = pkg["hooks.healthimaging.HealthImagingHook"]
        _copy_descriptions(hook["count_image_sets"], hook["search_image_sets"])

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


def _copy_descriptions(to: Function, source: Function) -> None:
    """Describe each argument of ``to`` that it does not describe itself as ``source`` does."""
    described = {each.name: each.description for each in _described(source)}
    known = {each.name for each in _described(to)}
    missing = [each.name for each in to.parameters if each.name in described.keys() - known]
    lines = [f":param {name}: {' '.join(described[name].split())}" for name in missing]
    to.docstring.value = to.docstring.value.rstrip() + "\n" + "\n".join(lines)


def _described(found: Function) -> list[Any]:
    sections = found.docstring.parse(Parser.sphinx, warnings=False)
    return [each for section in sections if section.kind is DocstringSectionKind.parameters for each in section.value]
