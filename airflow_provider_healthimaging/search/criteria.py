"""``searchCriteria``: checked, and combined with a time window.

The structure is AWS's own (``SearchCriteria`` in the AWS HealthImaging API reference). The service checks it too, but
its error text may repeat the values, and botocore checks neither limits nor names. So every mistake is found here, and
no error shows a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import NotRequired, TypedDict

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.image_set import DICOM_TAGS
from airflow_provider_healthimaging.search.rendered import type_and_hint
from airflow_provider_healthimaging.search.suggestions import suggest_name, unknown_name_error
from airflow_provider_healthimaging.search.validation import (
    TIME_FIELDS,
    TimeField,
    parse_json_object,
)
from airflow_provider_healthimaging.window import TimeWindow, parse_instant

SORT_FIELDS = (*TIME_FIELDS, "DICOMStudyDateAndTime")
SORT_ORDERS = ("ASC", "DESC")
VALUES_PER_OPERATOR = {"EQUAL": 1, "BETWEEN": 2}
MAX_FILTERS = 2
STUDY_TIME = {"DICOMStudyDate": 36, "DICOMStudyTime": 56}
"""The members of ``DICOMStudyDateAndTime``, and the most characters of each."""

EXAMPLE = ' Write {"filters": [{"operator": "EQUAL", "values": [{"DICOMPatientId": "..."}]}]}.'

_UID = re.compile(r"[0-9.]+")


class SearchFilter(TypedDict):
    """One filter: an operator, and one or two values of the same attribute, such as ``{"DICOMPatientId": "..."}``."""

    operator: str
    values: list[dict[str, object]]


class Sort(TypedDict):
    """The order of the search hits."""

    sortField: str
    sortOrder: str


class SearchCriteria(TypedDict):
    """AWS's ``SearchCriteria``."""

    filters: NotRequired[list[SearchFilter]]
    sort: NotRequired[Sort]


class SortedSearchCriteria(TypedDict):
    """``SearchCriteria`` as it is sent: always with a sort."""

    filters: NotRequired[list[SearchFilter]]
    sort: Sort


def parse_criteria(value: object) -> SearchCriteria:
    """Return ``searchCriteria`` with its times as UTC datetimes.

    :param value: AWS's structure, its JSON text, or ``None`` for no criteria.
    :raises InvalidArgumentError: for everything that the service would reject; no value is shown.
    """
    given = parse_json_object("search_criteria", value)
    for key in given:
        if key not in ("filters", "sort"):
            raise unknown_name_error("key in search_criteria", key, ("filters", "sort"), private=True, example=EXAMPLE)
    criteria: SearchCriteria = {}
    if given.get("filters") is not None:
        criteria["filters"] = _parse_filters(given["filters"])
    if given.get("sort") is not None:
        criteria["sort"] = _parse_sort(given["sort"])
    return criteria


def _parse_filters(filters: object) -> list[SearchFilter]:
    if not isinstance(filters, list | tuple) or not 1 <= len(filters) <= MAX_FILTERS:
        count = len(filters) if isinstance(filters, list | tuple) else type(filters).__name__
        raise InvalidArgumentError(
            f"search_criteria filters: the service takes a list of 1 or {MAX_FILTERS} filters, not {count}. "
            "Leave 'filters' out to find everything. Use match for further conditions."
        )
    parsed = [_parse_filter(f"search_criteria filters[{i}]", each) for i, each in enumerate(filters)]
    attributes = filtered_attributes({"filters": parsed})
    if len(set(attributes)) < len(attributes):
        raise InvalidArgumentError(f"search_criteria has two filters on {attributes[0]}. Combine them into one.")
    return parsed


def _parse_filter(where: str, given: object) -> SearchFilter:
    if not isinstance(given, Mapping) or set(given) != {"operator", "values"}:
        raise InvalidArgumentError(f"{where} must be an object with 'operator' and 'values', and nothing else.")
    operator, values = given["operator"], given["values"]
    if not isinstance(operator, str) or operator not in VALUES_PER_OPERATOR:
        raise unknown_name_error(f"operator in {where}", operator, VALUES_PER_OPERATOR, private=True)
    count = VALUES_PER_OPERATOR[operator]
    if not isinstance(values, list | tuple) or len(values) != count:
        raise InvalidArgumentError(f"{where}: {operator} takes a list of exactly {count} value(s).")
    parsed = [_parse_value(where, value) for value in values]
    if operator == "BETWEEN":
        _check_range(where, *parsed)
    return {"values": parsed, "operator": operator}


def _parse_value(where: str, value: object) -> dict[str, object]:
    if not isinstance(value, Mapping) or len(value) != 1:
        raise InvalidArgumentError(f"{where}: a value must be an object with exactly one attribute.")
    ((attribute, content),) = value.items()
    if attribute not in _PARSERS:
        raise _unknown_attribute_error(where, attribute)
    return {attribute: _PARSERS[attribute](f"{where}.{attribute}", content)}


def _unknown_attribute_error(where: str, attribute: object) -> InvalidArgumentError:
    tag = suggest_name(attribute, {*_PARSERS, *DICOM_TAGS})
    if tag is None or tag in _PARSERS:
        return unknown_name_error(f"attribute in {where}", attribute, _PARSERS, private=True)
    if tag in STUDY_TIME:
        return InvalidArgumentError(
            f"Unknown attribute in {where}. Did you mean 'DICOMStudyDateAndTime'? It holds date and time together: "
            "{'DICOMStudyDateAndTime': {'DICOMStudyDate': '...', 'DICOMStudyTime': '...'}}."
        )
    return InvalidArgumentError(
        f"{where}: the service cannot filter on {tag}. Remove the filter, and use match={{{tag!r}: [...]}}, "
        f"which is checked in the task. The service filters on {', '.join(sorted(_PARSERS))}."
    )


