"""The template fields that may hold patient data or keys: always masked, and rendered without showing a value.

Airflow logs a template that it cannot render, with the text of the error. Both may hold such values. So these fields
are rendered here, through Airflow's public ``render_template``, and the error says neither. Airflow cannot render them
by itself (see :class:`~airflow_provider_healthimaging.privacy.masking.MaskedValue`). If this guard was not called, the
templates in them were not rendered, and the task refuses to run.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator, XComArg
from jinja2.exceptions import TemplateError

from airflow_provider_healthimaging.exceptions import ConfigurationError, InvalidArgumentError, RenderingFailedError
from airflow_provider_healthimaging.privacy.masking import MaskedValue
from airflow_provider_healthimaging.task.failure import not_retried

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import Context

PERMANENT_RENDER_ERRORS = (TemplateError, AttributeError, TypeError, ValueError)
"""What a template raises each time it is rendered. A KeyError is not among them: Airflow 2 raises it if a secrets
backend cannot be reached."""

_MISSING_VARIABLE = re.compile(
    r"(?:'Variable |VARIABLE_NOT_FOUND: \{'(?:key': '|message': 'Variable ))([\w.-]+)"
    r"(?: not found| does not exist)?'\}?"
)
"""What Airflow 2 and 3 say of a Variable that does not exist. Its name is not patient data."""


class MaskedField:
    """Keeps what it is given as a :class:`MaskedValue`, also if a subclass or a cluster policy sets it."""

    def __set_name__(self, owner: type, name: str) -> None:
        """Remember the name of the field."""
        self._name = name

    def __get__(self, task: object, owner: type | None = None) -> MaskedValue:
        """Return the masked value."""
        try:
            value: MaskedValue = vars(task)[self._name]
        except (KeyError, TypeError):
            raise AttributeError(self._name) from None
        return value

    def __set__(self, task: BaseOperator, value: object) -> None:
        """Mask ``value``, and let the task depend on the tasks whose output it refers to."""
        XComArg.apply_upstream_relationship(task, value)
        vars(task)[self._name] = value if isinstance(value, MaskedValue) else MaskedValue(value)


def is_template(value: object) -> bool:
    """Whether ``value`` holds a Jinja expression, or the output of another task."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, Mapping):
        return any(map(is_template, value.values()))
    if isinstance(value, list | tuple):
        return any(map(is_template, value))
    return isinstance(value, XComArg)


class PrivateFields(BaseOperator):
    """A task with private fields. A subclass has a :class:`MaskedField` for each, and names them."""

    private_fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **kwargs: Any) -> None:  # the arguments of Airflow's base class
        """Reject unknown arguments before Airflow does, because its error shows their values."""
        known = _argument_names(type(self))
        if unknown := sorted(name for name in kwargs if name not in known and not name.startswith("_airflow")):
            raise InvalidArgumentError(
                f"{type(self).__name__} has no argument {', '.join(unknown)}. Look up its arguments in the reference."
            )
        super().__init__(**kwargs)

    def render_template(
        self,
        content: object,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> object:
        """Render a template field; Airflow calls this for each field of a task, and of a mapped task."""
        if not isinstance(content, MaskedValue):
            return super().render_template(content, context, jinja_env, seen_oids)
        try:
            return MaskedValue(super().render_template(content.value, context, jinja_env, seen_oids), rendered=True)
        except PERMANENT_RENDER_ERRORS as error:
            permanent, reason = True, _describe(error)
        except Exception as error:  # noqa: BLE001 - the text of any error may hold search values
            permanent, reason = False, _describe(error)
        field = next((name for name in self.private_fields if content is getattr(self, name)), "a template field")
        message = (
            f"A template in {field} cannot be rendered: {reason}. Check the names in the template, and that what they "
            "refer to exists. The template and the text of the error are not shown, because they may hold patient data."
        )
        raise not_retried(InvalidArgumentError(message)) if permanent else RenderingFailedError(message)

    def check_private_fields_rendered(self) -> None:
        """Raise if templates in the private fields were not rendered by :meth:`render_template`."""
        for name in self.private_fields:
            field: MaskedValue = getattr(self, name)
            if is_template(field.value) and not field.rendered:
                raise ConfigurationError(
                    f"The templates in {name} were not rendered, because this version of Airflow renders templates in "
                    "a way that the provider does not know. Use a version of Airflow that the provider supports."
                )


def _argument_names(kind: type) -> set[str]:
    """Return the names of the arguments that a class and its base classes take."""
    constructors = (vars(ancestor).get("__init__", object.__init__) for ancestor in kind.__mro__)
    parameters = [each for init in constructors for each in inspect.signature(init).parameters.values()]
    # Airflow 2's logger has a parameter "context", which is not an argument of a task.
    return {each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)} - {
        "self",
        "context",
    }


def _describe(error: Exception) -> str:
    """Return the type of the error, and the name of the Variable that is missing, if that is the reason."""
    missing = _MISSING_VARIABLE.fullmatch(str(error))
    return f"{type(error).__name__}, no Variable {missing[1]!r}" if missing else type(error).__name__
