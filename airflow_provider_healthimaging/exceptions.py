"""All errors of this package. This module imports neither Airflow nor boto3.

    HealthImagingError
    ├── InvalidArgumentError       an argument, or the result of its template, is invalid (also a ValueError)
    ├── UndeterminedWindowError    no rule gives this run a time window
    ├── TooManyImageSetsError      more image sets than XCom or a mapped task may take
    ├── NoImageSetsError           no image set was found, and on_empty="fail"         retry may help
    ├── RenderingFailedError       a template cannot read a value that it needs        retry may help
    ├── ImportJobError             the base class of the errors about import jobs
    │   ├── ImportJobFailedError        the job ended as FAILED                        a retry starts another job
    │   ├── FilesNotImportedError       files failed, and on_failed_files="fail"       a retry starts another job
    │   ├── NonPrimaryImageSetsError    an image set is not primary, and require_primary=True
    │   ├── ImportReportMissingError    the job's output is not complete yet           retry may help
    │   └── InvalidImportReportError    the job's output cannot be read
    ├── ExportError                the base class of the errors about copies of image sets
    │   ├── ExportFailedError           image sets could not be copied to S3           a retry continues
    │   ├── ObjectMismatchError         an object is not what the metadata promise     retry may help
    │   ├── ImageSetChangedError        the image set has a newer version now
    │   └── UnsupportedPixelsError      pixels that this package does not decode
    ├── WaitTimeoutError           what a task waits for has not happened in time      retry may help
    ├── ConfigurationError         no credentials, no region, no trusted certificate
    ├── ConnectionFailedError      the endpoint or the credentials cannot be reached   retry may help
    ├── IncompleteResponseError    a truncated or an invalid response                  retry may help
    └── ServiceError               an error code from HealthImaging, S3 or STS         retry may help
        ├── AccessDeniedError      401, 403, 407
        ├── DatastoreNotFoundError 404
        ├── ImageSetNotFoundError  404 of an image set, or of a version, an instance or a frame of it
        └── RejectedRequestError   other 4xx, except the temporary 408, 409, 425, 429

``aws/error_table.py`` has the error for each error code of a service, ``aws/botocore_error_table.py`` for each error of
botocore.

A message says what happened, the value unless it may be patient data, and what to do.
"""

from __future__ import annotations


class HealthImagingError(Exception):
    """The base class of all errors of this package.

    It is raised itself for cases without a class of their own, such as a response that is not sorted.

    ``retryable`` says whether the same call may succeed later. If it is false, the task fails at once.
    """

    retryable: bool = False


class InvalidArgumentError(HealthImagingError, ValueError):
    """An argument is invalid. A retry would fail in the same way."""


class UndeterminedWindowError(HealthImagingError):
    """No time window can be derived from the DAG run."""


class TooManyImageSetsError(HealthImagingError):
    """The result has more items than ``max_xcom_items``, or than a task can be mapped over."""


class NoImageSetsError(HealthImagingError):
    """No image set was found, and ``on_empty="fail"`` makes this a failure."""

    retryable = True


class RenderingFailedError(HealthImagingError):
    """A template in ``search_criteria`` or ``match`` could not read a value, for example a Variable."""

    retryable = True


class ImportJobError(HealthImagingError):
    """The base class of the errors about import jobs."""


class ImportJobFailedError(ImportJobError):
    """The import job ended as FAILED. A retry of the operator starts another job."""

    retryable = True


class FilesNotImportedError(ImportJobError):
    """Files were not imported, and ``on_failed_files="fail"`` makes this a failure.

    A retry of the operator starts another job.
    """

    retryable = True


class NonPrimaryImageSetsError(ImportJobError):
    """An image set of the job is not primary, and ``require_primary=True`` makes this a failure."""


class ImportReportMissingError(ImportJobError):
    """The output of a completed import job is not in S3, or not all of it. It may come a little later."""

    retryable = True


class InvalidImportReportError(ImportJobError):
    """A file of the import job's output cannot be read. The error names the file and the line, not the content."""


class ExportError(HealthImagingError):
    """The base class of the errors about copies of image sets and about their pixels."""


class ExportFailedError(ExportError):
    """Image sets could not be copied. A retry continues with what is missing.

    ``errors`` has how many image sets failed, by the name of the error's class. ``retryable`` is true if at least one
    of these errors is retryable.
    """

    def __init__(self, message: str, *, errors: dict[str, int] | None = None, retryable: bool = True) -> None:
        """Keep the counts."""
        super().__init__(message)
        self.errors = errors or {}
        self.retryable = retryable


class ObjectMismatchError(ExportError):
    """The size or the checksum of an object differs from what the image set's metadata promise."""

    retryable = True


class ImageSetChangedError(ExportError):
    """The image set has a newer version than the record, and the service gives DICOM files of the newest one only."""


class UnsupportedPixelsError(ExportError):
    """The pixels are encoded in a way that this package does not decode.

    ``damaged`` is true if the package decodes pixels of this kind, but these are damaged.
    """

    def __init__(self, message: str, *, damaged: bool = False) -> None:
        """Keep whether the pixels are damaged."""
        super().__init__(message)
        self.damaged = damaged


class WaitTimeoutError(HealthImagingError):
    """What a task waits for has not happened in time. A retry waits again."""

    retryable = True


class ConfigurationError(HealthImagingError):
    """The connection, the worker or Airflow is not configured as the task needs it. A retry does not help."""


class ConnectionFailedError(HealthImagingError):
    """The endpoint, or the source of the credentials, gave no valid response, also after botocore's own retries."""

    retryable = True


class IncompleteResponseError(HealthImagingError):
    """The response was truncated or invalid in every attempt."""

    retryable = True


class ServiceError(HealthImagingError):
    """A service answered with an error. ``code`` is its error code, such as ``ThrottlingException``."""

    retryable = True

    def __init__(self, message: str, *, code: str = "") -> None:
        """Keep the error code. The service's text is not kept, because it may repeat search values."""
        super().__init__(message)
        self.code = code


class AccessDeniedError(ServiceError):
    """The credentials do not allow the call, or its resource does not exist."""

    retryable = False


class DatastoreNotFoundError(ServiceError):
    """The data store does not exist in this account and region."""

    retryable = False


class ImageSetNotFoundError(ServiceError):
    """The image set, or its version, or one of its instances or frames, does not exist."""

    retryable = False


class RejectedRequestError(ServiceError):
    """The service rejected the request. A retry would be rejected, too."""

    retryable = False
