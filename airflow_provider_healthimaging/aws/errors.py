"""What botocore raises, as this package's errors, by the table of ``error_table.py``.

A service's text may repeat search values, and so may botocore's about parameters. Only codes, statuses and the names of
exceptions are passed on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from airflow_provider_healthimaging.aws.error_table import HEALTHIMAGING, STS, TABLE
from airflow_provider_healthimaging.exceptions import HealthImagingError, ServiceError

T = TypeVar("T")

FAULTS = (BotoCoreError, ClientError, ResponseParserError)
"""What botocore raises, whatever it was asked."""

CALL_FAULTS = (*FAULTS, FileNotFoundError, ValueError)
"""What it raises as well, where nothing else could: of files of credentials, endpoints and tokens."""


_CODE = re.compile(r"[A-Za-z][A-Za-z.]{0,63}")


def explained(error: Exception, where: str, service: str = HEALTHIMAGING) -> HealthImagingError:
    """Return the error to raise in place of ``error``.

    Raise it after the ``except`` block that caught ``error``: chained to it, the text would be shown all the same.

    :param error: one of ``CALL_FAULTS``; an error of this package is returned as it is.
    :param where: the data store, region and connection, or the bucket, for the message.
    :param service: which was called; that STS was asked for credentials on the way is found out here.
    """
    if isinstance(error, HealthImagingError):
        return error
    if not isinstance(error, ClientError):
        text = str(error)
        row = next(row for row in TABLE if isinstance(error, row.causes) and any(word in text for word in row.words))
        what = row.what.format(service=service, fault=type(error).__name__)
        return row.error(f"{what} ({where}). {row.advice}")
    if error.operation_name.startswith("AssumeRole"):
        service = STS
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = _shown(str(error.response.get("Error", {}).get("Code", "")), status)
    by_code = (row for row in TABLE if code in row.codes.split() and row.service in {service, ""})
    row = next(by_code, None) or next(row for row in TABLE if status in row.statuses)
    message = f"{service} answered {code} (HTTP {status}; {where}). {row.advice}"
    return row.error(message, code=code) if issubclass(row.error, ServiceError) else row.error(message)


def _shown(code: str, status: object) -> str:
    """Return a code that looks like one; what a proxy answers as such may repeat search values."""
    if not code:
        return "no code"
    return code if _CODE.fullmatch(code) or code == str(status) else "an unknown code"


def explaining(
    call: Callable[[], T],
    where: str,
    service: str = HEALTHIMAGING,
    faults: tuple[type[Exception], ...] = CALL_FAULTS,
) -> T:
    """Return what ``call`` returns; of ``faults``, raise what :func:`explained` makes of them, chained to nothing."""
    try:
        return call()
    except faults as error:
        problem = explained(error, where, service)
    raise problem
