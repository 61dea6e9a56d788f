"""Errors that no retry will cure fail the task at once; the others take the task's retries."""

from __future__ import annotations

import functools
import logging
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_healthimaging.exceptions import HealthImagingError

Given = ParamSpec("Given")
Result = TypeVar("Result")

log = logging.getLogger(__name__)


class HealthImagingTaskFailed(AirflowFailException, HealthImagingError):  # noqa: N818 - as Airflow names them
    """A :class:`HealthImagingError` that is not ``retryable``, as Airflow understands it."""


def failing_at_once(run: Callable[Given, Result]) -> Callable[Given, Result]:
    """Turn errors that are not retryable into :class:`HealthImagingTaskFailed`, and raise all of them from here.

    The frames below would bring their local variables, search values among them, and some logs show those: Airflow
    3.0's ``dag.test()``, services that collect errors. Where an error was raised is in the log at DEBUG.
    """

    @functools.wraps(run)
    def failing(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        try:
            return run(*args, **kwargs)
        except HealthImagingError as error:
            log.debug("Raised in:\n%s", "".join(traceback.format_tb(error.__traceback__)))
            cause = error.with_traceback(None)
        if cause.retryable or isinstance(cause, AirflowFailException):
            raise cause
        raise HealthImagingTaskFailed(str(cause)) from cause

    return failing
