"""SearchImageSets: validates ``searchCriteria``, and finds the image sets that match.

This module checks all limits of the API Reference (SearchCriteria, SearchFilter, SearchByAttributeValue, Sort),
because botocore checks only some of them. The messages quote the invalid value, as AWS does. So if a client shows
these messages, it shows patient data, and its tests can detect it.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, NoReturn

from .exceptions import ValidationError
from .image_sets import SORT_KEYS, ImageSet, ImageSetStore, parse_study_moment
from .settings import Settings

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)
_UID = re.compile(r"[0-9.]{1,512}")
_TEXT = re.compile(r".{0,512}", re.DOTALL)
_OPERATOR_VALUES = {"EQUAL": 1, "BETWEEN": 2}


def _text(pattern: re.Pattern[str]) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError("breaks the pattern")
        return value

    return parse


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not a boolean")
    return value


def _moment(value: Any) -> datetime:
    """Parse a timestamp: epoch seconds, as SDKs send it, or ISO 8601 (UTC if it has no time zone)."""
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a timestamp")
    return _EPOCH + timedelta(seconds=value)


def _study_moment(value: Any) -> datetime:
    known = {"DICOMStudyDate", "DICOMStudyTime"}
    members = _members(value, "DICOMStudyDateAndTime", known, {"DICOMStudyDate"})
    return parse_study_moment(*(_text(_TEXT)(members.get(name, "")) for name in sorted(known)))


def _tag(name: str) -> Callable[[ImageSet], Any]:
    return lambda row: row.dicom_tags.get(name)


@dataclass(frozen=True)
class _Attribute:
    parse: Callable[[Any], Any]
    of: Callable[[ImageSet], Any]
    is_time: bool = False


# The members of the union SearchByAttributeValue.
_ATTRIBUTES: Mapping[str, _Attribute] = MappingProxyType(
    {
        "DICOMPatientId": _Attribute(_text(_TEXT), _tag("DICOMPatientId")),
        "DICOMAccessionNumber": _Attribute(_text(_TEXT), _tag("DICOMAccessionNumber")),
        "DICOMStudyId": _Attribute(_text(_TEXT), _tag("DICOMStudyId")),
        "DICOMStudyInstanceUID": _Attribute(_text(_UID), _tag("DICOMStudyInstanceUID")),
        "DICOMSeriesInstanceUID": _Attribute(_text(_UID), _tag("DICOMSeriesInstanceUID")),
        "createdAt": _Attribute(_moment, lambda row: row.created_at, is_time=True),
        "updatedAt": _Attribute(_moment, lambda row: row.updated_at, is_time=True),
        "DICOMStudyDateAndTime": _Attribute(_study_moment, lambda row: row.study_moment, is_time=True),
        "isPrimary": _Attribute(_flag, lambda row: row.is_primary),
    }
)


@dataclass(frozen=True)
class Filter:
    """One ``SearchFilter``. ``EQUAL`` is a closed interval of one value."""

    attribute: str
    lower: Any
    upper: Any
    closed: bool

    def accepts(self, row: ImageSet) -> bool:
        """Whether ``row`` matches; one that lacks the attribute never does."""
        value = _ATTRIBUTES[self.attribute].of(row)
        if value is None:
            return False
        if self.closed:
            return bool(self.lower <= value <= self.upper)
        return bool(self.lower < value < self.upper)


@dataclass(frozen=True)
class Query:
    """Valid search criteria. ``sort_field`` and ``sort_order`` contain the defaults if they were not given."""

    filters: tuple[Filter, ...] = ()
    sort_field: str = "updatedAt"
    sort_order: str = "DESC"

    def run(self, store: ImageSetStore, after: tuple[str, str] | None) -> Iterator[ImageSet]:
        """Yield the matches in order, after the position ``after`` (see ``position``)."""
        # The index only limits the search. The filters decide, also at the edges.
        narrowing = [f for f in self.filters if f.attribute == self.sort_field]
        rows = store.ordered_by(self.sort_field).walk(
            max((f.lower for f in narrowing), default=_EARLIEST),
            min((f.upper for f in narrowing), default=_LATEST),
            after=(datetime.fromisoformat(after[0]), after[1]) if after else None,
            descending=self.sort_order == "DESC",
        )
        return (row for row in rows if all(f.accepts(row) for f in self.filters))

    def position(self, row: ImageSet) -> tuple[str, str]:
        """Return the position of ``row`` in this order, for a page token."""
        return SORT_KEYS[self.sort_field](row).isoformat(), row.image_set_id


def parse_criteria(body: str, settings: Settings) -> Query:
    """Parse a request body, which is the ``SearchCriteria``. An empty body matches all image sets."""
    try:
        criteria = json.loads(body or "{}")
    except (ValueError, RecursionError):
        _refuse("searchCriteria", body, "is not JSON")
    criteria = _members(criteria, "searchCriteria", {"filters", "sort"})
    filters = _items(criteria["filters"], "filters") if "filters" in criteria else []
    parsed = tuple(_parse_filter(item, settings) for item in filters)
    if "sort" not in criteria:
        return Query(parsed)
    sort = _members(criteria["sort"], "sort", {"sortField", "sortOrder"}, {"sortField", "sortOrder"})
    sort_field = _one_of(SORT_KEYS, sort["sortField"], "sort.sortField")
    return Query(parsed, sort_field, _one_of(("ASC", "DESC"), sort["sortOrder"], "sort.sortOrder"))


def _parse_filter(item: Any, settings: Settings) -> Filter:
    members = _members(item, "filter", {"values", "operator"}, {"values", "operator"})
    operator = _one_of(_OPERATOR_VALUES, members["operator"], "filter.operator")
    values = _items(members["values"], "filter.values")
    unions = [_members(value, "filter.values", _ATTRIBUTES) for value in values]
    names = {name for union in unions for name in union}
    if any(len(union) != 1 for union in unions) or len(names) != 1:
        _refuse("filter.values", members["values"], "must each have one member, and the same one")
    if len(unions) != _OPERATOR_VALUES[operator]:
        _refuse("filter.values", members["values"], f"must be {_OPERATOR_VALUES[operator]} for {operator}")
    (name,) = names
    if operator == "BETWEEN" and not _ATTRIBUTES[name].is_time:
        _refuse("filter.operator", operator, f"is not supported for {name}")
    bounds = [_parse_value(name, union[name], settings) for union in unions]
    lower, upper = bounds[0], bounds[-1]
    if lower > upper:
        _refuse("filter.values", values, "must be in ascending order")
    return Filter(name, lower, upper, closed=operator == "EQUAL" or settings.between_includes_edges)


def _parse_value(name: str, value: Any, settings: Settings) -> Any:
    try:
        parsed = _ATTRIBUTES[name].parse(value)
    except (ValueError, TypeError, OverflowError):
        _refuse(name, value, "is not valid")
    if settings.bounds_cut_to_seconds and name in {"createdAt", "updatedAt"}:
        return parsed.replace(microsecond=0)
    return parsed


def _members(value: Any, where: str, known: Collection[str], required: Collection[str] = ()) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse(where, value, "must be a structure")
    present = {name: member for name, member in value.items() if member is not None}
    if not set(required) <= present.keys() <= set(known):
        _refuse(where, value, f"must have {sorted(required)} and no other than {sorted(known)}")
    return present


def _items(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list) or len(value) not in {1, 2}:
        _refuse(where, value, "must have one or two members")
    return value


def _one_of(known: Collection[str], value: Any, where: str) -> str:
    if not isinstance(value, str) or value not in known:
        _refuse(where, value, f"must be one of {sorted(known)}")
    return value


def _refuse(where: str, value: Any, constraint: str) -> NoReturn:
    raise ValidationError(f"Value {value!r} at '{where}' {constraint}")
