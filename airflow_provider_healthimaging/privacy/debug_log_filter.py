"""Keep what botocore logs at DEBUG about a client out of the log: whole requests and answers, with patient data.

The lines are told apart by who is calling and not by what they say: while a call of this client runs, in whatever
thread, DEBUG lines of the libraries below it are held back there. Other clients log as before. It knows no Airflow.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any

log = logging.getLogger(__name__)

LIBRARIES = ("boto3.", "botocore.", "urllib3.")
"""Whose modules' loggers see a request, an answer or a URL."""

_calling: ContextVar[bool] = ContextVar("calling AWS HealthImaging", default=False)


def hold_back(class_attributes: Any, base_classes: list[type], **_: Any) -> None:  # noqa: ARG001 - botocore's names
    """Make the client's class a quiet one: a handler of botocore's event ``creating-client-class``.

    https://boto3.amazonaws.com/v1/documentation/api/latest/guide/events.html describes such handlers.
    """
    base_classes.insert(0, _QuietClient)


class _QuietClient:
    """Put before botocore's ``BaseClient``, whose every operation goes through the one method here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _filter_loggers()
        log.debug("What botocore logs about calls to HealthImaging is held back: docs/security.md says how to see it.")

    def _make_api_call(self, operation_name: str, api_params: Any) -> Any:
        token = _calling.set(True)
        try:
            return super()._make_api_call(operation_name, api_params)  # type: ignore[misc]
        finally:
            _calling.reset(token)


def _filter_loggers() -> None:
    """Filter every logger that may write the line: a logger's filter is not asked for its children's lines."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(LIBRARIES):
            logging.getLogger(name).addFilter(_may_be_logged)  # once only: the filter is there or it is not


def _may_be_logged(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG or not _calling.get()
