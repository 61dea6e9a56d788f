"""Hands on what an import job did: its records to XCom or to a dataset in S3, and a summary with both."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, TypedDict

from airflow_provider_healthimaging.exceptions import (
    FilesNotImportedError,
    ImportJobFailedError,
    NonPrimaryImageSetsError,
)
from airflow_provider_healthimaging.imports.report import FAILURE
from airflow_provider_healthimaging.output.import_dataset import write_import
from airflow_provider_healthimaging.output.records import to_record
from airflow_provider_healthimaging.task.delivery import Result, collect_for_xcom, write_dataset
from airflow_provider_healthimaging.window import TimeWindow

if TYPE_CHECKING:
    from airflow_provider_healthimaging.imports.job import ImportJob
    from airflow_provider_healthimaging.imports.report import ImportReport
    from airflow_provider_healthimaging.output.dataset import DatasetSummary
    from airflow_provider_healthimaging.output.destination import OutputRequest
    from airflow_provider_healthimaging.output.records import Record


class ImportSummary(TypedDict):
    """The XCom ``summary``: the job, its counts, and where its output is. It holds no name of a file.

    ``window`` is the time of the job, with a second added, so that a search by ``updatedAt`` in a DAG that the task's
    outlet starts finds the job's image sets. ``output_s3_uri`` is the folder of the job's report, and ``output`` where
    the records are. Counts are ``None`` as long as the job has no report.
    """

    datastore_id: str
    job_id: str
    status: str
    time_field: str
    window: dict[str, str] | None
    seconds: float | None
    scanned: int | None
    imported: int | None
    failed: int | None
    with_warnings: int | None
    failed_by_type: dict[str, int]
    image_sets: int | None
    output_s3_uri: str
    output: str | None


def summarize(job: ImportJob, report: ImportReport | None) -> ImportSummary:
    """Return the summary of a job, without the place of the records."""
    submitted, ended = job.get("submittedAt"), job.get("endedAt")
    took = ended - submitted if submitted and ended else None
    window = TimeWindow(submitted, ended + timedelta(seconds=1)) if submitted and ended and submitted <= ended else None
    return {
        "datastore_id": job["datastoreId"],
        "job_id": job["jobId"],
        "status": job["jobStatus"],
        "time_field": "updatedAt",
        "window": window.to_dict() if window else None,
        "seconds": round(took.total_seconds(), 3) if took else None,
        "scanned": report.scanned if report else None,
        "imported": report.imported if report else None,
        "failed": report.failed if report else None,
        "with_warnings": report.with_warnings if report else None,
        "failed_by_type": dict(report.failed_by_type) if report else {},
        "image_sets": len(report.image_sets) if report else None,
        "output_s3_uri": job["outputS3Uri"],
        "output": None,
    }


def job_failed_error(job: ImportJob) -> ImportJobFailedError:
    """Return the error for a job that ended as FAILED. The service's message may name files, so it is not passed on."""
    return ImportJobFailedError(
        f"Import job {job['jobId']} ended as FAILED. Its message is not shown, because it may hold patient data: read "
        "it in the HealthImaging console or with get-dicom-import-job. Often data_access_role_arn may not read the "
        "input, write the output, or use their KMS keys."
    )


def describe_failures(report: ImportReport) -> str:
    """Return how many files failed, by the type of the error, and where the list is."""
    types = ", ".join(f"{kind}: {count}" for kind, count in report.failed_by_type.items())
    return (
        f"{report.failed} of {report.failed + report.imported} files were not imported ({types}). The list with names "
        f"and reasons is {report.output_s3_uri}{FAILURE}; it may hold patient data."
    )


def check_result(report: ImportReport, *, fail_on_files: bool, require_primary: bool) -> None:
    """Raise if the result of a completed job is not good enough.

    :raises FilesNotImportedError: for failed files.
    :raises NonPrimaryImageSetsError: for image sets that are not primary.
    """
    if report.failed and fail_on_files:
        raise FilesNotImportedError(
            f"{describe_failures(report)} Correct or remove these files, and clear the task, which then starts another "
            "job, unless client_token is given: change it. Or set on_failed_files to 'warn' or 'ignore'."
        )
    if report.not_primary and require_primary:
        raise NonPrimaryImageSetsError(
            f"{report.not_primary} of {len(report.image_sets)} image sets are not primary: their patient, study or "
            "series data conflict with what was in the data store. Compare their metadata with those of the primary "
            f"image set, or set require_primary=False. The list is in {report.output_s3_uri}."
        )


def hand_on(
    job: ImportJob, report: ImportReport, output: OutputRequest, *, limit: int | None
) -> tuple[Result, str, DatasetSummary | None]:
    """Return the task's result, where it is, and the dataset that was written, if one was.

    :param limit: the most items that a task can be mapped over, if one is mapped over the result.
    """
    records = _records(job["datastoreId"], report)
    destination = output.s3
    if destination is None:
        fewer = "import fewer files with each job"
        return collect_for_xcom(records, output, limit, fewer=fewer), "XCom", None
    dataset = write_dataset(
        destination, lambda hook: write_import(hook, destination, job["datastoreId"], job["jobId"], records)
    )
    return dataset, dataset["s3_uri"], dataset


def _records(datastore_id: str, report: ImportReport) -> Iterator[Record]:
    for image_set in report.image_sets:
        record = to_record({"imageSetId": image_set["imageSetId"]}, datastore_id)
        yield {**record, "version": image_set["version"], "isPrimary": image_set["isPrimary"]}
