"""The rules for error codes of the calls that read one image set. They come before those of ``error_table``."""

from __future__ import annotations

from airflow_provider_healthimaging.aws.error_table import ServiceErrorRule
from airflow_provider_healthimaging.exceptions import (
    AccessDeniedError,
    ImageSetNotFoundError,
    RejectedRequestError,
    ServiceError,
)

GET_IMAGE_SET, GET_METADATA = "GetImageSet", "GetImageSetMetadata"
GET_FRAME, GET_INSTANCE = "GetImageFrame", "GetDICOMInstance"

QUOTAS = {GET_IMAGE_SET: 25, GET_METADATA: 50, GET_FRAME: 1000, GET_INSTANCE: 50}
"""Calls per second of an account, unless raised (AWS HealthImaging developer guide, "Endpoints and quotas")."""


def _rules(operation: str, quota: int) -> tuple[ServiceErrorRule, ...]:
    # A web server without HealthImaging answers 404 without a code. DICOMweb's own answer may be like that, too.
    not_found = "ResourceNotFoundException 404" if operation == GET_INSTANCE else "ResourceNotFoundException"
    return (
        ServiceErrorRule(
            ImageSetNotFoundError,
            "The image set, its version, or the object in it does not exist, or not in this data store and region. It "
            "may have been deleted since it was found.",
            codes=not_found,
        ),
        ServiceErrorRule(
            AccessDeniedError,
            f"Allow medical-imaging:{operation} on this data store. Check its id and region, too.",
            codes="AccessDeniedException",
        ),
        ServiceErrorRule(
            RejectedRequestError,
            "Check the ids of data store and image set, and the version.",
            codes="ValidationException BadRequestException",
        ),
        ServiceErrorRule(
            RejectedRequestError,
            "The service cannot give this object in the transfer syntax that was asked for. Leave transfer_syntax out "
            "to get it as it is stored.",
            codes="NotAcceptableException 406",
        ),
        ServiceErrorRule(
            ServiceError,
            f"The account's quota of {operation} ({quota} calls/s unless raised) is used up. Retry later, or run fewer "
            "tasks at a time.",
            codes="ThrottlingException",
        ),
    )


IMAGE_SET_RULES = {operation: _rules(operation, quota) for operation, quota in QUOTAS.items()}
"""The rules by operation."""
