"""The errors that HealthImaging answers with.

Names and statuses: "Common errors" and the per-action error lists of the AWS HealthImaging API Reference. The
name travels in the header ``x-amzn-ErrorType``, where SDKs look for it.
"""

from moto.core.exceptions import JsonRESTError


class MedicalImagingError(JsonRESTError):
    """Base of every error of this service; the class name's end is not part of the error's."""

    def __init__(self, message: str) -> None:
        """Carry ``message`` to the client."""
        super().__init__(type(self).__name__.removesuffix("Error") + "Exception", message)


class ValidationError(MedicalImagingError):
    """The input breaks a constraint of the API."""

    code = 400


class ServiceQuotaExceededError(MedicalImagingError):
    """More resources than the account may have."""

    code = 402


class AccessDeniedError(MedicalImagingError):
    """Not allowed; also what a data store that does not exist may look like."""

    code = 403


class ResourceNotFoundError(MedicalImagingError):
    """No such data store, image set or version."""

    code = 404


class ConflictError(MedicalImagingError):
    """The request does not fit the state that the resource is in."""

    code = 409


class ThrottlingError(MedicalImagingError):
    """More calls a second than the account may make."""

    code = 429


class InternalServerError(MedicalImagingError):
    """The service's own failure."""

    code = 500
