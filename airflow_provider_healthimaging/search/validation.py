"""Arguments that are given as they come: checked, and made what they stand for; nothing of Airflow or boto3."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeGuard

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.image_set import unknown_name
from airflow_provider_healthimaging.window import isoformat

MAX_PAGE_SIZE = 50

LONGEST_WAIT = timedelta(days=366)
"""No task waits longer for the clock."""

_NOT_JSON = object()
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
_DATASTORE_ID = re.compile(r"[0-9a-z]{32}")


def check_datastore_id(datastore_id: object) -> str:
    """Return ``datastore_id`` if it is 32 characters of 0-9 and a-z, as the service's model demands."""
    if not isinstance(datastore_id, str) or not _DATASTORE_ID.fullmatch(datastore_id):
        raise InvalidArgumentError(
            f"datastore_id={datastore_id!r} is malformed: a data store's id has 32 characters of 0-9 and a-z; "
            "its name and its ARN are not its id. Take it from the HealthImaging console or from list_datastores."
        )
    return datastore_id


def check_pagination_config(config: object) -> dict[str, Any]:
    """Return botocore's ``PaginationConfig``, its numbers as integers, checked against the service's limits."""
    config = from_json("pagination_config", config)
    known = ("MaxItems", "PageSize", "StartingToken")
    for key in config:
        if key not in known:
            raise unknown_name("pagination_config key", key, known)
    checked = {key: value for key, value in config.items() if value not in (None, "")}
    for key, most in (("MaxItems", None), ("PageSize", MAX_PAGE_SIZE)):
        if key in checked:
            checked[key] = check_whole_number(key, checked[key], most)
    if not isinstance(checked.get("StartingToken", ""), str):
        raise InvalidArgumentError("StartingToken must be a string: the next_token of an earlier search.")
    return checked


def _parsed(text: str) -> Any:
    """Return what JSON text says, or a mark: an error raised in here would carry the text with it."""
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return _NOT_JSON


def is_whole_number(text: object) -> TypeGuard[str]:
    """Whether ``text`` spells a whole number that can be one of the service's."""
    return isinstance(text, str) and _WHOLE_NUMBER.fullmatch(text.strip()) is not None


def check_whole_number(name: str, value: object, most: int | None = None) -> int:
    """Return ``value``, or the number that its text says, if it is from 1 to ``most``."""
    number = int(value) if is_whole_number(value) else value
    if isinstance(number, bool) or not isinstance(number, int) or number < 1 or (most and number > most):
        limit = f"from 1 to {most}" if most else "of 1 or more"
        raise InvalidArgumentError(f"{name}={value!r} is out of range. Give a whole number {limit}.")
    return number


def from_json(name: str, value: object) -> dict[str, Any]:
    """Take a mapping, or the JSON text of one (a template may render to either); empty means none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return {}
    if isinstance(value, str):
        value = _parsed(value)
        if value is _NOT_JSON:
            raise InvalidArgumentError(
                f"{name} is a string that is not JSON. Give AWS's structure, or a template that renders to its "
                "JSON (use the tojson filter). The text is not shown, since it may hold patient data."
            )
    if not isinstance(value, Mapping):
        raise InvalidArgumentError(f"{name} must be a JSON object, not a {type(value).__name__}.")
    return dict(value)


def check_timedelta(name: str, value: object, most: timedelta = timedelta.max) -> timedelta:
    """Return ``value`` if it is a timedelta from zero to ``most``."""
    if not isinstance(value, timedelta) or value < timedelta(0):
        raise InvalidArgumentError(
            f"{name}={value!r} must be a datetime.timedelta of zero or more, such as timedelta(minutes=5)."
        )
    if value > most:
        raise InvalidArgumentError(
            f"{name}={value!r} is too long: give a datetime.timedelta of at most {most.days} days."
        )
    return value


def check_seconds(name: str, value: object) -> float:
    """Return ``value``, a timedelta or a number of seconds, in seconds, if it is zero or more."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        raise InvalidArgumentError(f"{name}={value!r} must be a datetime.timedelta, or seconds, of zero or more.")
    return float(seconds)


def to_json(value: object) -> str:
    """Return checked arguments as JSON text that they can be parsed from again; the same text each time."""
    return json.dumps(value, sort_keys=True, default=isoformat)
