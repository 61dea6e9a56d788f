"""What went wrong at the service or on the way to it, as this package's errors.

A service error's text may repeat search values, and so may botocore's about parameters. Only codes are passed on.
"""

from __future__ import annotations

from botocore import exceptions as boto

from airflow_provider_healthimaging.exceptions import (
    AccessDeniedError,
    ConfigurationError,
    ConnectionFailedError,
    DatastoreNotFoundError,
    HealthImagingError,
    InvalidArgumentError,
    RejectedRequestError,
    ServiceError,
)

REGIONS = ("us-east-1", "us-west-2", "ap-southeast-2", "eu-west-1", "eu-west-2")
"""Where HealthImaging is offered (AWS General Reference); botocore's own list is empty."""

_BY_CODE: dict[str, tuple[type[ServiceError], str]] = {
    "AccessDeniedException": (
        AccessDeniedError,
        (
            "Allow medical-imaging:SearchImageSets on this data store, and check its id and region: the service "
            "says this of a data store that does not exist, too."
        ),
    ),
    "UnrecognizedClientException": (AccessDeniedError, "The access key is unknown to AWS: check the connection."),
    "InvalidClientTokenId": (AccessDeniedError, "The access key is unknown to AWS: check the connection."),
    "InvalidSignatureException": (AccessDeniedError, "Check the secret key, the region, and this machine's clock."),
    "ResourceNotFoundException": (DatastoreNotFoundError, "Check datastore_id and the region."),
    "ValidationException": (
        RejectedRequestError,
        (
            "Check search_criteria against the API reference of SearchImageSets, and whether StartingToken belongs "
            "to the same search."
        ),
    ),
    "ThrottlingException": (
        ServiceError,
        "The account's quota (25 calls/s unless raised) is used up. Retry later, or let fewer tasks run at a time.",
    ),
    "ConflictException": (ServiceError, "Usual just after an import. Retry later."),
    "InternalServerException": (ServiceError, "Retry later."),
}

_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
    boto.SSOError,
)


def explained(error: boto.BotoCoreError | boto.ClientError, where: str) -> HealthImagingError:
    """Return the error to raise in place of ``error``.

    Raise it after the ``except`` block that caught ``error``: chained to it, the text would be shown all the same.

    :param where: the data store, region and connection, for the message.
    """
    if isinstance(error, boto.ClientError):
        return _service_error(error, where)
    if isinstance(error, boto.NoRegionError):
        return ConfigurationError(
            f"No AWS region is set ({where}). Put region_name into the connection's extra, or give region_name; "
            f"HealthImaging is in {', '.join(REGIONS)}."
        )
    if isinstance(error, _NO_CREDENTIALS):
        return ConfigurationError(
            f"No usable AWS credentials ({where}). Check that the connection exists and has them, or that the "
            "worker has a role."
        )
    if isinstance(error, boto.ParamValidationError):
        return InvalidArgumentError(
            f"botocore refused the parameters of SearchImageSets ({where}). Check search_criteria against the API "
            "reference; botocore's text is not shown, since it may hold patient data."
        )
    return ConnectionFailedError(
        f"No whole answer from HealthImaging ({where}): {type(error).__name__}. Check the network, endpoint_url in "
        f"the connection, and that the region is one of {', '.join(REGIONS)}."
    )


def _service_error(error: boto.ClientError, where: str) -> ServiceError:
    code = str(error.response.get("Error", {}).get("Code", "")) or "no code"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    known = _BY_CODE.get(code)
    if known is None:
        never_later = 400 <= status < 500 and status not in (408, 409, 429) and "Expired" not in code  # noqa: PLR2004
        known = (RejectedRequestError if never_later else ServiceError), "See the service's list of common errors."
    kind, advice = known
    return kind(f"HealthImaging answered {code} (HTTP {status}; {where}). {advice}", code=code)
