"""Runs one import job: reads the objects, imports them, and makes the output files."""

import re
from random import Random
from typing import TYPE_CHECKING

from .dicom_file import DicomFile, read_dicom_file
from .image_set_import import import_files
from .import_job import ImportJob
from .import_output import FailedFile, ImportedFile, output_files
from .s3_objects import S3Account, S3Error, S3Location
from .settings import Settings
from .untrusted_content import UnusableFileError

if TYPE_CHECKING:
    from moto.s3.models import FakeKey

    from .models import MedicalImagingBackend


class JobFailedError(Exception):
    """The job fails as a whole. The message is the ``message`` of the job, in the characters that AWS allows."""

    def __init__(self, message: str) -> None:
        """Create the error. Other characters than those of the pattern of ``Message`` become hyphens."""
        super().__init__(re.sub(r"[^\w -:`]", "-", message, flags=re.ASCII)[:2048])


def run_import(backend: "MedicalImagingBackend", s3: S3Account, job: ImportJob) -> dict[str, bytes]:
    """Import the files of a job, and return the contents of its output files by name.

    :raises JobFailedError: if the job fails as a whole. In this case, nothing is imported.
    """
    objects = _list_input(backend.settings, s3, job)
    random = Random(job.plan.choice)  # noqa: S311 - not for cryptography
    files: dict[str, DicomFile] = {}
    failed: list[FailedFile] = []
    for each in objects:
        result = _read(each, server_error=random.random() < backend.settings.import_file_error_share)
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
    return output_files(job, imported, failed, backend.settings)


def _list_input(settings: Settings, s3: S3Account, job: ImportJob) -> "list[FakeKey]":
    """Return the objects of the input. Raise ``JobFailedError`` if the job cannot import them."""
    source, target = job.request["inputS3Uri"], job.request["outputS3Uri"]
    if job.plan.import_failure:
        raise JobFailedError("INTERNAL_SERVER_ERROR: The import job failed")
    for uri, right in ((source, "input-denied"), (target, "output-denied")):
        if settings.import_permission == right:
            raise JobFailedError(f"ACCESS_DENIED: {job.request['dataAccessRoleArn']} has no access to {uri}")
    try:
        objects = s3.list_objects(S3Location.parse(source), job.request.get("inputOwnerAccountId"))
    except S3Error as error:
        raise JobFailedError(f"{error}: {source}") from None
    try:
        s3.require_bucket(job.output.bucket)
    except S3Error as error:
        raise JobFailedError(f"{error}: {target}") from None
    if len(objects) > settings.import_max_files:
        raise JobFailedError(f"FILE_COUNTS_LIMIT_EXCEEDED: {len(objects)} files, limit {settings.import_max_files}")
    size = sum(each.size for each in objects)
    if size > settings.import_max_bytes:
        raise JobFailedError(f"FILE_SIZE_LIMIT_EXCEEDED: {size} bytes, limit {settings.import_max_bytes}")
    return objects


def _read(s3_object: "FakeKey", *, server_error: bool) -> DicomFile | FailedFile:
    if server_error:
        return FailedFile(s3_object.name, "InternalServerException", "Internal server error")
    try:
        return read_dicom_file(s3_object.value)
    except UnusableFileError as error:
        return FailedFile(s3_object.name, "ValidationException", error.quoted)
