"""The output files of an import job, in the layout of "Understanding import jobs" in the Developer Guide."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .file_warnings import FileWarning
from .image_sets import ImageSet
from .import_job import ImportJob
from .settings import Settings

MANIFEST = "job-output-manifest.json"


class ImportedFile(NamedTuple):
    """A file that was imported, and the version of the image set that contains it."""

    key: str
    sop_instance_uid: str
    image_set: ImageSet
    warnings: Sequence[FileWarning]


class FailedFile(NamedTuple):
    """A file that was not imported."""

    key: str
    exception_type: str
    message: str


def output_files(
    job: ImportJob, imported: Sequence[ImportedFile], failed: Sequence[FailedFile], settings: Settings
) -> dict[str, bytes]:
    """Return the contents of the output files by name."""
    listed = [file for file in imported if settings.import_warned_in_success or not file.warnings]
    files = {
        "SUCCESS/success.ndjson": _lines(_imported_line(file) for file in listed),
        "FAILURE/failure.ndjson": _lines(_failed_line(file) for file in failed),
        "WARNING/warning.ndjson": _lines(_warning_line(file) for file in imported if file.warnings),
        MANIFEST: json.dumps({"jobSummary": _summary(job, imported, failed)}).encode(),
    }
    return {name: content for name, content in files.items() if content or settings.import_empty_output}


def _summary(job: ImportJob, imported: Sequence[ImportedFile], failed: Sequence[FailedFile]) -> dict[str, Any]:
    image_sets = {file.image_set.image_set_id: file.image_set for file in imported}
    instances = Counter(image_set_id for image_set_id, _ in {_instance(file) for file in imported})
    errors = Counter(file.exception_type == "InternalServerException" for file in failed)
    return {
        "jobId": job.job_id,
        "datastoreId": job.datastore_id,
        "inputS3Uri": job.request["inputS3Uri"],
        "outputS3Uri": job.output_uri,
        "successOutputS3Uri": f"{job.output_uri}SUCCESS/",
        "failureOutputS3Uri": f"{job.output_uri}FAILURE/",
        "warningsOutputS3Uri": f"{job.output_uri}WARNING/",
        "numberOfScannedFiles": len(imported) + len(failed),
        "numberOfImportedFiles": len(imported),
        "numberOfFilesWithCustomerError": errors[False],
        "numberOfFilesWithServerError": errors[True],
        "numberOfGeneratedImageSets": len(image_sets),
        "imageSetsSummary": [
            {**_version(image_set), "numberOfMatchedSOPInstances": instances[image_set_id]}
            for image_set_id, image_set in image_sets.items()
        ],
    }


def _instance(file: ImportedFile) -> tuple[str, str]:
    return file.image_set.image_set_id, file.sop_instance_uid


def _version(image_set: ImageSet) -> dict[str, Any]:
    return {
        "imageSetId": image_set.image_set_id,
        "imageSetVersion": image_set.version,
        "isPrimary": image_set.is_primary,
    }


def _imported_line(file: ImportedFile) -> dict[str, Any]:
    return {"inputFile": file.key, "importResponse": _version(file.image_set)}


def _warning_line(file: ImportedFile) -> dict[str, Any]:
    warnings = [warning.as_json() for warning in file.warnings]
    return {"inputFile": file.key, "importResponse": {**_version(file.image_set), "warnings": warnings}}


def _failed_line(file: FailedFile) -> dict[str, Any]:
    exception = {"exceptionType": file.exception_type, "message": file.message}
    return {"inputFile": file.key, "exception": exception}


def _lines(documents: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)
