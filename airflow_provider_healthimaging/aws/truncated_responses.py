"""Responses to SearchImageSets that are truncated, or that something else than the service sent, are read again.

Botocore 1.43.117 and later parse a truncated body as an empty page, the last of the result; a response of a proxy too,
if it is JSON. Other invalid bodies raise an error in botocore's parser, which botocore does not retry. So the body is
parsed here first, and a page without image sets is checked against the bytes that arrived.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, cast

from botocore.parsers import ResponseParserFactory
from botocore.utils import parse_timestamp

from airflow_provider_healthimaging.aws.client_config import retry_settings
from airflow_provider_healthimaging.exceptions import IncompleteResponseError

if TYPE_CHECKING:
    from botocore.model import OperationModel, Shape
    from types_boto3_medical_imaging import HealthImagingClient

log = logging.getLogger(__name__)

MAX_BACKOFF_SECONDS = 5.0
"""The longest pause before a page is read again."""

TRUNCATED = "is truncated, or is not JSON"
NOT_FROM_SERVICE = "is not a valid HealthImaging response"

_HITS = "imageSetsMetadataSummaries"
_MEMBERS = {_HITS, "nextToken", "sort"}
_PARSER_CRASHES = (AttributeError, KeyError, RecursionError, TypeError, ValueError)


class HTTPResponse(Protocol):
    """What is read of ``botocore.awsrequest.AWSResponse``."""

    status_code: int
    content: bytes


def install_truncation_retry(client: HealthImagingClient) -> None:
    """Make ``client`` read a page of SearchImageSets again if its response is not a valid one.

    The number of attempts is the client's own.

    :raises IncompleteResponseError: by the client's calls, if no attempt brought a valid response.
    """
    max_attempts = retry_settings(client)["total_max_attempts"]

    def needs_retry(response: tuple[HTTPResponse, Mapping[str, object]] | None, attempts: int, **_: object) -> object:
        problem = response and response_problem(*response)
        if not problem:
            return None
        if attempts >= max_attempts:
            raise IncompleteResponseError(
                f"The response to SearchImageSets {problem} ({attempts} attempts in a row), so the result would be "
                "incomplete. Check for a proxy or a firewall between the worker and the service, and retry."
            )
        log.warning("The response to SearchImageSets %s. Reading the page again.", problem)
        jitter = random.uniform(0.5, 1)  # noqa: S311 - not a secret
        return jitter * min(0.1 * 2.0**attempts, MAX_BACKOFF_SECONDS)

    client.meta.events.register("before-parse.medical-imaging.SearchImageSets", _parse_response)
    # The stubs let handlers return nothing, but botocore takes the seconds until the next attempt from this one.
    client.meta.events.register("needs-retry.medical-imaging.SearchImageSets", cast("Any", needs_retry))


def parse_utc_timestamp(value: object) -> datetime:
    """Return a timestamp of a response in UTC. Botocore's own parser gives the machine's zone, and takes longer.

    :raises IncompleteResponseError: if it is not a time.
    """
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        parsed = parse_timestamp(cast("str", value))
        return parsed.replace(tzinfo=parsed.tzinfo or UTC).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        pass
    raise IncompleteResponseError(
        "The response contains an invalid timestamp. Check whether a proxy answered instead of HealthImaging."
    )


_parsers = ResponseParserFactory()
_parsers.set_parser_defaults(timestamp_parser=parse_utc_timestamp)


def _parse_response(
    operation_model: OperationModel,
    response_dict: dict[str, object],
    customized_response_dict: dict[str, object],
    **_: object,
) -> None:
    """Parse a successful response, with its times in UTC, and leave nothing for botocore to parse.

    What the parser cannot parse becomes a page without image sets, which ``needs_retry`` then checks.
    """
    if cast("int", response_dict["status_code"]) >= HTTPStatus.MULTIPLE_CHOICES:
        return
    parser = _parsers.create_parser(operation_model.service_model.resolved_protocol)
    try:
        customized_response_dict.update(parser.parse(response_dict, cast("Shape", operation_model.output_shape)))
    except _PARSER_CRASHES:
        customized_response_dict.clear()
    response_dict["body"] = b"{}"


def response_problem(http: HTTPResponse, parsed: Mapping[str, object]) -> str | None:
    """Return what is wrong with a response that is not an error, or ``None``.

    :param http: botocore's response. The service answers every success with status 200.
    :param parsed: what was parsed from it.
    """
    if http.status_code >= HTTPStatus.MULTIPLE_CHOICES or (http.status_code == HTTPStatus.OK and _has_hits(parsed)):
        return None
    try:
        body = json.loads(http.content.decode())
    except (ValueError, RecursionError):
        return TRUNCATED
    return None if http.status_code == HTTPStatus.OK and _is_empty_page(body) else NOT_FROM_SERVICE


def _has_hits(page: Mapping[str, object]) -> bool:
    hits = cast("list[Mapping[str, object]]", page.get(_HITS) or [{}])
    return all(hit and isinstance(hit.get("imageSetId"), str) for hit in hits) and isinstance(
        page.get("nextToken"), str | None
    )


def _is_empty_page(body: object) -> bool:
    """Whether ``body`` is a ``SearchImageSetsResponse`` without image sets, and nothing else."""
    return (
        isinstance(body, dict)
        and (not body or bool(body.keys() & _MEMBERS))
        and body.get(_HITS) in (None, [])
        and isinstance(body.get("nextToken"), str | None)
        and isinstance(body.get("sort"), dict | None)
    )
