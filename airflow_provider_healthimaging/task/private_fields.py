"""The template fields that may hold patient data or keys: always masked, and rendered without showing a value.

Airflow logs a template that it cannot render, with the text of the error. Both may hold such values. So these fields
are rendered here, through Airflow's public ``render_template``, and the error says neither. Airflow cannot render them
by itself (see :class:`~airflow_provider_healthimaging.privacy.masking.MaskedValue`). If this guard was not called, the
templates in them were not rendered, and the task refuses to run.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator, XComArg
from jinja2.exceptions import TemplateError, UndefinedError

from airflow_provider_healthimaging.exceptions import (
    ConfigurationError,
    HealthImagingError,
    InvalidArgumentError,
    RenderingFailedError,
)
from airflow_provider_healthimaging.privacy.masking import MaskedValue
from airflow_provider_healthimaging.task.arguments import CheckedArguments, is_template
from airflow_provider_healthimaging.task.failure import not_retried

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import Context

PERMANENT_RENDER_ERRORS = (TemplateError, AttributeError, TypeError, ValueError)
"""What a template raises each time it is rendered. A KeyError is not among them: Airflow 2 raises it if a secrets
backend cannot be reached."""

NOT_SHOWN = "The template and the text of the error are not shown, because they may hold patient data."

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


class PrivateFields(CheckedArguments):
    """A task with private fields. A subclass has a :class:`MaskedField` for each, and names them."""

    private_fields: ClassVar[tuple[str, ...]] = ()

    undefined_name_advice: ClassVar[str] = ""
    """What else to do about a name that a template refers to, and that does not exist."""

    def render_template(
        self,
        content: object,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> object:
        """Render a template field; Airflow calls this for each field of any task, mapped or not, and for its parts."""
        is_private = isinstance(content, MaskedValue)
        names = [name for name in self.template_fields if content is getattr(self, name, None)]
        if not names and not is_private:
            return super().render_template(content, context, jinja_env, seen_oids)
        try:
            # No variable here holds the value, because some logs show the variables of the frames of an error.
            rendered = super().render_template(
                content.value if isinstance(content, MaskedValue) else content, context, jinja_env, seen_oids
            )
        except HealthImagingError:
            raise
        except PERMANENT_RENDER_ERRORS as error:
            permanent, reason = True, _describe(error, is_private=is_private)
        except Exception as error:  # noqa: BLE001 - the text of any error may hold search values
            permanent, reason = False, _describe(error, is_private=is_private)
        else:
            return MaskedValue(rendered, rendered=True) if is_private else rendered
        name = next(iter(names), "a template field")
        if is_private:
            where, advice = f"A template in {name} cannot be rendered", NOT_SHOWN
        else:
            where, advice = f"A template of this task cannot be rendered ({name})", self.undefined_name_advice
        message = (
            f"{where}: {reason}. Check the names in the template, and that what they refer to exists. {advice}".rstrip()
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


def _describe(error: Exception, *, is_private: bool) -> str:
    """Return the type of the error, and what names it says are missing. Its other text may hold values."""
    missing = _MISSING_VARIABLE.fullmatch(str(error))
    if missing:
        return f"{type(error).__name__}, no Variable {missing[1]!r}"
    if isinstance(error, UndefinedError) and not is_private:
        return str(error.message)
    return type(error).__name__
