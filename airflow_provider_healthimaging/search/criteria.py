"""``searchCriteria``: checked, joined with a time window, and never shown; nothing of Airflow or boto3.

The structure is AWS's own (``SearchCriteria`` in the AWS HealthImaging API reference). The service checks it too,
but its message may repeat the values, and botocore checks neither limits nor names. So everything that can be
wrong is found here, and said without a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow_provider_healthimaging.search.validation import from_json
from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.image_set import DICOM_TAGS, nearest_name, unknown_name
from airflow_provider_healthimaging.window import TimeWindow, parse_instant

Criteria = dict[str, Any]

TIME_FIELDS = ("createdAt", "updatedAt")
SORT_FIELDS = (*TIME_FIELDS, "DICOMStudyDateAndTime")
SORT_ORDERS = ("ASC", "DESC")
VALUES_PER_OPERATOR = {"EQUAL": 1, "BETWEEN": 2}
MAX_FILTERS = 2
STUDY_TIME = {"DICOMStudyDate": 36, "DICOMStudyTime": 56}
"""The parts of ``DICOMStudyDateAndTime``, and how long each may be."""

EXAMPLE = ' Write {"filters": [{"operator": "EQUAL", "values": [{"DICOMPatientId": "..."}]}]}.'

_UID = re.compile(r"[0-9.]+")


def check_time_field(time_field: object) -> str | None:
    """Return ``time_field`` if it is ``"createdAt"``, ``"updatedAt"`` or ``None``."""
    if time_field is None or (isinstance(time_field, str) and time_field in TIME_FIELDS):
        return time_field
    raise unknown_name("time_field", time_field, TIME_FIELDS)


def parse_criteria(value: object) -> Criteria:
    """Return ``searchCriteria`` with its times as UTC datetimes.

    :param value: AWS's structure, its JSON text, or ``None`` for no criteria.
    :raises InvalidArgumentError: for whatever the service would refuse, without naming a value.
    """
    criteria = from_json("search_criteria", value)
    for key in criteria:
        if key not in ("filters", "sort"):
            raise unknown_name("key in search_criteria", key, ("filters", "sort"), private=True, example=EXAMPLE)
    parsed: Criteria = {}
    if criteria.get("filters") is not None:
        parsed["filters"] = _parse_filters(criteria["filters"])
    if criteria.get("sort") is not None:
        parsed["sort"] = _parse_sort(criteria["sort"])
    return parsed


def _parse_filters(filters: object) -> list[dict[str, Any]]:
    if not isinstance(filters, list | tuple) or not 1 <= len(filters) <= MAX_FILTERS:
        count = len(filters) if isinstance(filters, list | tuple) else type(filters).__name__
        raise InvalidArgumentError(
            f"search_criteria filters: the service takes a list of 1 or {MAX_FILTERS} filters, not {count}. "
            "Leave 'filters' out to find everything; narrow further with match."
        )
    parsed = [_parse_filter(f"search_criteria filters[{i}]", each) for i, each in enumerate(filters)]
    attributes = filter_attributes({"filters": parsed})
    if len(set(attributes)) < len(attributes):
        raise InvalidArgumentError(f"search_criteria has two filters on {attributes[0]}. Make them one.")
    return parsed


def _parse_filter(where: str, given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping) or set(given) != {"operator", "values"}:
        raise InvalidArgumentError(f"{where} must be an object with 'operator' and 'values', and nothing else.")
    operator, values = given["operator"], given["values"]
    if not isinstance(operator, str) or operator not in VALUES_PER_OPERATOR:
        raise unknown_name(f"operator in {where}", operator, VALUES_PER_OPERATOR, private=True)
    wanted = VALUES_PER_OPERATOR[operator]
    if not isinstance(values, list | tuple) or len(values) != wanted:
        raise InvalidArgumentError(f"{where}: {operator} takes a list of exactly {wanted} value(s).")
    parsed = [_parse_value(where, value) for value in values]
    if operator == "BETWEEN":
        _check_range(where, *parsed)
    return {"values": parsed, "operator": operator}


def _parse_value(where: str, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping) or len(value) != 1:
        raise InvalidArgumentError(f"{where}: a value must be an object with exactly one attribute.")
    ((attribute, content),) = value.items()
    if attribute not in _CHECKS:
        raise _unknown_attribute(where, attribute)
    return {attribute: _CHECKS[attribute](f"{where}.{attribute}", content)}


def _unknown_attribute(where: str, attribute: object) -> InvalidArgumentError:
    tag = nearest_name(attribute, {*_CHECKS, *DICOM_TAGS})
    if tag is None or tag in _CHECKS:
        return unknown_name(f"attribute in {where}", attribute, _CHECKS, private=True)
    if tag in STUDY_TIME:
        return InvalidArgumentError(
            f"Unknown attribute in {where}. Did you mean 'DICOMStudyDateAndTime'? Date and time are filtered on "
            "together: {'DICOMStudyDateAndTime': {'DICOMStudyDate': '...', 'DICOMStudyTime': '...'}}."
        )
    return InvalidArgumentError(
        f"{where}: the service cannot filter on {tag}. Take the filter out, and give match={{{tag!r}: [...]}}: "
        f"it is decided in the task. The service filters on {', '.join(sorted(_CHECKS))}."
    )


def _check_range(where: str, lower: dict[str, Any], upper: dict[str, Any]) -> None:
    (attribute,) = lower
    if set(upper) != {attribute}:
        raise InvalidArgumentError(f"{where}: both values of BETWEEN must have the same attribute.")
    if attribute not in SORT_FIELDS:
        raise InvalidArgumentError(f"{where}: BETWEEN works on {', '.join(SORT_FIELDS)}; use EQUAL for {attribute}.")
    if attribute in TIME_FIELDS and lower[attribute] > upper[attribute]:
        raise InvalidArgumentError(f"{where}: the first value of BETWEEN is later than the second.")


def _parse_sort(sort: object) -> dict[str, str]:
    if not isinstance(sort, Mapping) or set(sort) != {"sortField", "sortOrder"}:
        raise InvalidArgumentError("search_criteria sort must have 'sortField' and 'sortOrder', and nothing else.")
    for key, known in (("sortField", SORT_FIELDS), ("sortOrder", SORT_ORDERS)):
        if sort[key] not in known:
            raise unknown_name(f"{key} in search_criteria", sort[key], known, private=True)
    return dict(sort)


def _text(where: str, content: object, longest: int = 512) -> str:
    if not isinstance(content, str) or len(content) > longest:
        raise InvalidArgumentError(f"{where} must be a string of at most {longest} characters.")
    return content


def _uid(where: str, content: object) -> str:
    if not _UID.fullmatch(_text(where, content)):
        raise InvalidArgumentError(f"{where} must be a DICOM UID: digits and dots.")
    return str(content)


def boolean(where: str, content: object) -> bool:
    """Take true or false, or the text of either, as templates render it."""
    truth = {"true": True, "false": False}.get(content.lower()) if isinstance(content, str) else content
    if not isinstance(truth, bool):
        raise InvalidArgumentError(f"{where} must be true or false.")
    return truth


def _instant(where: str, content: object) -> datetime:
    try:
        return parse_instant(content, where)  # type: ignore[arg-type]
    except InvalidArgumentError:
        problem = f"{where} must be a datetime with a time zone, or its ISO 8601 text with an offset or 'Z'."
    raise InvalidArgumentError(problem)


def _study_time(where: str, content: object) -> dict[str, str]:
    if not isinstance(content, Mapping) or "DICOMStudyDate" not in content or set(content) - set(STUDY_TIME):
        raise InvalidArgumentError(f"{where} must have 'DICOMStudyDate' and may have 'DICOMStudyTime'.")
    return {part: _text(f"{where}.{part}", text, STUDY_TIME[part]) for part, text in content.items()}


_CHECKS = {
    "DICOMPatientId": _text,
    "DICOMAccessionNumber": _text,
    "DICOMStudyId": _text,
    "DICOMStudyInstanceUID": _uid,
    "DICOMSeriesInstanceUID": _uid,
    "createdAt": _instant,
    "updatedAt": _instant,
    "DICOMStudyDateAndTime": _study_time,
    "isPrimary": boolean,
}


def filter_attributes(criteria: Mapping[str, Any]) -> list[str]:
    """Return the attribute of each filter, for the log; no values."""
    return [next(iter(each["values"][0])) for each in criteria.get("filters", ())]


def check_room_for_window(criteria: Criteria, time_field: str) -> None:
    """Raise if the filters leave no room for the one that a window on ``time_field`` needs."""
    attributes = filter_attributes(criteria)
    for attribute in attributes:
        if attribute in TIME_FIELDS:
            raise InvalidArgumentError(
                f"search_criteria filters on {attribute}, and so does the window on {time_field}. "
                "Take the filter out, or set time_field=None to search without a window."
            )
    if len(attributes) >= MAX_FILTERS:
        raise InvalidArgumentError(
            f"search_criteria has {len(attributes)} filters ({', '.join(attributes)}), and the window needs one of "
            f"the service's {MAX_FILTERS}. Move one to match, or set time_field=None."
        )


def combine(criteria: Criteria, window: TimeWindow | None, time_field: str | None) -> Criteria:
    """Return the criteria that find what lies in ``window``, oldest first.

    The order is always given, since the service's default (latest update first) moves while it is read.

    :param criteria: from :func:`parse_criteria`; its ``sort`` counts only without a window.
    :raises InvalidArgumentError: if the criteria leave the window no room.
    """
    if window is None or time_field is None:
        if set(TIME_FIELDS) <= set(filter_attributes(criteria)):
            raise InvalidArgumentError("search_criteria has two time filters. Leave one, or use a window for it.")
        return {"sort": {"sortField": "createdAt", "sortOrder": "ASC"}, **criteria}
    check_room_for_window(criteria, time_field)
    lower, upper = window.server_bounds()
    between = {"values": [{time_field: lower}, {time_field: upper}], "operator": "BETWEEN"}
    return {
        "filters": [between, *criteria.get("filters", ())],
        "sort": {"sortField": time_field, "sortOrder": "ASC"},
    }
