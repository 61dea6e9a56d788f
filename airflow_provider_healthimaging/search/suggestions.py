"""Errors for names that do not exist, with the nearest name that does."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.rendered import shown

SIMILARITY_CUTOFF = 0.65
"""How similar two names must be for one to be suggested for the other (the ratio of ``difflib``, 0 to 1)."""

MIN_STEM_LENGTH = 6
"""The fewest letters that a tag's name must have without its prefix to be recognized without it."""

_PREFIXES = (re.compile("^dicom"), re.compile("^dicom(series|study|patient)"))


def unknown_name_error(
    kind: str, name: object, known: Iterable[str], *, private: bool = False, example: str = ""
) -> InvalidArgumentError:
    """Return the error for a name that does not exist.

    :param kind: what the name is the name of.
    :param private: do not show ``name``, because a search value may stand in its place. A surname can look like a
        misspelt name of an attribute.
    :param example: appended where the list of names does not show how to write it.
    """
    names = sorted(known)
    suggestion = suggest_name(name, names)
    hint = f"Did you mean {suggestion!r}? " if suggestion else ""
    named = "" if private else f" {shown(name)}"
    return InvalidArgumentError(f"Unknown {kind}{named}. {hint}Known: {', '.join(names)}.{example}")


def suggest_name(name: object, known: Iterable[str]) -> str | None:
    """Return the known name that is most like ``name``; DICOM attributes are found without their ``DICOM`` prefix."""
    by_spelling = {spelling: each for each in known for spelling in _spellings(each)}
    written = name.lower() if isinstance(name, str) else ""
    completed = sorted(each for each in by_spelling if len(written) >= MIN_STEM_LENGTH and each.startswith(written))
    nearest = completed or difflib.get_close_matches(written, by_spelling, cutoff=SIMILARITY_CUTOFF)
    return by_spelling[nearest[0]] if nearest else None


def _spellings(name: str) -> set[str]:
    letters = name.lower()
    stems = (prefix.sub("", letters) for prefix in _PREFIXES)
    return {letters, *(stem for stem in stems if len(stem) >= MIN_STEM_LENGTH)}
