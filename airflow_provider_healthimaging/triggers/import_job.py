"""The trigger that waits for an import job on behalf of a task. It knows only what ``serialize()`` returns."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_healthimaging.imports.arguments import check_job_id
from airflow_provider_healthimaging.imports.job import ENDED
from airflow_provider_healthimaging.triggers.feed import Feed, shared_feed
from airflow_provider_healthimaging.triggers.running_jobs import RunningJobs
from airflow_provider_healthimaging.triggers.waiting import Status, WaitingTrigger

if TYPE_CHECKING:
    from airflow_provider_healthimaging.aws.connection_arguments import ConfigArguments


class HealthImagingDicomImportJobTrigger(WaitingTrigger):
    """Wait until an import job has ended, well or badly, or until the deadline.

    It fires one event, ``{"status": "ready" | "timeout" | "failed", "deadline": ..., "job_id": ..., "error": ...}``,
    after which the task looks at the job by itself. Throttling and other retryable errors are logged, and do not end
    the wait.

    :param datastore_id: the data store's id.
    :param job_id: the job's id. ``None`` while no job could be started: then the trigger waits for one interval, after
        which the task tries again. It does not know what to import, because that may be patient data.
    :param poke_interval: the pause between two calls, plus or minus a fifth: ``timedelta`` or seconds.
    :param deadline: ISO 8601 time at which to give up.
    :param started: ISO 8601 time at which the task began. The event hands it back.
    :param exponential_backoff: let the pause double from poll to poll, counted from ``started``.
    :param max_wait: the longest pause then: ``timedelta`` or seconds; ``None`` for any.
    :param aws_conn_id: the Airflow connection for AWS.
    :param region_name: AWS region; default that of the connection.
    :param verify: whether to verify TLS certificates, or the path of a CA bundle.
    :param botocore_config: settings for botocore's client, merged with the connection's.
    :raises InvalidArgumentError: for an argument that cannot work.
    """

    shown_arguments = ("datastore_id", "job_id", "deadline")

    def __init__(
        self,
        *,
        datastore_id: str,
        job_id: str | None,
        poke_interval: timedelta | float,
        deadline: str,
        started: str | None = None,
        exponential_backoff: bool = False,
        max_wait: timedelta | float | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: ConfigArguments | None = None,
    ) -> None:
        """Check the arguments; nothing is called before :meth:`run`."""
        super().__init__(
            datastore_id=datastore_id,
            poke_interval=poke_interval,
            deadline=deadline,
            started=started,
            exponential_backoff=exponential_backoff,
            max_wait=max_wait,
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            verify=verify,
            botocore_config=botocore_config,
        )
        self.job_id = None if job_id is None else check_job_id(job_id)

    def is_ready(self) -> bool:
        """Ask for the state of the job."""
        if self.job_id is None:
            return True
        job = self.cached_hook().get_dicom_import_job(self.datastore_id, self.job_id)
        return job["jobStatus"] in ENDED

    def feed(self) -> Feed[RunningJobs]:
        """Return the feed of the jobs that have not ended."""
        return shared_feed(self.feed_key("import jobs"), lambda: RunningJobs(self.datastore_id, self.cached_hook))

    def has_news(self, source: RunningJobs) -> bool:
        """Whether the job is not among those that run."""
        return self.job_id is None or (source.job_ids is not None and self.job_id not in source.job_ids)

    def status(self, status: str) -> Status:
        """Return the payload of an event."""
        return {**super().status(status), "job_id": self.job_id}
