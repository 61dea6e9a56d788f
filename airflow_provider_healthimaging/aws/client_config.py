"""How the boto3 client is set up: retries, timestamps, endpoint; no Airflow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from botocore import UNSIGNED
from botocore.config import Config
from botocore.utils import parse_timestamp

from airflow_provider_healthimaging.exceptions import IncompleteResponseError

RETRIES = {"mode": "standard", "total_max_attempts": 10}
"""Botocore's own default differs by version (legacy 5, standard 3 attempts), so it is always set."""

CONNECTIONS = 32
"""Open connections that a client keeps; botocore's ten would be fewer than a search may have workers."""

_AWS_HOST = re.compile(r"medical-imaging(-fips)?\.[a-z0-9-]+\.(amazonaws\.com(\.cn)?|api\.aws)")


PATIENT: Mapping[str, Any] = {"max_pool_connections": CONNECTIONS, "retries": RETRIES}
"""What is set where neither connection nor caller say otherwise."""

IMPATIENT: Mapping[str, Any] = {
    **PATIENT,
    "connect_timeout": 10,
    "read_timeout": 20,
    "retries": {**RETRIES, "total_max_attempts": 4},
}
"""The same for who looks again soon, and must not keep a thread meanwhile: seconds, where botocore has a minute."""


def merged_config(connection: Mapping[str, Any], caller: Config | None, ours: Mapping[str, Any] = PATIENT) -> Config:
    """Return botocore's configuration: ours, then the connection's, then the caller's; retries key by key.

    :param connection: ``config_kwargs`` of the Airflow connection.
    :param caller: what was given to the hook or the operator.
    :param ours: ``PATIENT`` or ``IMPATIENT``.
    """
    given = {**ours, **connection}
    if given.get("signature_version") == "unsigned":
        given["signature_version"] = UNSIGNED
    merged = Config(**given).merge(caller or Config())
    retries: dict[str, Any] = {}
    for layer in (ours["retries"], connection.get("retries") or {}, (caller and caller.retries) or {}):
        if {"max_attempts", "total_max_attempts"} & layer.keys():
            retries = {key: value for key, value in retries.items() if key == "mode"}
        retries |= layer
    return merged.merge(Config(retries=retries))


def use_endpoint_as_given(client: Any, config: Config) -> None:
    """Keep botocore from putting ``runtime-`` before an endpoint that is not AWS's own.

    Found by what the client ended up with, since endpoints come from connections, environment variables and AWS
    configuration files. ``inject_host_prefix=True`` in ``config`` turns the prefix on again.
    """
    wanted = Config(inject_host_prefix=False).merge(config).inject_host_prefix
    if not wanted and not _AWS_HOST.fullmatch(urlsplit(client.meta.endpoint_url).hostname or ""):
        client.meta.config.inject_host_prefix = False


def utc_timestamp(value: Any) -> datetime:
    """Parse a timestamp of a response into UTC; botocore's own parser gives the machine's zone and is slower.

    :raises IncompleteResponseError: for what is no time.
    """
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        parsed: datetime = parse_timestamp(value)
        return parsed.replace(tzinfo=parsed.tzinfo or UTC).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        pass
    raise IncompleteResponseError(
        "A time in an answer is none. Look for what answers in the service's place, and retry."
    )
