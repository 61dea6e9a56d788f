"""How the boto3 client is set up: retries, timestamps, endpoint, and pages that arrive cut short; no Airflow."""

from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from botocore import UNSIGNED
from botocore.config import Config
from botocore.utils import parse_timestamp

from airflow_provider_healthimaging.exceptions import IncompleteResponseError

log = logging.getLogger(__name__)

RETRIES = {"mode": "standard", "total_max_attempts": 10}
"""Botocore's own default differs by version (legacy 5, standard 3 attempts), so it is always set."""

CONNECTIONS = 32
"""Open connections that a client keeps; botocore's ten would be fewer than a search may have workers."""

LONGEST_WAIT = 5.0
"""Seconds between two readings of a page that arrives cut short."""

_RESULT_KEY = "imageSetsMetadataSummaries"
_AWS_HOST = re.compile(r"medical-imaging(-fips)?\.[a-z0-9-]+\.(amazonaws\.com(\.cn)?|api\.aws)")


def merged_config(connection: Mapping[str, Any], caller: Config | None) -> Config:
    """Return botocore's configuration: ours, then the connection's, then the caller's; retries key by key.

    :param connection: ``config_kwargs`` of the Airflow connection.
    :param caller: what was given to the hook or the operator.
    """
    given = {"max_pool_connections": CONNECTIONS, **connection}
    if given.get("signature_version") == "unsigned":
        given["signature_version"] = UNSIGNED
    merged = Config(**given).merge(caller or Config())
    retries: dict[str, Any] = {}
    for layer in (RETRIES, connection.get("retries") or {}, (caller and caller.retries) or {}):
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
    """Parse a timestamp of a response into UTC; botocore's own parser gives the machine's zone and is slower."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    parsed: datetime = parse_timestamp(value)
    return parsed.astimezone(UTC)


def read_cut_pages_again(client: Any) -> None:
    """Make ``client`` repeat SearchImageSets when the answer ended before its end, and raise if it always does.

    Botocore 1.43.117 and later parse a body that was cut short as an empty page, the last of its result. The retry
    follows the client's own number of attempts.

    :raises IncompleteResponseError: by the client's calls, when every attempt was cut short.
    """
    attempts_allowed = client.meta.config.retries["total_max_attempts"]

    def needs_retry(response: Any, attempts: int, **_: Any) -> float | None:
        if response is None or _is_whole(*response):
            return None
        if attempts >= attempts_allowed:
            raise IncompleteResponseError(
                f"The answer to SearchImageSets ended before its end, {attempts} time(s) in a row, so the result "
                "would not be complete. Look for a proxy or a firewall between here and the service, and retry."
            )
        log.warning("The answer to SearchImageSets ended before its end; reading the page again.")
        jitter = random.uniform(0.5, 1)  # noqa: S311 - no secret
        return jitter * min(0.1 * 2.0**attempts, LONGEST_WAIT)

    client.meta.events.register("needs-retry.medical-imaging.SearchImageSets", needs_retry)


def _is_whole(http: Any, parsed: Mapping[str, Any]) -> bool:
    if http.status_code != 200 or _RESULT_KEY in parsed:  # noqa: PLR2004
        return True
    try:
        return isinstance(json.loads(http.content), dict)
    except ValueError:
        return False
