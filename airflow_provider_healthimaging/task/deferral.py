"""``execution_timeout`` of a deferred task. Airflow 3 does not enforce it while the task waits in the triggerer.

So a trigger fires no later than the task may run, and the task ends with Airflow's own error when it resumes. The time
is counted from the first start. The trigger's event carries it, because ``dag.test()`` starts a task anew each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_healthimaging.window import parse_instant

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

LAST_POLL_GRACE = timedelta(seconds=90)
"""How long after the deadline Airflow waits for the trigger's event: a last poll of a minute, and half a minute."""

TRIGGER_FAILED = "__fail__"
"""The method that Airflow names when it resumes a task whose trigger failed or timed out."""


def has_trigger_reported(
    task: BaseOperator, context: Context, next_method: str, next_kwargs: Mapping[str, object] | None
) -> bool:
    """Return whether the trigger of a resumed task has reported. If not, it did not run until the deadline.

    :raises AirflowTaskTimeout: if the task's own time is over.
    """
    if next_method != TRIGGER_FAILED:
        return True
    check_execution_timeout(task, first_start(context))
    return "timeout" not in str((next_kwargs or {}).get("error", "")).lower()


def first_start(context: Context, event: Mapping[str, object] | None = None) -> datetime:
    """Return when the task began, before it was deferred.

    :param event: the event of its trigger, which has ``started``; without it, what Airflow knows.
    """
    if event and event.get("started"):
        return parse_instant(event["started"], "started")
    start: datetime | None = getattr(context.get("ti"), "start_date", None)
    return start or datetime.now(UTC)


def execution_deadline(task: BaseOperator, started: datetime) -> datetime | None:
    """Return when ``execution_timeout`` ends the task, or ``None`` if it has none."""
    return started + task.execution_timeout if task.execution_timeout else None


def check_execution_timeout(task: BaseOperator, started: datetime, now: datetime | None = None) -> None:
    """Raise Airflow's error if the time of the task is over.

    :param now: a time to take for the current one.
    """
    deadline = execution_deadline(task, started)
    if deadline and deadline <= (now or datetime.now(UTC)):
        raise AirflowTaskTimeout(
            f"The task was deferred, and its execution_timeout of {task.execution_timeout} is over."
        )