def _check_range(where: str, lower: dict[str, object], upper: dict[str, object]) -> None:
    (attribute,) = lower
    if set(upper) != {attribute}:
        raise InvalidArgumentError(f"{where}: both values of BETWEEN must have the same attribute.")
    if attribute not in SORT_FIELDS:
        raise InvalidArgumentError(f"{where}: BETWEEN works on {', '.join(SORT_FIELDS)}; use EQUAL for {attribute}.")
    first, last = lower[attribute], upper[attribute]
    if isinstance(first, datetime) and isinstance(last, datetime) and first > last:
        raise InvalidArgumentError(f"{where}: the first value of BETWEEN is later than the second.")


def _parse_sort(sort: object) -> Sort:
    if not isinstance(sort, Mapping) or set(sort) != {"sortField", "sortOrder"}:
        raise InvalidArgumentError("search_criteria sort must have 'sortField' and 'sortOrder', and nothing else.")
    for key, known in (("sortField", SORT_FIELDS), ("sortOrder", SORT_ORDERS)):
        if sort[key] not in known:
            raise unknown_name_error(f"{key} in search_criteria", sort[key], known, private=True)
    return {"sortField": sort["sortField"], "sortOrder": sort["sortOrder"]}


def _parse_text(where: str, content: object, max_length: int = 512) -> str:
    if not isinstance(content, str):
        raise InvalidArgumentError(f"{where} {type_and_hint(content, 'a string')}")
    if len(content) > max_length:
        raise InvalidArgumentError(f"{where} must be a string of at most {max_length} characters.")
    return content


def _parse_uid(where: str, content: object) -> str:
    if not _UID.fullmatch(_parse_text(where, content)):
        raise InvalidArgumentError(f"{where} must be a DICOM UID: digits and dots.")
    return str(content)


def parse_bool(where: str, content: object) -> bool:
    """Return true or false; a template may have rendered to the text of either."""
    value = {"true": True, "false": False}.get(content.lower()) if isinstance(content, str) else content
    if not isinstance(value, bool):
        raise InvalidArgumentError(f"{where} must be true or false.")
    return value


def _parse_time(where: str, content: object) -> datetime:
    try:
        return parse_instant(content, where)
    except InvalidArgumentError:
        problem = f"{where} must be a datetime with a time zone, or its ISO 8601 text with an offset or 'Z'."
    raise InvalidArgumentError(problem)


def _parse_study_time(where: str, content: object) -> dict[str, str]:
    if not isinstance(content, Mapping) or "DICOMStudyDate" not in content or set(content) - set(STUDY_TIME):
        raise InvalidArgumentError(f"{where} must have 'DICOMStudyDate' and may have 'DICOMStudyTime'.")
    return {part: _parse_text(f"{where}.{part}", text, STUDY_TIME[part]) for part, text in content.items()}


_PARSERS = {
    "DICOMPatientId": _parse_text,
    "DICOMAccessionNumber": _parse_text,
    "DICOMStudyId": _parse_text,
    "DICOMStudyInstanceUID": _parse_uid,
    "DICOMSeriesInstanceUID": _parse_uid,
    "createdAt": _parse_time,
    "updatedAt": _parse_time,
    "DICOMStudyDateAndTime": _parse_study_time,
    "isPrimary": parse_bool,
}


def filtered_attributes(criteria: SearchCriteria) -> list[str]:
    """Return the attribute of each filter, without its values."""
    return [next(iter(each["values"][0])) for each in criteria.get("filters", ())]


def check_filter_slot_free(criteria: SearchCriteria, time_field: TimeField) -> None:
    """Raise if the criteria leave no filter for a window on ``time_field``, which needs one of the service's two."""
    attributes = filtered_attributes(criteria)
    for attribute in attributes:
        if attribute in TIME_FIELDS:
            raise InvalidArgumentError(
                f"search_criteria filters on {attribute}, and so does the window on {time_field}. "
                "Remove the filter, or set time_field=None to search without a window."
            )
    if len(attributes) >= MAX_FILTERS:
        raise InvalidArgumentError(
            f"search_criteria has {len(attributes)} filters ({', '.join(attributes)}), and the window needs one of "
            f"the service's {MAX_FILTERS}. Move one to match, or set time_field=None."
        )


def build_request_criteria(
    criteria: SearchCriteria, window: TimeWindow | None, time_field: TimeField | None
) -> SortedSearchCriteria:
    """Return the criteria to send: those given, the window, and an ascending order.

    The order is always set. The service's default order, the latest update first, changes while pages are read.

    :param criteria: from :func:`parse_criteria`; its ``sort`` is used only without a window.
    :raises InvalidArgumentError: if the criteria leave no filter for the window.
    """
    if window is None or time_field is None:
        if set(TIME_FIELDS) <= set(filtered_attributes(criteria)):
            raise InvalidArgumentError("search_criteria has two time filters. Keep one, or use a window for it.")
        return {"sort": {"sortField": "createdAt", "sortOrder": "ASC"}, **criteria}
    check_filter_slot_free(criteria, time_field)
    lower, upper = window.query_bounds()
    between: SearchFilter = {"values": [{time_field: lower}, {time_field: upper}], "operator": "BETWEEN"}
    return {
        "filters": [between, *criteria.get("filters", ())],
        "sort": {"sortField": time_field, "sortOrder": "ASC"},
    }
