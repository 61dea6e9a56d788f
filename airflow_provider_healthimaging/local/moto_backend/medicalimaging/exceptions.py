"""The errors of HealthImaging.

Source of names and statuses: "Common errors" and the error lists of the actions in the AWS HealthImaging API
Reference. The response contains the name in the header ``x-amzn-ErrorType``, where SDKs read it.
"""

from moto.core.exceptions import JsonRESTError


class MedicalImagingError(JsonRESTError):
    """Base class of the errors. The name of the error is the class name with ``Exception`` instead of ``Error``."""

    def __init__(self, message: str) -> None:
        """Create the error with a message for the client."""
        super().__init__(type(self).__name__.removesuffix("Error") + "Exception", message)


class ValidationError(MedicalImagingError):
    """The request is invalid."""

    code = 400


class ServiceQuotaExceededError(MedicalImagingError):
    """The account has too many resources."""

    code = 402


class AccessDeniedError(MedicalImagingError):
    """No permission. The service may also raise it if the data store does not exist."""

    code = 403


class ResourceNotFoundError(MedicalImagingError):
    """The data store, the image set or the version does not exist."""

    code = 404


class NotAcceptableError(MedicalImagingError):
    """The data do not exist in the format that was asked for."""

    code = 406


class ConflictError(MedicalImagingError):
    """The state of the resource does not allow the request."""

    code = 409


class ThrottlingError(MedicalImagingError):
    """The call is throttled: the account made too many calls per second."""

    code = 429


class InternalServerError(MedicalImagingError):
    """An error inside the service."""

    code = 500
