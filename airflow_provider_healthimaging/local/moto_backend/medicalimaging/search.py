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
from .image_sets import SORT_KEYS, ImageSet, parse_study_moment
from .settings import Settings
from .store import ImageSetStore

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)
_VALUES_PER_OPERATOR = {"EQUAL": 1, "BETWEEN": 2}


def _text_parser(pattern: re.Pattern[str]) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError("does not match the pattern")
        return value

    return parse


_parse_uid = _text_parser(re.compile(r"[0-9.]{1,512}"))
_parse_text = _text_parser(re.compile(r".{0,512}", re.DOTALL))


def _parse_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not a boolean")
    return value


def _parse_timestamp(value: Any) -> datetime:
    """Parse a timestamp: epoch seconds, as SDKs send it, or ISO 8601 (UTC if it has no time zone)."""
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a timestamp")
    return _EPOCH + timedelta(seconds=value)


def _parse_date_and_time(value: Any) -> datetime:
    known = {"DICOMStudyDate", "DICOMStudyTime"}
    members = _require_members(value, "DICOMStudyDateAndTime", known, {"DICOMStudyDate"})
    return parse_study_moment(*(_parse_text(members.get(name, "")) for name in sorted(known)))


def _tag(name: str) -> Callable[[ImageSet], Any]:
    return lambda image_set: image_set.dicom_tags.get(name)


@dataclass(frozen=True)
class _Attribute:
    parse: Callable[[Any], Any]
    value_of: Callable[[ImageSet], Any]
    is_time: bool = False


# The members of the union SearchByAttributeValue.
_ATTRIBUTES: Mapping[str, _Attribute] = MappingProxyType(
    {
        "DICOMPatientId": _Attribute(_parse_text, _tag("DICOMPatientId")),
        "DICOMAccessionNumber": _Attribute(_parse_text, _tag("DICOMAccessionNumber")),
        "DICOMStudyId": _Attribute(_parse_text, _tag("DICOMStudyId")),
        "DICOMStudyInstanceUID": _Attribute(_parse_uid, _tag("DICOMStudyInstanceUID")),
        "DICOMSeriesInstanceUID": _Attribute(_parse_uid, _tag("DICOMSeriesInstanceUID")),
        "createdAt": _Attribute(_parse_timestamp, lambda image_set: image_set.created_at, is_time=True),
        "updatedAt": _Attribute(_parse_timestamp, lambda image_set: image_set.updated_at, is_time=True),
        "DICOMStudyDateAndTime": _Attribute(
            _parse_date_and_time, lambda image_set: image_set.study_moment, is_time=True
        ),
        "isPrimary": _Attribute(_parse_bool, lambda image_set: image_set.is_primary),
    }
)


@dataclass(frozen=True)
class Filter:
    """One ``SearchFilter``: an interval, closed or open. ``EQUAL`` is a closed interval of one value."""

    attribute: str
    lower: Any
    upper: Any
    closed: bool

    def accepts(self, image_set: ImageSet) -> bool:
        """Whether ``image_set`` matches. An image set without the attribute never matches."""
        value = _ATTRIBUTES[self.attribute].value_of(image_set)
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
        image_sets = store.ordered_by(self.sort_field).walk(
            max((f.lower for f in narrowing), default=_EARLIEST),
            min((f.upper for f in narrowing), default=_LATEST),
            after=(datetime.fromisoformat(after[0]), after[1]) if after else None,
            descending=self.sort_order == "DESC",
        )
        return (image_set for image_set in image_sets if all(f.accepts(image_set) for f in self.filters))

    def position(self, image_set: ImageSet) -> tuple[str, str]:
        """Return the position of ``image_set`` in this order, for a page token."""
        return SORT_KEYS[self.sort_field](image_set).isoformat(), image_set.image_set_id


def parse_criteria(body: str, settings: Settings) -> Query:
    """Parse a request body, which is the ``SearchCriteria``. An empty body matches all image sets."""
    try:
        criteria = json.loads(body or "{}")
    except (ValueError, RecursionError):
        _reject("searchCriteria", body, "is not JSON")
    criteria = _require_members(criteria, "searchCriteria", {"filters", "sort"})
    filters = _require_items(criteria["filters"], "filters") if "filters" in criteria else []
    parsed = tuple(_parse_filter(item, settings) for item in filters)
    if "sort" not in criteria:
        return Query(parsed)
    sort = _require_members(criteria["sort"], "sort", {"sortField", "sortOrder"}, {"sortField", "sortOrder"})
    sort_field = _require_choice(SORT_KEYS, sort["sortField"], "sort.sortField")
    return Query(parsed, sort_field, _require_choice(("ASC", "DESC"), sort["sortOrder"], "sort.sortOrder"))


def _parse_filter(item: Any, settings: Settings) -> Filter:
    members = _require_members(item, "filter", {"values", "operator"}, {"values", "operator"})
    operator = _require_choice(_VALUES_PER_OPERATOR, members["operator"], "filter.operator")
    values = _require_items(members["values"], "filter.values")
    unions = [_require_members(value, "filter.values", _ATTRIBUTES) for value in values]
    names = {name for union in unions for name in union}
    if any(len(union) != 1 for union in unions) or len(names) != 1:
        _reject("filter.values", members["values"], "must each have one member, and the same one")
    if len(unions) != _VALUES_PER_OPERATOR[operator]:
        _reject("filter.values", members["values"], f"must be {_VALUES_PER_OPERATOR[operator]} for {operator}")
    (name,) = names
    if operator == "BETWEEN" and not _ATTRIBUTES[name].is_time:
        _reject("filter.operator", operator, f"is not supported for {name}")
    bounds = [_parse_value(name, union[name], settings) for union in unions]
    lower, upper = bounds[0], bounds[-1]
    if lower > upper:
        _reject("filter.values", values, "must be in ascending order")
    return Filter(name, lower, upper, closed=operator == "EQUAL" or settings.between_includes_edges)


def _parse_value(name: str, value: Any, settings: Settings) -> Any:
    try:
        parsed = _ATTRIBUTES[name].parse(value)
    except (ValueError, TypeError, OverflowError):
        _reject(name, value, "is not valid")
    if settings.bounds_cut_to_seconds and name in {"createdAt", "updatedAt"}:
        return parsed.replace(microsecond=0)
    return parsed


def _require_members(
    value: Any, location: str, known: Collection[str], required: Collection[str] = ()
) -> dict[str, Any]:
    if not isinstance(value, dict):
        _reject(location, value, "must be a structure")
    present = {name: member for name, member in value.items() if member is not None}
    if not set(required) <= present.keys() <= set(known):
        _reject(location, value, f"must have {sorted(required)} and no other than {sorted(known)}")
    return present


def _require_items(value: Any, location: str) -> list[Any]:
    if not isinstance(value, list) or len(value) not in {1, 2}:
        _reject(location, value, "must have one or two members")
    return value


def _require_choice(known: Collection[str], value: Any, location: str) -> str:
    if not isinstance(value, str) or value not in known:
        _reject(location, value, f"must be one of {sorted(known)}")
    return value


def _reject(location: str, value: Any, constraint: str) -> NoReturn:
    raise ValidationError(f"Value {value!r} at '{location}' {constraint}")
