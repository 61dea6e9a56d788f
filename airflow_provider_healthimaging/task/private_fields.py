"""The fields of a task that may hold patient data: masked whoever sets them, rendered without showing them.

Airflow logs a template that it cannot render, and what the rendering raised. Either may hold search values.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator, XComArg
from jinja2.exceptions import TemplateError

from airflow_provider_healthimaging.exceptions import RenderingFailedError
from airflow_provider_healthimaging.privacy.masking import Sensitive
from airflow_provider_healthimaging.task.failure import HealthImagingTaskFailed

NEVER_CURED = (TemplateError, AttributeError, TypeError, ValueError)
"""What a template raises however often it is rendered; KeyError is what Airflow 2 says of a secrets backend away."""

_MISSING = re.compile(
    r"(?:'Variable |VARIABLE_NOT_FOUND: \{'(?:key': '|message': 'Variable ))([\w.-]+)"
    r"(?: not found| does not exist)?'\}?"
)
"""What Airflow 2 and 3 say of a Variable that is not there; its name is no value."""


def private(name: str) -> Any:
    """Return the property that holds what it is given as :class:`Sensitive`, a subclass's or a policy's value, too."""

    def held(task: Any) -> Any:
        return vars(task).get(name)

    def hold(task: Any, value: Any) -> None:
        XComArg.apply_upstream_relationship(task, value)
        vars(task)[name] = Sensitive(value)

    return property(held, hold)


class PrivateFields(BaseOperator):
    """``search_criteria`` and ``match`` of a task."""

    search_criteria = private("search_criteria")
    match = private("match")

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Render as Airflow does, without touching what other runs of this DAG object share.

        Airflow renders inside of objects in place, and runs a shallow copy of the task.
        """
        self.search_criteria = copy.copy(self.search_criteria)
        self.match = copy.copy(self.match)
        super().render_template_fields(context, jinja_env)

    def _render_nested_template_fields(self, value: Any, context: Any, jinja_env: Any, seen_oids: set[int]) -> None:
        """Render inside of an object; Airflow comes here with mapped tasks, too."""
        if isinstance(value, Sensitive):
            value.value = self._rendered(value, context, jinja_env, seen_oids)
        else:
            super()._render_nested_template_fields(value, context, jinja_env, seen_oids)

    def _rendered(self, field: Sensitive, context: Any, jinja_env: Any, seen_oids: set[int]) -> Any:
        failure: type[HealthImagingTaskFailed | RenderingFailedError]
        try:
            return self.render_template(field.value, context, jinja_env, seen_oids)
        except NEVER_CURED as error:
            failure, kind = HealthImagingTaskFailed, _kind(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may hold search values
            failure, kind = RenderingFailedError, _kind(error)
        name = "match" if field is self.match else "search_criteria"
        raise failure(
            f"A template of this task cannot be rendered: {kind} in {name}. No more is shown, since it may be patient "
            "data. Check the names in the template, and that what they stand for is there."
        )


def _kind(error: Exception) -> str:
    """Say what was raised without its text, but for the name of a Variable that is missing."""
    missing = _MISSING.fullmatch(str(error))
    return f"{type(error).__name__}, no Variable {missing[1]!r}," if missing else type(error).__name__
