"""A task that starts an import job and waits for it: in its slot or in the triggerer, with the same end."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_healthimaging.aws.connection_arguments import check_config_arguments
from airflow_provider_healthimaging.aws.import_job_error_table import THROTTLED, TOO_MANY_JOBS
from airflow_provider_healthimaging.exceptions import (
    HealthImagingError,
    ImportReportMissingError,
    ServiceError,
    WaitTimeoutError,
)
from airflow_provider_healthimaging.imports.request import ImportRequest
from airflow_provider_healthimaging.search.criteria import parse_bool
from airflow_provider_healthimaging.search.validation import (
    MAX_DELAY,
    check_whole_number,
    parse_duration,
    parse_interval,
)
from airflow_provider_healthimaging.task.deferral import (
    LAST_POLL_GRACE,
    check_execution_timeout,
    execution_deadline,
    first_start,
    has_trigger_reported,
)
from airflow_provider_healthimaging.task.delivery import publish_summary
from airflow_provider_healthimaging.task.failure import fail_without_retry
from airflow_provider_healthimaging.task.import_delivery import summarize
from airflow_provider_healthimaging.task.import_job import ImportJobTask
from airflow_provider_healthimaging.task.import_once import find_or_start
from airflow_provider_healthimaging.task.private_fields import MaskedField
from airflow_provider_healthimaging.window import format_utc, parse_instant

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from airflow_provider_healthimaging.output.destination import OutputRequest
    from airflow_provider_healthimaging.task.delivery import Result


class StartImportJobTask(ImportJobTask):
    """What the operator does. Its arguments are documented there."""

    import_configuration = MaskedField()
    private_fields = ("import_configuration", "s3_extra_args")
    _started: datetime

    def __init__(
        self,
        *,
        input_s3_uri: str,
        output_s3_uri: str,
        data_access_role_arn: str,
        job_name: str | None,
        client_token: str | None,
        input_owner_account_id: str | None,
        import_configuration: Mapping[str, object] | str | None,
        check_input: bool,
        wait_for_completion: bool,
        waiter_delay: timedelta | float,
        waiter_max_attempts: int,
        deferrable: bool,
        **kwargs: Any,  # the other arguments of the operator
    ) -> None:
        """Hold the template fields as they are, and check the other arguments."""
        super().__init__(**kwargs)
        self.input_s3_uri = input_s3_uri
        self.output_s3_uri = output_s3_uri
        self.data_access_role_arn = data_access_role_arn
        self.job_name = job_name
        self.client_token = client_token
        self.input_owner_account_id = input_owner_account_id
        self.import_configuration = import_configuration
        with self.argument_checks():
            self.reject_templates(
                check_input=check_input,
                wait_for_completion=wait_for_completion,
                waiter_delay=waiter_delay,
                waiter_max_attempts=waiter_max_attempts,
                deferrable=deferrable,
            )
            self.check_input = parse_bool("check_input", check_input)
            self.wait_for_completion = parse_bool("wait_for_completion", wait_for_completion)
            self.waiter_delay = parse_interval("waiter_delay", waiter_delay)
            self.waiter_max_attempts = check_whole_number("waiter_max_attempts", waiter_max_attempts, 10**6)
            self.max_wait = parse_duration(
                "waiter_delay * waiter_max_attempts", self.waiter_delay * self.waiter_max_attempts, MAX_DELAY
            )
            self.deferrable = parse_bool("deferrable", deferrable)
            check_config_arguments(self.botocore_config, json_only=self.deferrable)
        self._job_id: str | None = None

    @property
    def retry_starts_another_job(self) -> bool:
        """Whether a retry has another client token, and so another job."""
        return not self.client_token

    @abstractmethod
    def make_trigger(self, job_id: str | None, deadline: datetime, started: datetime) -> BaseTrigger:
        """Return the trigger that waits for the job, or until another try to start one if there is none."""

    def start_and_wait(self, context: Context) -> Result | str:
        """Check all arguments and the input, then start the job or find it, and wait for its end."""
        request, output = self.parse_request(), self.parse_output()
        self.mapping_limit(context, output)
        if self.check_input:
            self.import_files.measure_input(request).check()
        self._started = first_start(context)
        deadline = datetime.now(UTC) + self.max_wait
        if self.deferrable:
            deadline = min(deadline, execution_deadline(self, self._started) or deadline)
        return self._wait(context, output, deadline, None)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Result | str:
        """Continue after the triggerer has waited."""
        self._started = first_start(context, event)
        check_execution_timeout(self, self._started)
        deadline = parse_instant(event["deadline"], "deadline")
        error = event.get("error") if event["status"] == "failed" else None
        return self._wait(context, self.parse_output(), deadline, event["job_id"], error)

    @fail_without_retry
    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after a deferral. If no triggerer has run the trigger, time out as without a deferral."""
        if not has_trigger_reported(self, context, next_method, next_kwargs):
            raise WaitTimeoutError(
                "The wait for the import job has timed out. Its trigger has not reported: check that a triggerer is "
                "running. The job goes on, and a retry waits for it."
            )
        return BaseOperator.resume_execution(self, next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Say that the job goes on, because the service cannot cancel it."""
        if self._job_id:
            self.log.warning("The task is stopped, but import job %s goes on: it cannot be cancelled.", self._job_id)

    def parse_request(self) -> ImportRequest:
        """Return what to import; all template fields must be rendered."""
        self.check_private_fields_rendered()
        self.check_connection()
        return ImportRequest.parse(
            self.datastore_id,
            input_s3_uri=self.input_s3_uri,
            output_s3_uri=self.output_s3_uri,
            data_access_role_arn=self.data_access_role_arn,
            job_name=self.job_name,
            client_token=self.client_token,
            input_owner_account_id=self.input_owner_account_id,
            import_configuration=self.import_configuration.value,
        )

    def _wait(
        self,
        context: Context,
        output: OutputRequest,
        deadline: datetime,
        job_id: str | None,
        trigger_error: str | None = None,
    ) -> Result | str:
        """Start the job unless there is one, and look at it until it has ended, or until the deadline.

        :param trigger_error: the error that ended the trigger. It is raised if it does not show up here as well.
        """
        while True:
            job_id = self._job_id = job_id or self._start(context)
            last = datetime.now(UTC) >= deadline
            result = self._look(context, job_id, output, last=last) if job_id else None
            if result is not None:
                return result
            if trigger_error:
                raise HealthImagingError(trigger_error)
            left = deadline - datetime.now(UTC)
            if left <= timedelta(0):
                check_execution_timeout(self, self._started, deadline)
                raise self._timeout_error(job_id, deadline)
            if self.deferrable:
                trigger = self.make_trigger(job_id, deadline, self._started)
                self.defer(trigger=trigger, method_name="execute_complete", timeout=left + LAST_POLL_GRACE)
            time.sleep(min(self.waiter_delay, left).total_seconds())

    def _start(self, context: Context) -> str | None:
        """Start the job or find it, and return its id; ``None`` if the service takes no job now."""
        request = self.parse_request()
        try:
            job_id = find_or_start(self.hook, request, context, ended_badly=self._ended_badly, log=self.log)
        except ServiceError as error:
            if error.code not in (THROTTLED, TOO_MANY_JOBS):
                raise
            self.log.warning("No import job can be started now; trying again: %s", error)
            return None
        self.log.info("Waiting for import job %s of data store %s.", job_id, request.datastore_id)
        self.persist_links(context, job_id)
        return job_id

    def _look(self, context: Context, job_id: str, output: OutputRequest, *, last: bool) -> Result | str | None:
        if self.wait_for_completion:
            return self.look(context, job_id, output, last=last)
        publish_summary(self, context, summarize(self.hook.get_dicom_import_job(self.datastore_id, job_id), None))
        return job_id

    def _ended_badly(self, job_id: str) -> bool:
        """Whether a job of an earlier attempt ended in a way for which this attempt starts another one."""
        job = self.hook.get_dicom_import_job(self.datastore_id, job_id)
        if job["jobStatus"] != "COMPLETED" or not self.wait_for_completion or self.on_failed_files != "fail":
            return job["jobStatus"] == "FAILED"
        try:
            return self.import_files.read_report(job["outputS3Uri"]).failed > 0
        except ImportReportMissingError:
            return False

    def _timeout_error(self, job_id: str | None, deadline: datetime) -> WaitTimeoutError:
        limit = f"by {format_utc(deadline, timespec='seconds')} (waiter_delay * waiter_max_attempts)"
        if job_id is None:
            return WaitTimeoutError(f"No import job could be started {limit}. The log says why. Retry later.")
        return WaitTimeoutError(
            f"Import job {job_id} has not ended {limit}, or its report is not complete. The job goes on, and a retry "
            "waits for it."
        )
