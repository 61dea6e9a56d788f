"""Checks of single arguments. Each returns the value in the type that the rest of the package uses."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Literal, TypedDict, TypeGuard, cast

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.rendered import check_text, is_empty, reject_none_text, shown, type_and_hint
from airflow_provider_healthimaging.search.suggestions import unknown_name_error
from airflow_provider_healthimaging.window import format_utc

TimeField = Literal["createdAt", "updatedAt"]
TIME_FIELDS: tuple[TimeField, ...] = ("createdAt", "updatedAt")

MAX_PAGE_SIZE = 50
"""The most image sets that the service puts on one page."""

MAX_DELAY = timedelta(days=366)
"""The longest that a task may wait for the clock. More is taken for a mistake in the unit."""

MAX_DURATION = timedelta(days=36_500)
"""The longest duration of any argument. A longer ``lookback`` could move the start of a window out of the calendar."""

MAX_WHOLE_NUMBER = 1_000_000_000
"""The largest number that any argument takes. Python's own functions fail for numbers of more than 64 bits."""

_NOT_JSON = object()
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
_DATASTORE_ID = re.compile(r"[0-9a-z]{32}")


class PaginationConfig(TypedDict, total=False):
    """``PaginationConfig`` of a boto3 paginator."""

    MaxItems: int
    PageSize: int
    StartingToken: str


def check_datastore_id(datastore_id: object) -> str:
    """Return ``datastore_id`` if it has 32 characters of 0-9 and a-z, as the service's model requires."""
    if not isinstance(datastore_id, str):
        wanted = "a string of 32 characters of 0-9 and a-z"
        raise InvalidArgumentError(f"datastore_id={shown(datastore_id)} {type_and_hint(datastore_id, wanted)}")
    reject_none_text("datastore_id", datastore_id)
    if not _DATASTORE_ID.fullmatch(datastore_id):
        raise InvalidArgumentError(
            f"datastore_id={shown(datastore_id)} is malformed: the id of a data store has 32 characters of 0-9 and "
            "a-z. Its name and its ARN are not its id. Take the id from the HealthImaging console or from "
            "list_datastores."
        )
    return datastore_id


def check_time_field(time_field: object) -> TimeField | None:
    """Return ``time_field`` if it is ``"createdAt"``, ``"updatedAt"`` or ``None``."""
    if time_field is None:
        return None
    if isinstance(time_field, str) and time_field in TIME_FIELDS:
        return time_field
    raise unknown_name_error("time_field", time_field, TIME_FIELDS)


def parse_pagination_config(config: object) -> PaginationConfig:
    """Return boto3's ``PaginationConfig`` with its numbers as integers, checked against the service's limits."""
    given = parse_json_object("pagination_config", config)
    known = ("MaxItems", "PageSize", "StartingToken")
    for key in given:
        if key not in known:
            raise unknown_name_error("pagination_config key", key, known)
    given = {key: value for key, value in given.items() if not is_empty(value)}
    for key, maximum in (("MaxItems", None), ("PageSize", MAX_PAGE_SIZE)):
        if key in given:
            given[key] = check_whole_number(key, given[key], maximum)
    if "StartingToken" in given:
        check_text("StartingToken in pagination_config", given["StartingToken"])
    return cast("PaginationConfig", given)


def is_whole_number(text: object) -> TypeGuard[str]:
    """Whether ``text`` spells an integer of at most 18 digits."""
    return isinstance(text, str) and _WHOLE_NUMBER.fullmatch(text.strip()) is not None


def check_whole_number(name: str, value: object, maximum: int | None = None) -> int:
    """Return ``value`` as an integer if it is one from 1 to ``maximum``, or the text of one."""
    number = int(value) if is_whole_number(value) else value
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= (maximum or MAX_WHOLE_NUMBER):
        is_too_large = isinstance(number, int) and number > 1
        limit = f"from 1 to {maximum or MAX_WHOLE_NUMBER}" if maximum or is_too_large else "of 1 or more"
        raise InvalidArgumentError(f"{name}={shown(value)} is out of range. Give a whole number {limit}.")
    return number


def parse_duration(name: str, value: object, maximum: timedelta = MAX_DURATION) -> timedelta:
    """Return a duration as a timedelta.

    :param value: a timedelta, or a number of seconds; zero or more.
    :param maximum: the longest that is allowed.
    """
    duration = value if isinstance(value, timedelta) else _seconds(value, maximum)
    if duration is None or duration < timedelta(0):
        raise InvalidArgumentError(
            f"{name}={shown(value)} must be a datetime.timedelta or a number of seconds, zero or more."
        )
    if duration > maximum:
        raise InvalidArgumentError(f"{name}={shown(value)} is too long: give at most {maximum.days} days.")
    return duration


def parse_interval(name: str, value: object) -> timedelta:
    """Return the pause between two polls as a timedelta; zero is an error, because it would poll without a pause."""
    interval = parse_duration(name, value, MAX_DELAY)
    if not interval:
        raise InvalidArgumentError(
            f"{name}={shown(value)} would poll without a pause. "
            "Give a datetime.timedelta or a number of seconds above zero."
        )
    return interval


def _seconds(value: object, maximum: timedelta) -> timedelta | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and math.isnan(value):
        return None
    if value > maximum.total_seconds():
        return timedelta.max
    return timedelta(seconds=max(value, -1))


def parse_json_object(name: str, value: object) -> dict[str, object]:
    """Return a mapping as a dictionary; a template may have rendered to its JSON text. Empty text means no members."""
    if is_empty(value):
        return {}
    if isinstance(value, str):
        reject_none_text(name, value)
        value = load_json(value)
        if value is _NOT_JSON:
            raise InvalidArgumentError(
                f"{name} is a string that is not JSON. Give AWS's structure, or a template that renders to its "
                "JSON (use the tojson filter). The text is not shown, because it may hold patient data."
            )
    if not isinstance(value, Mapping):
        raise InvalidArgumentError(f"{name} must be a JSON object, not a {type(value).__name__}.")
    reject_none_text(name, value)
    return dict(value)


def load_json(text: str) -> object:
    """Return what JSON text holds, or an object of no JSON type: an exception raised here would carry the text."""
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return _NOT_JSON


def to_json(value: object) -> str:
    """Return parsed arguments as JSON text that can be parsed again. The same value gives the same text."""
    return json.dumps(value, sort_keys=True, default=format_utc)
