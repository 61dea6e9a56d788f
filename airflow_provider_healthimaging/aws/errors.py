"""Turns botocore's errors into errors of this package, by the rules of the two tables.

A service's error text may repeat search values, and so may botocore's text about parameters. So only codes, statuses
and names of exceptions are passed on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from airflow_provider_healthimaging.aws.botocore_error_table import BOTOCORE_RULES
from airflow_provider_healthimaging.aws.error_table import HEALTHIMAGING, SERVICE_RULES, STS
from airflow_provider_healthimaging.aws.image_set_error_table import IMAGE_SET_RULES
from airflow_provider_healthimaging.aws.import_job_error_table import OPERATION_RULES
from airflow_provider_healthimaging.exceptions import HealthImagingError, IncompleteResponseError, ServiceError

T = TypeVar("T")

BOTOCORE_ERRORS = (BotoCoreError, ClientError, ResponseParserError, HTTPError)
"""The errors that botocore may raise in any call. Botocore 1.43 passes on urllib3's for a truncated error."""

CALL_ERRORS = (
    *BOTOCORE_ERRORS,
    *(FileNotFoundError, ValueError, AttributeError, KeyError, OverflowError, TypeError, RuntimeError, ImportError),
)
"""Also botocore's errors about credential files, endpoints and page tokens, and those of Python that botocore and
amazon's provider raise if a setting of the connection or of the client has a wrong type.

Use it only if nothing else can raise these in the call.
"""

_CODE = re.compile(r"[A-Za-z][A-Za-z.]{0,63}")


def to_provider_error(error: Exception, location: str, service: str = HEALTHIMAGING) -> HealthImagingError:
    """Return the error to raise instead of ``error``.

    Raise it after the ``except`` block that caught ``error``. An error that is chained to ``error`` shows the
    text of ``error``, too.

    :param error: one of ``CALL_ERRORS``; an error of this package is returned as it is.
    :param location: the data store, region and connection, or the bucket, for the message.
    :param service: the service that was called. A call to STS for credentials is recognized here.
    """
    if isinstance(error, HealthImagingError):
        return error
    if isinstance(error, ClientError):
        return _service_error(error, location, service)
    return _botocore_error(error, location, service)


def _botocore_error(error: Exception, location: str, service: str) -> HealthImagingError:
    text = str(error)
    by_cause = (rule for rule in BOTOCORE_RULES if isinstance(error, rule.causes) and rule.service in {service, ""})
    rule = next(rule for rule in by_cause if any(part in text for part in rule.message_contains))
    description = rule.description.format(service=service, fault=type(error).__name__)
    return rule.error(f"{description} ({location}). {rule.advice}")


def _service_error(error: ClientError, location: str, service: str) -> HealthImagingError:
    if error.operation_name.startswith("AssumeRole"):
        service = STS
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = _safe_error_code(str(error.response.get("Error", {}).get("Code", "")), status)
    operation = error.operation_name
    rules = (*OPERATION_RULES.get(operation, ()), *IMAGE_SET_RULES.get(operation, ()), *SERVICE_RULES)
    by_code = (rule for rule in rules if code in rule.codes.split() and rule.service in {service, ""})
    rule = next(by_code, None) or next(rule for rule in SERVICE_RULES if status in rule.statuses)
    message = f"{service} answered {code} (HTTP {status}; {location}). {rule.advice}"
    return rule.error(message, code=code) if issubclass(rule.error, ServiceError) else rule.error(message)


def _safe_error_code(code: str, status: object) -> str:
    """Return ``code`` if it looks like an error code. A proxy may send any text as the code, also search values."""
    if not code:
        return "no code"
    return code if _CODE.fullmatch(code) or code == str(status) else "an unknown code"


def translate_errors(
    call: Callable[[], T],
    location: str,
    service: str = HEALTHIMAGING,
    errors: tuple[type[Exception], ...] = CALL_ERRORS,
) -> T:
    """Return the result of ``call``. Raise an error of this package, not chained, in place of one of ``errors``."""
    try:
        return call()
    except errors as error:
        problem = to_provider_error(error, location, service)
    raise problem


def is_missing_object(error: Exception) -> bool:
    """Whether S3 answered that there is no such object; ``error`` is botocore's, or this package's for it."""
    code = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else getattr(error, "code", "")
    return code in {"NoSuchKey", "404"}


def incomplete_response_error(operation: str, location: str) -> IncompleteResponseError:
    """Return the error for a response that lacks what every response to the operation has."""
    return IncompleteResponseError(
        f"The response to {operation} is truncated, or is not a valid HealthImaging response ({location}). Check for a "
        "proxy or a firewall between the worker and the service, and retry."
    )
