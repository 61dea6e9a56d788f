"""An import job: its request, its state, and its results."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any

from .faults import NO_FAULT, FaultPlan
from .s3_objects import S3Location

JOB_STATUSES = ("SUBMITTED", "IN_PROGRESS", "COMPLETED", "FAILED")


@dataclass
class ImportJob:
    """One job. ``request`` has the members of StartDICOMImportJob.

    :param due_at: when the job ends. It is in progress in the second half of the time until then.
    :param plan: the faults of the call that started the job, which also decide those of the job.
    """

    job_id: str
    request: Mapping[str, Any]
    submitted_at: datetime
    due_at: datetime
    plan: FaultPlan = NO_FAULT
    ended_at: datetime | None = None
    message: str | None = None
    lock: Lock = field(default_factory=Lock, repr=False)
    """Held by the thread that runs the job."""

    def status(self, now: datetime) -> str:
        """Return the ``jobStatus``."""
        if self.ended_at:
            return "FAILED" if self.message else "COMPLETED"
        return "SUBMITTED" if now <= self.submitted_at + (self.due_at - self.submitted_at) / 2 else "IN_PROGRESS"

    @property
    def datastore_id(self) -> str:
        """The data store that the job imports into."""
        return str(self.request["datastoreId"])

    @property
    def name(self) -> str:
        """The name. AWS does not document the name of a job that was started without one."""
        return str(self.request.get("jobName", self.job_id))

    @property
    def output_uri(self) -> str:
        """The S3 URI of the folder of the output files."""
        return f"{self.request['outputS3Uri'].rstrip('/')}/{self.datastore_id}-DicomImport-{self.job_id}/"

    @property
    def output(self) -> S3Location:
        """The folder of the output files."""
        return S3Location.parse(self.output_uri)

    @property
    def position(self) -> tuple[str, str]:
        """The sort key in a list: the time of submission, then the id."""
        return self.submitted_at.isoformat(timespec="microseconds"), self.job_id
