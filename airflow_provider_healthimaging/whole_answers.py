"""Answers to SearchImageSets that are not whole, or not the service's, are never taken for a page; no Airflow.

Botocore 1.43.117 and later parse a body that was cut short as an empty page, the last of its result; a foreign one too,
if it is JSON; and what cannot be parsed is an error that is not retried. So bodies are looked at before botocore does.
"""

from __future__ import annotations

import json
import logging
import random
from http import HTTPStatus
from typing import Any

from airflow_provider_healthimaging.exceptions import IncompleteResponseError

log = logging.getLogger(__name__)

LONGEST_WAIT = 5.0
"""Seconds between two readings of a page that does not arrive as it should."""

CUT_SHORT = "ended before its end"
FOREIGN = "was none of the service's"

_ROWS = "imageSetsMetadataSummaries"
_MEMBERS = {_ROWS, "nextToken", "sort"}
_PROBLEM = "airflow_provider_healthimaging.problem"


def read_again_what_is_not_whole(client: Any) -> None:
    """Make ``client`` repeat SearchImageSets when what answered is no whole answer, and raise if it never is.

    The retry follows the client's own number of attempts.

    :raises IncompleteResponseError: by the client's calls, when no attempt brought a whole answer.
    """
    attempts_allowed = client.meta.config.retries["total_max_attempts"]

    def before_parse(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
        status = response_dict["status_code"]
        if status < HTTPStatus.MULTIPLE_CHOICES and (problem := problem_of(status, response_dict["body"])):
            response_dict["body"] = b"{}"
            customized_response_dict[_PROBLEM] = problem

    def needs_retry(response: Any, attempts: int, **_: Any) -> float | None:
        problem = response and response[1].pop(_PROBLEM, None)
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

    client.meta.events.register("before-parse.medical-imaging.SearchImageSets", before_parse)
    client.meta.events.register("needs-retry.medical-imaging.SearchImageSets", needs_retry)


def problem_of(status: int, body: bytes) -> str | None:
    """Return what is wrong with an answer that is no error, or ``None``.

    :param status: HTTP status; 200 is the only one of success that the service has.
    """
    try:
        answer = json.loads(body.decode())
    except (ValueError, RecursionError):
        return CUT_SHORT
    return None if status == HTTPStatus.OK and _is_a_page(answer) else FOREIGN


def _is_a_page(answer: Any) -> bool:
    """Whether ``answer`` has the shape of ``SearchImageSetsResponse``, as far as pages and ids depend on it."""
    if not isinstance(answer, dict) or (answer and not answer.keys() & _MEMBERS):
        return False
    rows = answer.get(_ROWS)
    return isinstance(answer.get("nextToken", ""), str | None) and (
        rows is None or (isinstance(rows, list) and all(map(_is_a_row, rows)))
    )


def _is_a_row(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("imageSetId"), str)
        and isinstance(row.get("DICOMTags"), dict | None)
    )
