"""``match``: conditions that the service cannot filter on, checked on each search hit."""

from __future__ import annotations

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.criteria import parse_bool
from airflow_provider_healthimaging.search.image_set import DICOM_TAGS, SearchHit, get_field
from airflow_provider_healthimaging.search.rendered import NATIVE_RENDERING
from airflow_provider_healthimaging.search.suggestions import unknown_name_error
from airflow_provider_healthimaging.search.validation import is_whole_number, parse_json_object

MATCH_FIELDS: dict[str, type] = {
    **DICOM_TAGS,
    "imageSetId": str,
    "version": int,
    "storageTier": str,
    "isPrimary": bool,
}
"""The fields of a search hit that ``match`` may name, and their types. A window selects by time."""

MAX_INTEGER = 10**18
"""No number of DICOM has more digits (an IS has 12), and JSON text cannot hold all of Python's integers."""

Match = dict[str, list[object]]
"""The values that each field may have; ``None`` stands for a missing tag."""


def parse_match(match: object) -> Match:
    """Return ``match`` with the values that each field may have, in the field's own type.

    :param match: ``{"DICOMSeriesModality": ["CT", "MR"]}``, one value instead of a list, or the JSON text of either.
    :raises InvalidArgumentError: for an unknown field, or a value of a wrong type; no value is shown.
    """
    given = parse_json_object("match", match)
    for name in given:
        if name not in MATCH_FIELDS:
            raise unknown_name_error("field in match", name, MATCH_FIELDS, private=True)
    return {name: _parse_values(name, values) for name, values in given.items()}


def matches(hit: SearchHit, match: Match) -> bool:
    """Whether every field that ``match`` names has one of its values in ``hit``."""
    return all(get_field(hit, name) in values for name, values in match.items())


def _parse_values(name: str, given: object) -> list[object]:
    if isinstance(given, set | frozenset):
        # The order of a set differs between processes, but the same search must have the same JSON text.
        given = sorted(given, key=repr)
    values = list(given) if isinstance(given, list | tuple) else [given]
    if not values:
        raise InvalidArgumentError(f"match on {name} has no values, so nothing would match. Give one or more.")
    return [None if value is None else _parse_value(name, value) for value in values]


def _parse_value(name: str, value: object) -> object:
    kind = MATCH_FIELDS[name]
    if kind is bool:
        return parse_bool(f"match on {name}", value)
    if kind is int and is_whole_number(value):
        return int(value)
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise InvalidArgumentError(f"match on {name} takes whole numbers of at most 18 digits.")
    if not isinstance(value, kind) or isinstance(value, bool):
        hint = NATIVE_RENDERING if kind is str and isinstance(value, int | float) else ""
        raise InvalidArgumentError(f"match on {name} takes {kind.__name__} values, not {type(value).__name__}.{hint}")
    return value
