"""How a sensor waits: in its slot, by reschedule, or in the triggerer, with the same end in all three modes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseOperator,
    BaseSensorOperator,
    PokeReturnValue,
)

from airflow_provider_healthimaging.exceptions import HealthImagingError, InvalidArgumentError
from airflow_provider_healthimaging.search.criteria import parse_bool
from airflow_provider_healthimaging.search.suggestions import unknown_name_error
from airflow_provider_healthimaging.search.validation import parse_duration, parse_interval
from airflow_provider_healthimaging.task.arguments import CheckedArguments
from airflow_provider_healthimaging.task.deferral import (
    LAST_POLL_GRACE,
    check_execution_timeout,
    execution_deadline,
    first_start,
    has_trigger_reported,
)
from airflow_provider_healthimaging.task.failure import fail_without_retry
from airflow_provider_healthimaging.window import format_utc, parse_instant

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import BaseTrigger

MODES = ("poke", "reschedule")


class DeferrableSensor(CheckedArguments, BaseSensorOperator):
    """A sensor that pokes in the worker, and waits between two pokes as its mode says.

    A subclass implements ``poke``, which returns a ``PokeReturnValue`` at the end, :meth:`make_trigger`, whose trigger
    fires ``{"status": "ready" | "timeout" | "failed", "deadline": ..., "error": ...}``, :meth:`restore`, and
    :meth:`describe_wait`. Templates may render to other values when the task resumes. So :meth:`make_trigger` gives the
    trigger what was resolved, the event carries it, and :meth:`restore` takes it up.

    :param deferrable: wait in the triggerer.
    """

    started: datetime
    """When the sensor began, before it was deferred. The trigger's event carries it as ``started``."""

    unanswered: str | None = None
    """The error of the last poke, if it failed. Then nobody knows whether what the sensor waits for is there."""

    def __init__(
        self,
        *,
        deferrable: bool,
        poke_interval: timedelta | float = 60,
        timeout: timedelta | float | None = None,
        mode: str = "poke",
        soft_fail: bool = False,
        exponential_backoff: bool = False,
        max_wait: timedelta | float | None = None,
        silent_fail: bool = False,
        never_fail: bool = False,
        **kwargs: Any,  # the arguments of Airflow's base class
    ) -> None:
        """Check the arguments before Airflow's own sensor, whose errors are of Python's types."""
        waiting: dict[str, Any] = {}
        flags = {
            "soft_fail": soft_fail,
            "exponential_backoff": exponential_backoff,
            "silent_fail": silent_fail,
            "never_fail": never_fail,
        }
        self.deferrable = False
        with self.argument_checks():
            durations = {"poke_interval": poke_interval, "timeout": timeout, "max_wait": max_wait}
            self.reject_templates(deferrable=deferrable, mode=mode, **durations, **flags)
            self.deferrable = parse_bool("deferrable", deferrable)
            check_interval = parse_interval if self.deferrable else parse_duration
            waiting = {
                "poke_interval": check_interval("poke_interval", poke_interval),
                "mode": _check_mode(mode),
                **{name: parse_bool(name, value) for name, value in flags.items()},
            }
            for name, value in (("timeout", timeout), ("max_wait", max_wait)):
                if value is not None:
                    waiting[name] = parse_duration(name, value)
            self._check_flags(waiting)
        super().__init__(**waiting, **kwargs)

    def _check_flags(self, flags: Mapping[str, object]) -> None:
        if flags["soft_fail"] and flags["never_fail"]:
            raise InvalidArgumentError("soft_fail and never_fail exclude each other. Set only one of them.")
        if self.deferrable and flags["silent_fail"]:
            raise InvalidArgumentError("silent_fail=True works in the modes poke and reschedule, not with deferrable.")

    @abstractmethod
    def make_trigger(self, context: Context, deadline: datetime) -> BaseTrigger:
        """Return the trigger that waits for the next poke."""

    def restore(self, event: Mapping[str, Any]) -> None:
        """Take up what was resolved before the deferral, from the event of the trigger."""

    @abstractmethod
    def describe_wait(self, context: Context) -> str:
        """Return what the sensor waits for, for its timeout error."""

    def execute(self, context: Context) -> Any:  # the base class returns anything
        """Poke until the end."""
        if not self.deferrable:
            return self._poke_in_slot(context)
        with self._soft_fail_skips_timeout():
            self.started = first_start(context)
            deadline = datetime.now(UTC) + timedelta(seconds=self.timeout)
            return self._poke_or_defer(context, min(deadline, execution_deadline(self, self.started) or deadline))

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> object:
        """Poke again after the trigger has fired."""
        self.restore(event)
        self.started = first_start(context, event)
        deadline = parse_instant(event["deadline"], "deadline")
        check_execution_timeout(self, self.started)
        if event["status"] == "timeout":
            self.unanswered = event.get("error")
            raise self._timeout_error(context, deadline)
        return self._poke_or_defer(context, deadline, event.get("error"))

    @fail_without_retry
    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after a deferral. If no triggerer has run the trigger, time out as in the other modes."""
        reported = has_trigger_reported(self, context, next_method, next_kwargs)
        with self._soft_fail_skips_timeout():
            if not reported:
                raise AirflowSensorTimeout(
                    "Sensor has timed out, and its trigger has not reported. Check that a triggerer is running."
                )
            # Not the method of Airflow's sensor: there, soft_fail skips a task that failed for any reason.
            return BaseOperator.resume_execution(self, next_method, next_kwargs, context)

    def _poke_in_slot(self, context: Context) -> object:
        try:
            return super().execute(context)
        except AirflowSkipException as skipped:
            if self.unanswered is None:
                raise
            error = AirflowSensorTimeout(f"{skipped} The last poke failed: {self.unanswered}")
        raise error

    @contextmanager
    def _soft_fail_skips_timeout(self) -> Iterator[None]:
        try:
            yield
        except AirflowSensorTimeout as timeout:
            if self.soft_fail and self.unanswered is None:
                raise AirflowSkipException(f"{timeout} The task is skipped because soft_fail is True.") from timeout
            raise

    def _poke_or_defer(self, context: Context, deadline: datetime, trigger_error: str | None = None) -> object:
        try:
            done = self._poke_after(context, trigger_error)
        except Exception as error:
            if self.never_fail:
                raise AirflowSkipException("Skipping due to never_fail is set to True.") from error
            raise
        if isinstance(done, PokeReturnValue):
            return done.xcom_value
        left = deadline - datetime.now(UTC)
        if left <= timedelta(0):
            raise self._timeout_error(context, deadline)
        trigger = self.make_trigger(context, deadline)
        return self.defer(trigger=trigger, method_name="execute_complete", timeout=left + LAST_POLL_GRACE)

    def _poke_after(self, context: Context, trigger_error: str | None) -> bool | PokeReturnValue:
        """Poke, and raise the error that ended the trigger if the image sets are not there and no error is raised."""
        done = self.poke(context)
        if trigger_error and not done:
            raise HealthImagingError(trigger_error)
        return done

    def _timeout_error(self, context: Context, deadline: datetime) -> AirflowSensorTimeout:
        # The triggerer's clock may be ahead, so the deadline counts, and not the time.
        check_execution_timeout(self, self.started, deadline)
        text = f"Sensor has timed out: {self.describe_wait(context)} not there by {format_utc(deadline)}."
        return AirflowSensorTimeout(f"{text} The last poke failed: {self.unanswered}" if self.unanswered else text)


def _check_mode(mode: object) -> str:
    if not isinstance(mode, str) or mode not in MODES:
        raise unknown_name_error("mode", mode, MODES)
    return mode
