"""Starts, runs and lists import jobs.

There are no threads: a job runs in the first request after it is due. So its state depends only on the clock of the
backend and on the requests. While one thread runs a job, the job is ``IN_PROGRESS`` for all others.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .datastore import new_id
from .dicom_file import DicomFile, read_dicom_file
from .exceptions import ConflictError, ResourceNotFoundError
from .image_set_import import import_files
from .import_job import ImportJob
from .import_output import FailedFile, ImportedFile, output_files
from .paging import take_page
from .s3_objects import S3Account, S3Error, S3Location
from .untrusted_content import UnusableFileError

if TYPE_CHECKING:
    from moto.s3.models import FakeKey

    from .models import MedicalImagingBackend


class ImportJobs:
    """The import jobs of one backend. Thread-safe."""

    def __init__(self, backend: "MedicalImagingBackend") -> None:
        """Create an empty list of jobs."""
        self._backend = backend
        self._jobs: dict[str, ImportJob] = {}
        self._by_token: dict[str, ImportJob] = {}
        self._s3 = S3Account(backend.account_id, backend.partition)

    def start(self, request: Mapping[str, Any]) -> ImportJob:
        """Start a job. A second call with the same client token returns the same job.

        :param request: the valid members of StartDICOMImportJob.
        """
        backend = self._backend
        with backend.lock:
            backend.require_active(request["datastoreId"])
            if known := self._by_token.get(request["clientToken"]):
                if known.request != request:
                    raise ConflictError("clientToken was used with different parameters")
                return known
            now = backend.clock()
            due = now + timedelta(seconds=backend.settings.import_duration)
            job = ImportJob(new_id(), request, now, due)
            self._jobs[job.job_id] = self._by_token[request["clientToken"]] = job
            return job

    def get(self, datastore_id: str, job_id: str) -> ImportJob:
        """Return a job."""
        self._backend.require_active(datastore_id)
        self.run_due()
        job = self._jobs.get(job_id)
        if job is None or job.datastore_id != datastore_id:
            raise ResourceNotFoundError(f"Import job {job_id} was not found")
        return job

    def page(
        self, datastore_id: str, status: str | None, *, limit: int, next_token: str | None
    ) -> tuple[list[ImportJob], str | None]:
        """Return one page, newest first, and the token for the next page."""
        backend = self._backend
        backend.require_active(datastore_id)
        self.run_due()
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
        self.run_due()
        with self._backend.lock:
            return sum(job.ended_at is None and job.datastore_id == datastore_id for job in self._jobs.values())

    def run_due(self) -> None:
        """Run the jobs that are due, in the order of their ends."""
        now = self._backend.clock()
        with self._backend.lock:
            due = [job for job in self._jobs.values() if job.ended_at is None and job.due_at <= now]
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
            self._import(job)
            message = None
        except S3Error as error:
            message = str(error)
        finally:
            job.message, job.ended_at = message, self._backend.clock()

    def _import(self, job: ImportJob) -> None:
        backend, request = self._backend, job.request
        objects = self._s3.list_objects(S3Location.parse(request["inputS3Uri"]), request.get("inputOwnerAccountId"))
        self._s3.require_bucket(job.output.bucket)
        files: dict[str, DicomFile] = {}
        failed: list[FailedFile] = []
        for each in objects:
            result = _read(each)
            if isinstance(result, DicomFile):
                files[each.name] = result
            else:
                failed.append(result)
        with backend.lock:
            image_sets = import_files(backend, job.datastore_id, [*files.values()], backend.clock())
        imported = [
            ImportedFile(key, file.instance.sop_instance_uid, image_set, file.warnings)
            for (key, file), image_set in zip(files.items(), image_sets, strict=True)
        ]
        for name, content in output_files(job, imported, failed).items():
            self._s3.write(job.output, name, content)


def _read(s3_object: "FakeKey") -> DicomFile | FailedFile:
    try:
        return read_dicom_file(s3_object.value)
    except UnusableFileError as error:
        return FailedFile(s3_object.name, "ValidationException", error.quoted)
