"""What the hook can ask about import jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_healthimaging.aws.import_jobs import get_import_job, list_import_jobs, start_import_job
from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.hooks.connection import ServiceConnection
from airflow_provider_healthimaging.hooks.import_files import ImportFilesHook
from airflow_provider_healthimaging.imports.arguments import check_job_id
from airflow_provider_healthimaging.imports.job import JOB_STATUSES
from airflow_provider_healthimaging.imports.report import WARNINGS_GRACE
from airflow_provider_healthimaging.imports.request import ImportRequest
from airflow_provider_healthimaging.search.suggestions import unknown_name_error
from airflow_provider_healthimaging.search.validation import MAX_DELAY, check_datastore_id, parse_duration

if TYPE_CHECKING:
    from airflow_provider_healthimaging.imports.job import ImportJob, JobSummary, StartedJob
    from airflow_provider_healthimaging.imports.report import ImportReport

REPORT_POLL_SECONDS = 1.0
"""The pause before the output of a job is looked for again."""


class ImportJobCalls(ServiceConnection):
    """The part of ``HealthImagingHook`` that is about import jobs."""

    def start_dicom_import_job(
        self,
        datastore_id: str,
        *,
        input_s3_uri: str,
        output_s3_uri: str,
        data_access_role_arn: str,
        job_name: str | None = None,
        client_token: str | None = None,
        input_owner_account_id: str | None = None,
        import_configuration: Mapping[str, object] | str | None = None,
    ) -> StartedJob:
        """Start a job that imports everything under a prefix.

        `StartDICOMImportJob
        <https://docs.aws.amazon.com/healthimaging/latest/APIReference/API_StartDICOMImportJob.html>`__ may be called
        once a second. Throttled calls are retried in up to ten attempts.

        :param datastore_id: 32 characters of 0-9 and a-z.
        :param input_s3_uri: ``s3://bucket/prefix/``, with a slash at the end.
        :param output_s3_uri: ``s3://bucket/prefix/``, not under the input.
        :param data_access_role_arn: the role with which the service reads the input and writes the output.
        :param job_name: a name for the job.
        :param client_token: two calls with the same token and the same arguments start one job. Without one, botocore
            makes a random one, so a second call starts a second job.
        :param input_owner_account_id: the account of the input's bucket, if it is another account.
        :param import_configuration: AWS's ``importConfiguration``, or its JSON text.
        :return: ``datastoreId``, ``jobId``, ``jobStatus`` and ``submittedAt``, in UTC.
        :raises InvalidArgumentError: for everything that the service would reject, before the call.
        :raises ServiceError: with the ``code`` ``ServiceQuotaExceededException`` if too many jobs run at a time.
        """
        request = ImportRequest.parse(
            datastore_id,
            input_s3_uri=input_s3_uri,
            output_s3_uri=output_s3_uri,
            data_access_role_arn=data_access_role_arn,
            job_name=job_name,
            client_token=client_token,
            input_owner_account_id=input_owner_account_id,
            import_configuration=import_configuration,
        )
        return self.start_import(request)

    def start_import(self, request: ImportRequest) -> StartedJob:
        """Start the job that a request describes; :meth:`start_dicom_import_job` says more."""
        return start_import_job(self.client_for(request.datastore_id), request, self.location(request.datastore_id))

    def get_dicom_import_job(self, datastore_id: str, job_id: str) -> ImportJob:
        """Return the properties of a job.

        `GetDICOMImportJob
        <https://docs.aws.amazon.com/healthimaging/latest/APIReference/API_GetDICOMImportJob.html>`__ says what they
        are. ``message`` and ``importConfiguration`` may hold patient data.

        :param datastore_id: 32 characters of 0-9 and a-z.
        :param job_id: the ``jobId`` of :meth:`start_dicom_import_job`.
        :return: ``jobProperties``, with times in UTC.
        :raises InvalidArgumentError: for an invalid id, before the call.
        :raises DatastoreNotFoundError: if there is no such data store or job.
        """
        client = self.client_for(check_datastore_id(datastore_id))
        return get_import_job(client, datastore_id, check_job_id(job_id), self.location(datastore_id))

    def list_dicom_import_jobs(self, datastore_id: str, *, job_status: str | None = None) -> Iterator[JobSummary]:
        """Iterate over the jobs of a data store, as far as the service keeps them (90 days).

        `ListDICOMImportJobs
        <https://docs.aws.amazon.com/healthimaging/latest/APIReference/API_ListDICOMImportJobs.html>`__ gives 50 jobs a
        call. ``message`` may hold patient data.

        :param datastore_id: 32 characters of 0-9 and a-z.
        :param job_status: ``"SUBMITTED"``, ``"IN_PROGRESS"``, ``"COMPLETED"`` or ``"FAILED"``; ``None`` for all.
        :return: an iterator of job summaries shaped as boto3 gives them, with times in UTC.
        :raises InvalidArgumentError: for bad arguments, at once.
        :raises HealthImagingError: while iterating; see :mod:`airflow_provider_healthimaging.exceptions`.
        """
        status = next((each for each in JOB_STATUSES if each == job_status), None)
        if job_status is not None and status is None:
            raise unknown_name_error("job_status", job_status, JOB_STATUSES)
        client = self.client_for(check_datastore_id(datastore_id))
        return list_import_jobs(client, datastore_id, status, self.location(datastore_id))

    def read_import_report(
        self,
        datastore_id: str,
        job_id: str,
        *,
        wait: timedelta | float = 60,
        s3_conn_id: str | None = None,
    ) -> ImportReport:
        """Read what a completed job did, from the files that it wrote to S3.

        It holds counts, failed files by the type of their error, and image sets; no names of files, and no messages.

        :param datastore_id: 32 characters of 0-9 and a-z.
        :param job_id: the ``jobId`` of :meth:`start_dicom_import_job`.
        :param wait: how long to wait for the files, which may come after the job has completed: ``timedelta`` or
            seconds.
        :param s3_conn_id: the AWS connection for S3; default that of the hook.
        :raises ImportReportMissingError: if the files are not there in time.
        :raises InvalidImportReportError: if a file cannot be read.
        """
        started, limit = time.monotonic(), parse_duration("wait", wait, MAX_DELAY).total_seconds()
        job = self.get_dicom_import_job(datastore_id, job_id)
        files = self.import_files(s3_conn_id)
        while True:
            waited = time.monotonic() - started
            try:
                report = files.read_report(job["outputS3Uri"])
                if not report.warnings_pending or waited >= min(limit, WARNINGS_GRACE.total_seconds()):
                    return report
            except HealthImagingError as error:
                if not error.retryable or waited >= limit:
                    raise
            time.sleep(min(REPORT_POLL_SECONDS, max(limit - waited, 0)))

    def import_files(self, s3_conn_id: str | None = None) -> ImportFilesHook:
        """Return the hook that reads the files of import jobs in S3.

        :param s3_conn_id: the AWS connection for S3; default that of this hook.
        """
        return ImportFilesHook(aws_conn_id=s3_conn_id or self.aws_conn_id, verify=self.given_verify)
