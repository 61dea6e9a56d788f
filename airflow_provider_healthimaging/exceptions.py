"""Every error this package raises, as a tree; it knows neither Airflow nor boto3.

    HealthImagingError
    ├── InvalidArgumentError       an argument, or what a template rendered to (also a ValueError)
    ├── UndeterminedWindowError    no rule says which window this run owns
    ├── TooManyImageSetsError      more image sets than XCom may take
    ├── NoImageSetsError           none found, and on_empty="fail"                     retry may help
    ├── RenderingFailedError       what a template asks for is not there               retry may help
    ├── ConfigurationError         no credentials, no region, no trusted certificate
    ├── ConnectionFailedError      the endpoint cannot be reached                      retry may help
    ├── IncompleteResponseError    a response that ended before its end                retry may help
    └── ServiceError               an error code from the service, S3 or STS           retry may help
        ├── AccessDeniedError      401, 403, 407
        ├── DatastoreNotFoundError 404
        └── RejectedRequestError   every other 4xx but those that pass (408, 409, 425, 429)

``error_table.py`` has every condition and the error that it becomes.

Messages say what happened, the value unless it may be patient data, and what to do.
"""

from __future__ import annotations

from typing import ClassVar


class HealthImagingError(Exception):
    """The base of every error below.

    ``retryable`` says whether the same call may succeed later; where it is false, the task fails at once.
    """

    retryable: ClassVar[bool] = False


class InvalidArgumentError(HealthImagingError, ValueError):
    """An argument that can never work, found before any call was made."""


class UndeterminedWindowError(HealthImagingError):
    """The DAG run says nothing from which a time window could be derived."""


class TooManyImageSetsError(HealthImagingError):
    """The result is larger than what may be kept in XCom."""


class NoImageSetsError(HealthImagingError):
    """Nothing was found where the author asked for that to be a failure."""

    retryable = True


class RenderingFailedError(HealthImagingError):
    """What a template in ``search_criteria`` or ``match`` asks for could not be had, such as a Variable."""

    retryable = True


class ConfigurationError(HealthImagingError):
    """The connection lacks something that no retry will bring."""


class ConnectionFailedError(HealthImagingError):
    """No answer came from the endpoint, after botocore's own retries."""

    retryable = True


class IncompleteResponseError(HealthImagingError):
    """The service's answer was cut short every time it was asked for."""

    retryable = True


class ServiceError(HealthImagingError):
    """A service answered with an error; ``code`` is its name, as ``ThrottlingException``."""

    retryable = True

    def __init__(self, message: str, *, code: str = "") -> None:
        """Keep the service's code, never its text, which may repeat search values."""
        super().__init__(message)
        self.code = code


class AccessDeniedError(ServiceError):
    """The credentials may not do this, or what it is about does not exist."""

    retryable = False


class DatastoreNotFoundError(ServiceError):
    """No such data store in this account and region."""

    retryable = False


class RejectedRequestError(ServiceError):
    """The service found the request invalid."""

    retryable = False
