"""The arguments that lead to a boto3 client, checked. This module does not import botocore, which takes time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import NoneType
from typing import Any

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.rendered import check_optional_text, type_and_hint

ConfigArguments = dict[str, Any]
"""Arguments of botocore's ``Config``, which has dozens of them, of many types."""

_TRUTH = {"true": True, "false": False}


def check_conn_id(name: str, value: object) -> str | None:
    """Return the id of an Airflow connection; ``None`` and empty text mean botocore's own way to find credentials."""
    return check_optional_text(name, value)


def check_region_name(value: object) -> str | None:
    """Return the name of an AWS region; ``None`` and empty text mean that of the connection."""
    return check_optional_text("region_name", value)


def check_verify(value: object) -> bool | str | None:
    """Return whether to verify TLS certificates, or the path of a CA bundle. A template may give ``"False"``."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str | NoneType):
        raise InvalidArgumentError(f"verify {type_and_hint(value, 'true, false, or the path of a CA bundle')}")
    text = check_optional_text("verify", value)
    return None if text is None else _TRUTH.get(text.strip().lower(), text)


def check_config_arguments(value: object, *, json_only: bool = False) -> ConfigArguments | None:
    """Return the ``botocore_config`` of a task or a trigger, which is a dictionary.

    :param json_only: whether a trigger keeps it, which can keep JSON types only.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidArgumentError(
            f"botocore_config must be a dictionary of the arguments of botocore's Config, such as "
            f"{{'read_timeout': 30}}, not {type(value).__name__}."
        )
    if json_only and not is_json(value):
        raise InvalidArgumentError(
            "botocore_config must have JSON types only, because a trigger keeps it. Write 'unsigned' for "
            "botocore.UNSIGNED."
        )
    return dict(value)


def is_json(value: object) -> bool:
    """Whether ``value`` has JSON types only, so that it is the same after Airflow has kept it."""
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError, RecursionError):
        return False
