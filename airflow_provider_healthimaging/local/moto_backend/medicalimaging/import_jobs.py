"""Starts, runs and lists import jobs.

There are no threads: a job runs in the first request after it is due. So its state depends only on the clock of the
backend and on the requests. While one thread runs a job, the job is ``IN_PROGRESS`` for all others.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from .datastore import new_id
from .exceptions import (
    AccessDeniedError,
    ConflictError,
    ResourceNotFoundError,
    ServiceQuotaExceededError,
)
from .faults import NO_FAULT, FaultPlan
from .import_job import ImportJob
from .import_run import JobFailedError, run_import
from .paging import take_page
from .s3_objects import S3Account, S3Error

if TYPE_CHECKING:
    from .models import MedicalImagingBackend


class _OutputFile(NamedTuple):
    due_at: datetime
    job: ImportJob
    name: str
    content: bytes


class ImportJobs:
    """The import jobs of one backend. Thread-safe."""

    def __init__(self, backend: "MedicalImagingBackend") -> None:
        """Create an empty list of jobs."""
        self._backend = backend
        self._jobs: dict[str, ImportJob] = {}
        self._by_token: dict[str, ImportJob] = {}
        self._unfinished: dict[str, ImportJob] = {}
        self._late_output: list[_OutputFile] = []
        self._s3 = S3Account(backend.account_id, backend.partition)

    def start(self, request: Mapping[str, Any], *, plan: FaultPlan = NO_FAULT) -> ImportJob:
        """Start a job. A second call with the same client token returns the same job.

        AWS does not document the error for a token that was used with another request. It is the one of this model
        for a request that contradicts the state of the service, as in CreateDatastore.

        :param request: the valid members of StartDICOMImportJob.
        """
        backend, token, settings = self._backend, request["clientToken"], self._backend.settings
        with backend.lock:
            backend.require_active(request["datastoreId"])
            if known := self._by_token.get(token):
                if known.request != request:
                    raise ConflictError("clientToken was used with different parameters")
                return known
            if settings.import_permission == "pass-role-denied":
                user = f"arn:{backend.partition}:iam::{backend.account_id}:user/local"
                role = request["dataAccessRoleArn"]
                raise AccessDeniedError(f"User: {user} is not authorized to perform: iam:PassRole on resource: {role}")
            if self.unfinished(request["datastoreId"]) >= settings.import_max_jobs:
                raise ServiceQuotaExceededError(f"The limit of {settings.import_max_jobs} import jobs is reached")
            now = backend.clock()
            due = now + timedelta(seconds=settings.import_duration)
            job = ImportJob(new_id(), request, now, due, plan)
            self._jobs[job.job_id] = self._unfinished[job.job_id] = self._by_token[token] = job
            return job

    def get(self, datastore_id: str, job_id: str) -> ImportJob:
        """Return a job."""
        self._backend.require_active(datastore_id)
        job = self._jobs.get(job_id)
        if job is None or job.datastore_id != datastore_id:
            raise ResourceNotFoundError(f"Import job {job_id} was not found")
        return job

    def page(
        self, datastore_id: str, status: str | None, *, limit: int, next_token: str | None
    ) -> tuple[list[ImportJob], str | None]:
        """Return one page, newest first, and the token for the next page. AWS does not document the order."""
        backend = self._backend
        backend.require_active(datastore_id)
        now, scope = backend.clock(), ("ListDICOMImportJobs", datastore_id, status or "")
        before = backend.tokens.read(next_token, *scope) if next_token is not None else None
        with backend.lock:
            jobs = sorted(self._jobs.values(), key=lambda job: job.position, reverse=True)
        wanted = (
            job
            for job in jobs
            if job.datastore_id == datastore_id
            and status in {None, job.status(now)}
            and (before is None or job.position < before)
        )
        page, more = take_page(wanted, limit)
        return page, backend.tokens.issue(page[-1].position, *scope) if more else None

    def unfinished(self, datastore_id: str) -> int:
        """Return the number of jobs of a data store that have not ended."""
        with self._backend.lock:
            return sum(job.datastore_id == datastore_id for job in self._unfinished.values())

    def run_due(self) -> None:
        """Run the jobs that are due, in the order of their ends, and write the output files that are due."""
        if not self._unfinished and not self._late_output:
            return
        now = self._backend.clock()
        with self._backend.lock:
            due = [job for job in self._unfinished.values() if job.due_at <= now]
            output = [file for file in self._late_output if file.due_at <= now]
            self._late_output = [file for file in self._late_output if file.due_at > now]
        for file in output:
            self._write(file)
        for job in sorted(due, key=lambda job: (job.due_at, job.position)):
            if job.lock.acquire(blocking=False):
                try:
                    if job.ended_at is None:
                        self._run(job)
                finally:
                    job.lock.release()

    def _run(self, job: ImportJob) -> None:
        message: str | None = "Internal server error"
        try:
            output = run_import(self._backend, self._s3, job)
            self._deliver(job, output)
            message = None
        except JobFailedError as error:
            message = str(error)
        finally:
            with self._backend.lock:
                job.message, job.ended_at = message, self._backend.clock()
                del self._unfinished[job.job_id]

    def _deliver(self, job: ImportJob, output: Mapping[str, bytes]) -> None:
        """Write the output files, or keep those that come late. They appear one by one, in an order from the seed."""
        settings, now = self._backend.settings, self._backend.clock()
        names = sorted(output)
        Random(job.plan.choice).shuffle(names)  # noqa: S311 - not for cryptography
        for number, name in enumerate(names, start=1):
            due_at = now + timedelta(seconds=settings.import_output_lag) * number / len(names)
            file = _OutputFile(due_at, job, name, output[name])
            if due_at > now:
                with self._backend.lock:
                    self._late_output.append(file)
            else:
                self._write(file)

    def _write(self, file: _OutputFile) -> None:
        # The bucket may be gone since the job started. Then nobody waits for its files.
        with suppress(S3Error):
            self._s3.write(file.job.output, file.name, file.content)
