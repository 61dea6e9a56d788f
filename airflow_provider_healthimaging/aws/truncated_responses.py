"""Answers to SearchImageSets that are not whole, or not the service's, are never taken for a page; no Airflow.

Botocore 1.43.117 and later parse a body that was cut short as an empty page, the last of its result; a foreign one too,
if it is JSON; and what its parser trips over is an error that is not retried. So a page without image sets is looked at
again, as it came, and so is what could not be parsed.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from botocore.parsers import ResponseParserFactory

from airflow_provider_healthimaging.exceptions import IncompleteResponseError

log = logging.getLogger(__name__)

LONGEST_WAIT = 5.0
"""Seconds between two readings of a page that does not arrive as it should."""

CUT_SHORT = "ended before its end"
FOREIGN = "was none of the service's"

_ROWS = "imageSetsMetadataSummaries"
_MEMBERS = {_ROWS, "nextToken", "sort"}
_TRIPS = (AttributeError, KeyError, RecursionError, TypeError, ValueError)


class ParserFactory(ResponseParserFactory):  # type: ignore[misc]
    """Makes botocore's parsers, but that an answer to SearchImageSets which they trip over has no members."""

    def create_parser(self, protocol_name: str) -> Any:
        """Return a parser; it is asked for at each call."""
        parser = super().create_parser(protocol_name)
        parse = parser.parse

        def parsed(response: dict[str, Any], shape: Any) -> Any:
            try:
                return parse(response, shape)
            except _TRIPS:
                if getattr(shape, "name", "") != "SearchImageSetsResponse":
                    raise
            return {"ResponseMetadata": {"HTTPStatusCode": response["status_code"], "HTTPHeaders": {}}}

        parser.parse = parsed
        return parser


def read_again_what_is_not_whole(client: Any) -> None:
    """Make ``client`` repeat SearchImageSets when what answered is no whole answer, and raise if it never is.

    The retry follows the client's own number of attempts.

    :raises IncompleteResponseError: by the client's calls, when no attempt brought a whole answer.
    """
    attempts_allowed = client.meta.config.retries["total_max_attempts"]

    def needs_retry(response: Any, attempts: int, **_: Any) -> float | None:
        problem = response and problem_of(*response)
        if not problem:
            return None
        if attempts >= attempts_allowed:
            raise IncompleteResponseError(
                f"The answer to SearchImageSets {problem}, {attempts} time(s) in a row, so the result would not be "
                "complete. Look for a proxy or a firewall between here and the service, and retry."
            )
        log.warning("The answer to SearchImageSets %s; reading the page again.", problem)
        jitter = random.uniform(0.5, 1)  # noqa: S311 - no secret
        return jitter * min(0.1 * 2.0**attempts, LONGEST_WAIT)

    client.meta.events.register("needs-retry.medical-imaging.SearchImageSets", needs_retry)


def problem_of(http: Any, parsed: Mapping[str, Any]) -> str | None:
    """Return what is wrong with an answer that is no error, or ``None``.

    :param http: botocore's response; 200 is the only status of success that the service has.
    :param parsed: what botocore made of it.
    """
    if http.status_code >= HTTPStatus.MULTIPLE_CHOICES or (http.status_code == HTTPStatus.OK and _has_rows(parsed)):
        return None
    try:
        answer = json.loads(http.content.decode())
    except (ValueError, RecursionError):
        return CUT_SHORT
    return None if http.status_code == HTTPStatus.OK and _is_an_empty_page(answer) else FOREIGN


def _has_rows(page: Mapping[str, Any]) -> bool:
    rows = page.get(_ROWS) or [None]
    return all(row and isinstance(row.get("imageSetId"), str) for row in rows) and isinstance(
        page.get("nextToken"), str | None
    )


def _is_an_empty_page(answer: Any) -> bool:
    """Whether ``answer`` is a ``SearchImageSetsResponse`` without image sets, and nothing else."""
    return (
        isinstance(answer, dict)
        and (not answer or bool(answer.keys() & _MEMBERS))
        and answer.get(_ROWS) in (None, [])
        and isinstance(answer.get("nextToken"), str | None)
        and isinstance(answer.get("sort"), dict | None)
    )
