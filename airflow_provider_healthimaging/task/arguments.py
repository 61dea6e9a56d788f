"""The checks of the arguments that are not template fields: when the DAG is parsed; of a mapped task, when it runs.

A mapped task is given its arguments outside of ``execute``. An error there would be retried, and on Airflow 2 no
callback would be told. So the error is kept, and
:func:`~airflow_provider_healthimaging.task.failure.fail_without_retry` raises it instead of calling ``execute``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator, XComArg

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.rendered import holds_template


class CheckedArguments(BaseOperator):
    """A task whose arguments are checked before Airflow's base class sees them."""

    argument_error: InvalidArgumentError | None = None
    """What is wrong with an argument of a mapped task."""

    def __init__(self, **kwargs: Any) -> None:  # the arguments of Airflow's base class
        """Reject unknown arguments before Airflow does, because its error shows their values."""
        known = _argument_names(type(self))
        unknown = sorted(name for name in kwargs if name not in known and not name.startswith("_airflow"))
        with self.argument_checks():
            if unknown:
                raise InvalidArgumentError(
                    f"{type(self).__name__} has no argument {', '.join(unknown)}. "
                    "Look up its arguments in the reference."
                )
        super().__init__(**{name: value for name, value in kwargs.items() if name not in unknown})

    @contextmanager
    def argument_checks(self) -> Iterator[None]:
        """Keep the first error of a mapped task's arguments; of other tasks, raise it."""
        try:
            yield
        except InvalidArgumentError as error:
            # Airflow's base class has no public attribute for it. Without it, the error is raised at once.
            if not getattr(self, "_BaseOperator__from_mapped", False):
                raise
            self.argument_error = self.argument_error or error

    def reject_templates(self, **given: object) -> None:
        """Raise for an argument that holds a template, but is not a template field, so that nobody would render it."""
        for name, value in given.items():
            if name not in self.template_fields and is_template(value):
                raise InvalidArgumentError(
                    f"{name} holds a template, but Airflow does not render it, because it is not a template field of "
                    f"{type(self).__name__}. Give a value. The template fields are: {', '.join(self.template_fields)}."
                )


def is_template(value: object) -> bool:
    """Whether ``value`` holds a Jinja expression, or the output of another task."""
    if isinstance(value, Mapping):
        return any(map(is_template, value.values()))
    if isinstance(value, list | tuple):
        return any(map(is_template, value))
    return isinstance(value, XComArg) or holds_template(value)


@functools.cache
def _argument_names(kind: type) -> frozenset[str]:
    """Return the names of the arguments that a class and its base classes take."""
    constructors = (vars(ancestor).get("__init__", object.__init__) for ancestor in kind.__mro__)
    parameters = [each for init in constructors for each in inspect.signature(init).parameters.values()]
    # Airflow 2's logger has a parameter "context", which is not an argument of a task.
    named = frozenset(each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD))
    return named - {"self", "context"}
