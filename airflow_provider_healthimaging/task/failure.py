"""Errors that no retry can cure fail the task at once. The others use the task's retries.

Airflow does not retry after an ``AirflowFailException``. The error keeps its own type as well, so that a callback can
tell a ``DatastoreNotFoundError`` from an ``InvalidArgumentError``.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_healthimaging.exceptions import HealthImagingError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

P = ParamSpec("P")
R = TypeVar("R")
Task = TypeVar("Task", bound="BaseOperator")


def fail_without_retry(run: Callable[Concatenate[Task, P], R]) -> Callable[Concatenate[Task, P], R]:
    """Let an error that is not ``retryable`` fail the task at once, and raise every error of this package from here.

    An error that was kept when the arguments of a mapped task were checked is raised instead of running the task.

    The frames below hold local variables, search values among them, and some logs show those: Airflow 3.0's
    ``dag.test()``, and services that collect errors. So the traceback is logged as text, and removed from the error.
    """

    @functools.wraps(run)
    def wrapper(task: Task, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            if kept := getattr(task, "argument_error", None):
                raise kept
            return run(task, *args, **kwargs)
        except HealthImagingError as error:
            lines = "".join(traceback.format_tb(error.__traceback__))
            task.log.error("%s was raised here (most recent call last):\n%s", type(error).__name__, lines)  # noqa: TRY400
            failure = error.with_traceback(None)
        raise failure if failure.retryable else not_retried(failure)

    return wrapper


def not_retried(error: HealthImagingError) -> HealthImagingError:
    """Return ``error`` as one after which Airflow does not retry; it stays an instance of its own class."""
    if isinstance(error, AirflowFailException):
        return error
    own_class: Any = type(error)  # mypy does not see that the class is hashable
    kind = _not_retried_class(own_class)
    failure = kind.__new__(kind, *error.args)
    failure.__dict__.update(error.__dict__)
    return failure


@functools.cache
def _not_retried_class(kind: type[HealthImagingError]) -> type[HealthImagingError]:
    namespace = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        "__reduce__": _reduce,
    }
    return type(kind.__name__, (kind, AirflowFailException), namespace)


def _reduce(error: HealthImagingError) -> tuple[Any, ...]:
    """Say how to unpickle an error that is not retried: its class has no name of its own."""
    return _unpickle, (type(error).__mro__[1], error.args, error.__dict__)


def _unpickle(kind: Any, args: tuple[object, ...], state: dict[str, object]) -> HealthImagingError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return not_retried(error)
