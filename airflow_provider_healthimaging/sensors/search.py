"""The sensor: wait for image sets, and hand them on as the operator would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_healthimaging.search.validation import LONGEST_WAIT, check_timedelta, check_whole_number, to_json
from airflow_provider_healthimaging.task.aws_base import AwsBaseSensor
from airflow_provider_healthimaging.search.criteria import parse_criteria
from airflow_provider_healthimaging.task.delivery import announce, deliver
from airflow_provider_healthimaging.exceptions import HealthImagingError, InvalidArgumentError
from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.links.healthimaging import HealthImagingDatastoreLink
from airflow_provider_healthimaging.search.match import parse_match
from airflow_provider_healthimaging.search.readiness import is_ready, is_still_ready
from airflow_provider_healthimaging.task.run_window import OwnedWindow
from airflow_provider_healthimaging.task.base import ImageSetSearchTask
from airflow_provider_healthimaging.task.failure import failing_at_once
from airflow_provider_healthimaging.triggers.healthimaging import HealthImagingImageSetTrigger
from airflow_provider_healthimaging.window import TimeWindow, isoformat, parse_instant, window_until

FAR = "9999-12-31T00:00:00Z"


class HealthImagingImageSetSensor(ImageSetSearchTask, AwsBaseSensor[HealthImagingHook]):
    """Wait until image sets are there, and return what the operator would return for the same window.

    ``poke``, ``reschedule`` and ``deferrable`` give the same result, the same XCom and the same errors. A poke costs
    one call while there is nothing to find. Throttling and passing faults do not end the wait; what no retry will
    cure fails the task at once, and ``soft_fail`` skips it only when the time is up.

    Besides the arguments of
    :class:`~airflow_provider_healthimaging.operators.healthimaging.HealthImagingSearchImageSetsOperator` (all but
    ``delay`` and ``on_empty``) and those of every sensor:

    :param min_image_sets: how many image sets to wait for.
    :param quiet_period: wait until none of those found has changed for so long, by its ``updatedAt``. That is how
        DICOM routers decide that a study is complete; it cannot know what has not been sent yet.
    :param open_ended: let the window's end follow the clock, in place of the run's own end.
    :param deferrable: wait in the triggerer; default ``[operators] default_deferrable``.
    """

    aws_hook_class = HealthImagingHook
    operator_extra_links = (HealthImagingDatastoreLink(),)
    ui_color = "#d5e8e4"

    def __init__(
        self,
        *,
        min_image_sets: int = 1,
        quiet_period: timedelta | None = None,
        open_ended: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        """Hold the arguments, and check those that are no templates."""
        super().__init__(**kwargs)
        self.min_image_sets = check_whole_number("min_image_sets", min_image_sets)
        self.quiet_period = (
            None if quiet_period is None else check_timedelta("quiet_period", quiet_period, LONGEST_WAIT)
        )
        self.open_ended = open_ended
        self.deferrable = deferrable
        if open_ended and (self.time_field is None or self.window_end):
            raise InvalidArgumentError(
                "open_ended=True needs a window whose end it can move: give a time_field, and no window_end."
            )
        if deferrable and self.silent_fail:
            raise InvalidArgumentError("silent_fail=True works in the modes poke and reschedule, not with deferrable.")

    @failing_at_once
    def execute(self, context: Any) -> Any:
        """Look until it is there, in the way that the mode says."""
        self.check_arguments(rendered=True)
        if not self.deferrable:
            return super().execute(context)
        with self._skipping_what_is_out_of_time():
            return self._poke_or_defer(context, datetime.now(UTC) + timedelta(seconds=self.timeout))

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Look again after the trigger has fired."""
        deadline = parse_instant(event["deadline"], "deadline")
        if event["status"] == "timeout":
            raise self._timed_out(context, deadline)
        return self._poke_or_defer(context, deadline, event.get("error"))

    @failing_at_once
    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Go on after a deferral; ``soft_fail`` skips only what is out of time, as it does without a deferral."""
        with self._skipping_what_is_out_of_time():
            return super(BaseSensorOperator, self).resume_execution(next_method, next_kwargs, context)

    def poke(self, context: Any) -> bool | PokeReturnValue:
        """Look once, and hand on what is there if it is what was waited for."""
        owned = self.own_window(context)
        try:
            if not self._is_ready(owned):
                self.log.info("Not there yet: %s.", self._awaited(owned))
                return False
            self.tell_window(owned)
            delivery = deliver(self, context, owned)
        except HealthImagingError as error:
            if not error.retryable:
                raise
            self.log.warning("Could not look, and will again: %s", error)
            return False
        if not is_still_ready(
            delivery.image_sets,
            delivery.stats.changed,
            min_image_sets=self.min_image_sets,
            quiet_since=self._quiet_since(),
        ):
            self.log.info("Changed since it was there; looking again for %s.", self._awaited(owned))
            return False
        return PokeReturnValue(is_done=True, xcom_value=announce(self, context, delivery))

    def own_window(self, context: Any, *, window_end: str | None = None) -> OwnedWindow | None:
        """Return the window to look at now."""
        if not self.open_ended:
            return super().own_window(context, window_end=window_end)
        owned = super().own_window(context, window_end=FAR)
        return owned and OwnedWindow(window_until(owned.window.start, datetime.now(UTC)), f"{owned.rule}; open-ended")

    def _is_ready(self, owned: OwnedWindow | None) -> bool:
        found = self.hook.search_image_sets(
            self.datastore_id,
            window=owned.window if owned else None,
            time_field=self.time_field,
            search_criteria=self.search_criteria.value,
            match=self.match.value,
        )
        return is_ready(found, min_image_sets=self.min_image_sets, quiet_since=self._quiet_since())

    def _quiet_since(self) -> datetime | None:
        return None if self.quiet_period is None else datetime.now(UTC) - self.quiet_period

    def _awaited(self, owned: OwnedWindow | None) -> str:
        quiet = "" if self.quiet_period is None else f", unchanged for {self.quiet_period}"
        within = f" with {self.time_field} in [{', '.join(owned.window.to_dict().values())})" if owned else ""
        return f"{self.min_image_sets} image set(s){within}{quiet}, in data store {self.datastore_id}"

    def _poke_or_defer(self, context: Any, deadline: datetime, failure: str | None = None) -> Any:
        try:
            done = self._poke_after(context, failure)
        except Exception as error:
            if self.never_fail:
                raise AirflowSkipException("Skipping due to never_fail is set to True.") from error
            raise
        if isinstance(done, PokeReturnValue):
            return done.xcom_value
        if datetime.now(UTC) >= deadline:
            raise self._timed_out(context, deadline)
        owned = self.own_window(context)
        window = owned.window if owned else None
        return self.defer(trigger=self._trigger(window, deadline), method_name="execute_complete")

    @contextmanager
    def _skipping_what_is_out_of_time(self) -> Iterator[None]:
        try:
            yield
        except AirflowSensorTimeout as timeout:
            if self.soft_fail:
                raise AirflowSkipException("Skipping due to soft_fail is set to True.") from timeout
            raise

    def _timed_out(self, context: Any, deadline: datetime) -> AirflowSensorTimeout:
        awaited = self._awaited(self.own_window(context))
        return AirflowSensorTimeout(f"Sensor has timed out: {awaited} not there by {isoformat(deadline)}.")

    def _poke_after(self, context: Any, failure: str | None) -> bool | PokeReturnValue:
        """Look, and give way to what ended the trigger where that does not show here, too."""
        done = self.poke(context)
        if failure and not done:
            raise HealthImagingError(failure)
        return done

    def _trigger(self, window: TimeWindow | None, deadline: datetime) -> HealthImagingImageSetTrigger:
        return HealthImagingImageSetTrigger(
            datastore_id=self.datastore_id,
            window_start=isoformat(window.start) if window else None,
            window_end=isoformat(window.end) if window and not self.open_ended else None,
            time_field=self.time_field,
            search_criteria=to_json(parse_criteria(self.search_criteria.value)),
            match=to_json(parse_match(self.match.value)),
            min_image_sets=self.min_image_sets,
            quiet_period=None if self.quiet_period is None else self.quiet_period.total_seconds(),
            poke_interval=self.poke_interval,
            deadline=isoformat(deadline),
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            botocore_config=self.botocore_config,
        )
