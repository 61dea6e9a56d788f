"""Keeps botocore's DEBUG lines about calls to HealthImaging out of the log: they hold whole requests and responses.

A line is recognized by who is calling, not by its text. While a call of this client runs in a thread, the DEBUG lines
of the libraries below it are dropped in that thread. Other clients log as before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import conf

from airflow_provider_healthimaging.exceptions import ConfigurationError

if TYPE_CHECKING:
    import boto3

log = logging.getLogger(__name__)

LIBRARIES = ("boto3.", "botocore.", "s3transfer.", "urllib3.")
"""The libraries whose loggers see a request, a response or a URL."""

WARNINGS_WITH_URL = ("Failed to parse headers", "Retrying")
"""How the warnings of urllib3 begin that show a URL. That of a DICOM file has UIDs."""

_in_healthimaging_call: ContextVar[bool] = ContextVar("in a call to AWS HealthImaging", default=False)


def filter_debug_log(session: boto3.session.Session, service: str) -> None:
    """Keep the DEBUG lines of the session's clients for a service out of the log, unless Airflow's settings say not to.

    :param service: botocore's name, such as ``"s3"``.
    """
    if handler := client_class_handler():
        session.events.register(f"creating-client-class.{service}", handler)


def client_class_handler() -> Callable[..., None] | None:
    """Return the handler of botocore's event ``creating-client-class``; ``None`` if Airflow's settings say so."""
    shown = conf.getboolean("healthimaging", "log_botocore_debug", fallback=False)
    return None if shown else install_debug_log_filter


def install_debug_log_filter(class_attributes: object, base_classes: list[type], **_: object) -> None:  # noqa: ARG001 - botocore's names
    """Handle botocore's event ``creating-client-class``: filter the log while the client makes a call.

    https://boto3.amazonaws.com/v1/documentation/api/latest/guide/events.html describes such handlers.
    """
    base_classes.insert(0, _DebugLogFilterMixin)


class _DebugLogFilterMixin:
    """Stands before botocore's ``BaseClient``, whose operations all go through the one method here."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        if not hasattr(super(), "_make_api_call"):
            raise ConfigurationError(
                "This version of botocore makes its calls in a way that the provider does not know, so it could log "
                "patient data at DEBUG. Use a version that the provider supports."
            )
        super().__init__(*args, **kwargs)
        _filter_loggers()
        log.debug("DEBUG lines of botocore about calls to HealthImaging are dropped, because they hold patient data.")

    def _make_api_call(self, operation_name: str, api_params: Mapping[str, object]) -> object:
        with hidden_debug_lines():
            return super()._make_api_call(operation_name, api_params)  # type: ignore[misc]


@contextmanager
def hidden_debug_lines() -> Iterator[None]:
    """Drop the DEBUG lines of the libraries in this thread while the block runs, if a client has the filter."""
    token = _in_healthimaging_call.set(True)
    try:
        yield
    finally:
        _in_healthimaging_call.reset(token)


def _filter_loggers() -> None:
    """Filter every logger of the libraries, because a logger's filter does not see the lines of its children."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(LIBRARIES):
            logging.getLogger(name).addFilter(_allow_record)  # logging adds the same filter once only


def _allow_record(record: logging.LogRecord) -> bool:
    is_shown = record.levelno > logging.DEBUG and not str(record.msg).startswith(WARNINGS_WITH_URL)
    return is_shown or not _in_healthimaging_call.get()
