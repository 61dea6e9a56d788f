"""Errors that no retry will cure fail the task at once; the others take the task's retries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_healthimaging.exceptions import HealthImagingError


class HealthImagingTaskFailed(AirflowFailException, HealthImagingError):  # noqa: N818 - as Airflow names them
    """A :class:`HealthImagingError` that is not ``retryable``, as Airflow understands it."""


@contextmanager
def failing_at_once() -> Iterator[None]:
    """Turn errors that are not retryable into :class:`HealthImagingTaskFailed`."""
    try:
        yield
    except HealthImagingError as error:
        if error.retryable or isinstance(error, AirflowFailException):
            raise
        raise HealthImagingTaskFailed(str(error)) from error
