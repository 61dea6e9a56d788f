"""An import job as the service describes it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NotRequired, TypedDict, get_args

from airflow_provider_healthimaging.imports.arguments import ImportConfiguration

JobStatus = Literal["SUBMITTED", "IN_PROGRESS", "COMPLETED", "FAILED"]
JOB_STATUSES: tuple[JobStatus, ...] = get_args(JobStatus)
RUNNING: tuple[JobStatus, ...] = ("SUBMITTED", "IN_PROGRESS")
ENDED: tuple[JobStatus, ...] = ("COMPLETED", "FAILED")


class StartedJob(TypedDict):
    """The response of StartDICOMImportJob, with its time in UTC."""

    datastoreId: str
    jobId: str
    jobStatus: JobStatus
    submittedAt: datetime


class JobSummary(TypedDict):
    """One entry of ``jobSummaries``, with times in UTC. ``message`` may hold patient data."""

    jobId: str
    jobName: str
    jobStatus: JobStatus
    datastoreId: str
    dataAccessRoleArn: NotRequired[str]
    submittedAt: NotRequired[datetime]
    endedAt: NotRequired[datetime]
    message: NotRequired[str]


class ImportJob(JobSummary):
    """``jobProperties`` of GetDICOMImportJob, with times in UTC. The mappings are patient data."""

    inputS3Uri: str
    outputS3Uri: str
    importConfiguration: NotRequired[ImportConfiguration]
