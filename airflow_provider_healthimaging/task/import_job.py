"""What operator and sensor of import jobs have in common: arguments, and the look at a job that may have ended."""

from __future__ import annotations

from abc import abstractmethod
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_healthimaging.aws.connection_arguments import check_conn_id
from airflow_provider_healthimaging.exceptions import HealthImagingError, ImportJobError, ImportReportMissingError
from airflow_provider_healthimaging.imports.job import ENDED
from airflow_provider_healthimaging.imports.report import WARNINGS_GRACE
from airflow_provider_healthimaging.links.healthimaging import (
    HealthImagingDatastoreLink,
    HealthImagingDicomImportJobLink,
)
from airflow_provider_healthimaging.search.criteria import parse_bool
from airflow_provider_healthimaging.search.suggestions import unknown_name_error
from airflow_provider_healthimaging.task.delivery import publish_summary
from airflow_provider_healthimaging.task.import_delivery import (
    check_result,
    describe_failures,
    hand_on,
    job_failed_error,
    summarize,
)
from airflow_provider_healthimaging.task.record_task import RecordTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_healthimaging.hooks.import_files import ImportFilesHook
    from airflow_provider_healthimaging.imports.job import ImportJob
    from airflow_provider_healthimaging.imports.report import ImportReport
    from airflow_provider_healthimaging.output.dataset import DatasetSummary
    from airflow_provider_healthimaging.output.destination import OutputRequest
    from airflow_provider_healthimaging.task.delivery import Result

ON_FAILED_FILES = ("fail", "warn", "ignore")

REPORT_GRACE = timedelta(minutes=10)
"""How long after its end a job's report may be missing. AWS gives no number; users met some seconds."""


class ImportJobTask(RecordTask):
    """The arguments that operator and sensor share. Their meaning is documented at the operator."""

    operator_extra_links = (HealthImagingDicomImportJobLink(), HealthImagingDatastoreLink())

    unanswered: str | None = None
    """The error of the last look at the job, if it failed."""

    def __init__(self, *, on_failed_files: str, require_primary: bool, **kwargs: Any) -> None:
        """Hold the template fields as they are, and check the other arguments."""
        super().__init__(**kwargs)
        with self.argument_checks():
            self.reject_templates(on_failed_files=on_failed_files, require_primary=require_primary)
            if on_failed_files not in ON_FAILED_FILES:
                raise unknown_name_error("on_failed_files", on_failed_files, ON_FAILED_FILES)
            self.on_failed_files = on_failed_files
            self.require_primary = parse_bool("require_primary", require_primary)
        self.dataset: DatasetSummary | None = None
        self._imported_from: str | None = None

    @cached_property
    def import_files(self) -> ImportFilesHook:
        """The hook that reads the input's listing and the job's report in S3."""
        return self.hook.import_files(check_conn_id("s3_conn_id", self.s3_conn_id))

    @property
    @abstractmethod
    def retry_starts_another_job(self) -> bool:
        """Whether a retry of the task can cure a job that ended badly."""

    def parse_output(self) -> OutputRequest:
        """Return where the result goes; all template fields must be rendered."""
        self.check_private_fields_rendered()
        check_conn_id("s3_conn_id", self.s3_conn_id)
        return self.parse_output_arguments()

    def look(self, context: Context, job_id: str, output: OutputRequest, *, last: bool = False) -> Result | None:
        """Look at a job once. If it has ended, and its report is there, hand on the result, else return ``None``.

        Throttling and other retryable errors of the calls do not end the wait.

        :param last: whether there is no time left for a list of warnings that may still come.
        """
        report = None
        self.unanswered = None
        try:
            job = self.hook.get_dicom_import_job(self.datastore_id, job_id)
            if job["jobStatus"] == "COMPLETED":
                report = self.import_files.read_report(job["outputS3Uri"])
        except ImportReportMissingError as missing:
            if _has_ended_for(REPORT_GRACE, job, if_unknown=False):
                raise
            self.log.info("Import job %s is COMPLETED. %s", job_id, missing)
            return None
        except HealthImagingError as error:
            if not error.retryable:
                raise
            self.unanswered = str(error)
            self.log.warning("Poke failed with a retryable error; trying again: %s", error)
            return None
        if job["jobStatus"] not in ENDED:
            self.log.info("Import job %s is %s.", job_id, job["jobStatus"])
            return None
        is_complete = report is None or not report.warnings_pending or last
        if not is_complete and not _has_ended_for(WARNINGS_GRACE, job, if_unknown=True):
            self.log.info("Import job %s is COMPLETED. Its list of warnings may still come.", job_id)
            return None
        return self._finish(context, job, report, output)

    def _finish(self, context: Context, job: ImportJob, report: ImportReport | None, output: OutputRequest) -> Result:
        """Hand on the result of a job that has ended, or raise what is wrong with it. Both push the summary."""
        self._imported_from = job["inputS3Uri"]
        summary = summarize(job, report)
        try:
            checked = self._check(job, report)
        except ImportJobError as problem:
            publish_summary(self, context, summary)
            problem.retryable = problem.retryable and self.retry_starts_another_job
            raise
        limit = self.mapping_limit(context, output)
        result, summary["output"], self.dataset = hand_on(job, checked, output, limit=limit)
        publish_summary(self, context, summary)
        self.log.info(
            "Import job %s: %s files imported, %s failed, %s with warnings; %s image sets. Report: %s. Result: %s.",
            *(job["jobId"], checked.imported, checked.failed, checked.with_warnings, len(checked.image_sets)),
            *(checked.output_s3_uri, summary["output"]),
        )
        return result

    def _check(self, job: ImportJob, report: ImportReport | None) -> ImportReport:
        """Return the report if the job did what was wanted."""
        if report is None:
            raise job_failed_error(job)
        check_result(report, fail_on_files=self.on_failed_files == "fail", require_primary=self.require_primary)
        if report.failed and self.on_failed_files == "warn":
            self.log.warning("%s", describe_failures(report))
        return report

    def persist_links(self, context: Context, job_id: str) -> None:
        """Keep what the links to the job and to the data store need."""
        self.persist_datastore_link(context)
        HealthImagingDicomImportJobLink.persist(
            context,
            self,
            region_name=self.hook.conn_region_name,
            aws_partition=self.hook.conn_partition,
            datastore_id=self.datastore_id,
            job_id=job_id,
        )

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage[Any, Any]:  # noqa: ARG002 - Airflow's
        """Return what was read and written; Airflow's OpenLineage provider asks for it."""
        from airflow_provider_healthimaging.output.lineage import import_lineage

        return import_lineage(self._imported_from, self.datastore_id, self.hook.conn_region_name, self.dataset)


def _has_ended_for(age: timedelta, job: ImportJob, *, if_unknown: bool) -> bool:
    ended = job.get("endedAt")
    return if_unknown if ended is None else datetime.now(UTC) - ended > age
