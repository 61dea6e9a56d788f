"""The fields of a task that may hold patient data: masked whoever sets them, rendered without showing them.

Airflow logs a template that it cannot render, and what the rendering raised. Either may hold search values.
"""

from __future__ import annotations

import copy
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator, XComArg
from jinja2.exceptions import TemplateError

from airflow_provider_healthimaging.exceptions import RenderingFailedError
from airflow_provider_healthimaging.sensitive import Sensitive
from airflow_provider_healthimaging.task_failure import HealthImagingTaskFailed

NEVER_CURED = (TemplateError, AttributeError, TypeError, ValueError)
"""What a template raises however often it is rendered; KeyError is what Airflow 2 says of a secrets backend away."""


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
            failure, kind = HealthImagingTaskFailed, type(error).__name__
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may hold search values
            failure, kind = RenderingFailedError, type(error).__name__
        name = "match" if field is self.match else "search_criteria"
        raise failure(
            f"A template of this task cannot be rendered: {kind} in {name}. No more is shown, since it may be patient "
            "data. Check the names in the template, and that what they stand for is there."
        )
