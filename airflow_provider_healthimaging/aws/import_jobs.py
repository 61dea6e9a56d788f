"""The calls about import jobs: StartDICOMImportJob, GetDICOMImportJob, ListDICOMImportJobs."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_healthimaging.aws.errors import (
    CALL_ERRORS,
    incomplete_response_error,
    to_provider_error,
    translate_errors,
)
from airflow_provider_healthimaging.exceptions import ConfigurationError, HealthImagingError

if TYPE_CHECKING:
    from types_boto3_medical_imaging import HealthImagingClient

    from airflow_provider_healthimaging.imports.job import ImportJob, JobStatus, JobSummary, StartedJob
    from airflow_provider_healthimaging.imports.request import ImportRequest


def start_import_job(client: HealthImagingClient, request: ImportRequest, location: str) -> StartedJob:
    """Start a job, or find the one that was started with the same client token."""
    if request.import_configuration is not None and not _knows_import_configuration(client):
        raise ConfigurationError("This version of botocore does not know import_configuration. Update boto3.")
    call: Any = partial(client.start_dicom_import_job, **cast("Any", request.to_parameters()))  # the stubs' own types
    response = translate_errors(call, location)
    if not isinstance(response.get("jobId"), str):
        raise incomplete_response_error("StartDICOMImportJob", location)
    return cast("StartedJob", _in_utc(response))


def get_import_job(client: HealthImagingClient, datastore_id: str, job_id: str, location: str) -> ImportJob:
    """Return the properties of a job."""
    response = translate_errors(
        lambda: client.get_dicom_import_job(datastoreId=datastore_id, jobId=job_id), f"job {job_id}, {location}"
    )
    job = cast("Mapping[str, object]", response).get("jobProperties") or {}
    if not {"jobStatus", "outputS3Uri", "inputS3Uri"} <= cast("Mapping[str, object]", job).keys():
        raise incomplete_response_error("GetDICOMImportJob", location)
    return cast("ImportJob", _in_utc(cast("Mapping[str, object]", job)))


def list_import_jobs(
    client: HealthImagingClient, datastore_id: str, job_status: JobStatus | None, location: str
) -> Generator[JobSummary]:
    """Yield the jobs of a data store, in the service's order."""
    paginator: Any = client.get_paginator("list_dicom_import_jobs")  # the stubs have their own types of the arguments
    by_status = {"jobStatus": job_status} if job_status else {}
    problem: HealthImagingError | None = None
    try:
        for page in paginator.paginate(datastoreId=datastore_id, **by_status):
            if "jobSummaries" not in page:
                raise incomplete_response_error("ListDICOMImportJobs", location)
            yield from (cast("JobSummary", _in_utc(job)) for job in page["jobSummaries"])
    except CALL_ERRORS as error:
        problem = to_provider_error(error, location)
    if problem:
        raise problem


def _knows_import_configuration(client: HealthImagingClient) -> bool:
    shape: Any = client.meta.service_model.operation_model("StartDICOMImportJob").input_shape
    return "importConfiguration" in shape.members


def _in_utc(response: Mapping[str, object]) -> dict[str, object]:
    """Return a response with its times in UTC, because botocore gives them in the machine's zone."""
    given = {name: value for name, value in response.items() if name != "ResponseMetadata"}
    return {name: value.astimezone(UTC) if isinstance(value, datetime) else value for name, value in given.items()}
