"""``match``: what the service cannot filter on, decided hit by hit; nothing of Airflow or boto3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_healthimaging.search.validation import from_json, is_whole_number
from airflow_provider_healthimaging.search.criteria import boolean
from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.image_set import DICOM_TAGS, Summary, field, unknown_name

MATCH_FIELDS: dict[str, type] = {
    **DICOM_TAGS,
    "imageSetId": str,
    "version": int,
    "storageTier": str,
    "isPrimary": bool,
}
"""What ``match`` may ask of a hit. Times are asked for with a window."""


def parse_match(match: object) -> dict[str, list[Any]]:
    """Return ``match`` with the values that each field may have, in the field's own type.

    :param match: ``{"DICOMSeriesModality": ["CT", "MR"]}``, one value in place of a list, or the JSON text of
        either; ``None`` among the values stands for a missing tag.
    :raises InvalidArgumentError: for an unknown field or a value that the field cannot have; no value is shown.
    """
    wanted = from_json("match", match)
    for name in wanted:
        if name not in MATCH_FIELDS:
            raise unknown_name("field in match", name, MATCH_FIELDS, private=True)
    return {name: _values(name, given) for name, given in wanted.items()}


def compile_match(match: object) -> Callable[[Summary], bool]:
    """Return the test of a hit that ``match`` describes: every field has one of its values."""
    wanted = parse_match(match)
    return lambda summary: all(field(summary, name) in values for name, values in wanted.items())


def _values(name: str, given: object) -> list[Any]:
    values = list(given) if isinstance(given, list | tuple | set | frozenset) else [given]
    if not values:
        raise InvalidArgumentError(f"match on {name} has no values, so nothing would match. Give one or more.")
    return [None if value is None else _typed(name, value) for value in values]


def _typed(name: str, value: object) -> Any:
    kind = MATCH_FIELDS[name]
    if kind is bool:
        return boolean(f"match on {name}", value)
    if kind is int and is_whole_number(value):
        return int(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InvalidArgumentError(f"match on {name} takes {kind.__name__} values, not {type(value).__name__}.")
    return value
