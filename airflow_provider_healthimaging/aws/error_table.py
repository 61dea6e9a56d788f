"""Every condition of the services, the network and the credentials: the error that it becomes, and what to do.

A row's error says whether to fail now or to retry (``retryable``); the tests walk through all rows. Arguments are
checked where they are given: each is an ``InvalidArgumentError``, and fails now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

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

HEALTHIMAGING, S3, STS = "HealthImaging", "S3", "STS"


@dataclass(frozen=True)
class ErrorRule:
    """A condition, the error that it becomes, and what to do about it.

    :param codes: error codes that a service answers with, a space between them.
    :param service: whose codes they are; any of AWS by default.
    :param statuses: HTTP statuses, for codes that are in no row.
    :param causes: botocore's exceptions, where no service answered; the first row that fits is taken.
    :param message_contains: one of these must be in the exception's text.
    :param description: what happened, where no service answered.
    """

    error: type[HealthImagingError]
    advice: str
    codes: str = ""
    service: str = ""
    statuses: Iterable[int] = ()
    causes: tuple[type[Exception], ...] = ()
    message_contains: tuple[str, ...] = ("",)
    description: str = "No whole answer from {service}: {fault}"


_KEY = "The access key is unknown to AWS: check the connection."
_CLOCK = "Check the secret key, the region, and this machine's clock."
_REGIONS = ", ".join(REGIONS)
_NOT_SHOWN = "botocore's text is not shown, since it may hold patient data."

ERROR_RULES = (
    # What a service answers, by code.
    ErrorRule(
        AccessDeniedError,
        "Allow medical-imaging:SearchImageSets on this data store, and check its id and region: the service says this "
        "of a data store that does not exist, too.",
        codes="AccessDeniedException",
        service=HEALTHIMAGING,
    ),
    ErrorRule(
        AccessDeniedError,
        "Allow what docs/security.md lists on the bucket, its prefix, and its KMS key if it has one.",
        codes="AccessDenied AllAccessDisabled 403",
        service=S3,
    ),
    ErrorRule(
        AccessDeniedError,
        "The role was refused: allow sts:AssumeRole on it, and let its trust policy name who asks.",
        codes="AccessDenied AccessDeniedException InvalidIdentityToken IDPRejectedClaim ValidationError",
        service=STS,
    ),
    ErrorRule(AccessDeniedError, _KEY, codes="UnrecognizedClientException InvalidClientTokenId InvalidAccessKeyId"),
    ErrorRule(AccessDeniedError, _CLOCK, codes="InvalidSignatureException SignatureDoesNotMatch RequestTimeTooSkewed"),
    ErrorRule(
        AccessDeniedError,
        "The session token does not belong to the access key, or is damaged: check the connection.",
        codes="InvalidToken IncompleteSignature MissingAuthenticationToken MissingAuthenticationTokenException",
    ),
    ErrorRule(
        AccessDeniedError, "Sign up for the service, or turn the region on, in this account.", codes="OptInRequired"
    ),
    ErrorRule(
        ServiceError,
        "A role's credentials are renewed for a retry; a session token kept in the connection must be replaced.",
        codes="ExpiredTokenException ExpiredToken RequestExpired TokenRefreshRequired",
    ),
    ErrorRule(
        DatastoreNotFoundError,
        "Check datastore_id and the region.",
        codes="ResourceNotFoundException",
        service=HEALTHIMAGING,
    ),
    ErrorRule(
        RejectedRequestError,
        "Check search_criteria against the API reference of SearchImageSets, and whether StartingToken belongs to the "
        "same search.",
        codes="ValidationException",
        service=HEALTHIMAGING,
    ),
    ErrorRule(
        RejectedRequestError,
        "A quota that is no rate is used up: see Service Quotas in the AWS console.",
        codes="ServiceQuotaExceededException",
    ),
    ErrorRule(RejectedRequestError, "Check endpoint_url: this is no HealthImaging.", codes="UnknownOperationException"),
    ErrorRule(
        RejectedRequestError,
        "There is no such bucket, or no such object in it: check s3_uri.",
        codes="NoSuchBucket NoSuchKey 404",
        service=S3,
    ),
    ErrorRule(
        RejectedRequestError,
        "The bucket is in another region: set region_name in the connection that s3_conn_id names.",
        codes="PermanentRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException 301",
        service=S3,
    ),
    ErrorRule(
        RejectedRequestError,
        "The KMS key cannot be used: check that it exists, is enabled, and is in the bucket's region.",
        codes="KMS.DisabledException KMS.NotFoundException KMS.KMSInvalidStateException KMS.InvalidStateException",
        service=S3,
    ),
    ErrorRule(
        ServiceError,
        "The account's quota (25 calls/s unless raised) is used up. Retry later, or let fewer tasks run at a time.",
        codes="ThrottlingException",
        service=HEALTHIMAGING,
    ),
    ErrorRule(
        ServiceError, "Usual just after an import. Retry later.", codes="ConflictException", service=HEALTHIMAGING
    ),
    ErrorRule(
        ServiceError,
        "Retry later.",
        codes="InternalServerException InternalError InternalFailure ServiceUnavailable OperationAborted SlowDown "
        "RequestTimeout RequestTimeoutException Throttling",
    ),
    # What a service answers, by status, where the code says nothing.
    ErrorRule(
        AccessDeniedError,
        "Access was refused, by AWS or by a proxy on the way: check permissions, endpoint_url and proxies.",
        statuses=(401, 403, 407),
    ),
    ErrorRule(ServiceError, "See the service's list of common errors. Retry later.", statuses=(408, 409, 425, 429)),
    ErrorRule(RejectedRequestError, "See the service's list of common errors.", statuses=range(400, 500)),
    ErrorRule(ServiceError, "See the service's list of common errors. Retry later.", statuses=range(1000)),
    # What botocore finds before anything is sent.
    ErrorRule(
        ConfigurationError,
        f"Put region_name into the connection's extra, or give region_name; HealthImaging is in {_REGIONS}.",
        causes=(boto.NoRegionError, boto.InvalidRegionError),
        description="No AWS region is set, or none that can be",
    ),
    ErrorRule(
        ConfigurationError,
        "Renew it where the task runs (aws sso login), or use a role.",
        causes=(boto.SSOError, boto.TokenRetrievalError),
        description="The profile's single sign-on is over",
    ),
    ErrorRule(
        ConfigurationError,
        "Check that the connection exists and has them, or that the worker has a role.",
        causes=(
            *(boto.NoCredentialsError, boto.PartialCredentialsError, boto.NoAuthTokenError),
            *(boto.ProfileNotFound, boto.ConfigNotFound, boto.ConfigParseError, boto.InvalidConfigError),
        ),
        description="No usable AWS credentials",
    ),
    ErrorRule(
        ConfigurationError,
        "Check the paths that the connection and the worker's environment give.",
        causes=(FileNotFoundError,),
        description="A file named for credentials or certificates is not there",
    ),
    ErrorRule(
        ConnectionFailedError,
        "Look at the worker's role, metadata service or credential process, and retry.",
        causes=(boto.CredentialRetrievalError, boto.MetadataRetrievalError),
        description="No credentials came from where the worker gets them",
    ),
    ErrorRule(
        ConfigurationError,
        "Update boto3.",
        causes=(boto.DataNotFoundError,),
        description="This botocore does not know {service}",
    ),
    ErrorRule(
        InvalidArgumentError,
        f"Check search_criteria and s3_extra_args against the API reference; {_NOT_SHOWN}",
        causes=(boto.ParamValidationError,),
        description="botocore refused the parameters",
    ),
    ErrorRule(
        ConfigurationError,
        "It must be a URL: http:// or https://, then the host.",
        causes=(ValueError,),
        message_contains=("Invalid endpoint",),
        description="endpoint_url in the connection cannot be used",
    ),
    ErrorRule(
        InvalidArgumentError,
        "It must be what a search gave as next_token, for the same search.",
        causes=(ValueError,),
        message_contains=("Bad starting token",),
        description="StartingToken in pagination_config cannot be read",
    ),
    ErrorRule(
        InvalidArgumentError,
        f"Check arguments and connection; {_NOT_SHOWN}",
        causes=(ValueError,),
        description="botocore refused a value",
    ),
    # What happens on the way.
    ErrorRule(
        HealthImagingError,
        "Report this to AWS.",
        causes=(boto.PaginationError,),
        description="{service} gave the same page token twice, so the result would have no end",
    ),
    ErrorRule(
        ConfigurationError,
        "Check endpoint_url, and give verify the path of your organisation's CA bundle.",
        causes=(boto.SSLError,),
        message_contains=("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER"),
        description="The endpoint's certificate is not trusted here, or it speaks no TLS",
    ),
    ErrorRule(
        ConnectionFailedError,
        "Look for a proxy or a login page on the way, and retry.",
        causes=(ResponseParserError,),
        description="What answered does not speak as {service} does",
    ),
    ErrorRule(
        ConnectionFailedError,
        "Check the proxy that HTTPS_PROXY, or proxies in the connection's config_kwargs, names.",
        causes=(boto.ProxyConnectionError,),
    ),
    ErrorRule(
        ConnectionFailedError,
        f"Check the network, endpoint_url in the connection, and that the region is one of {_REGIONS}.",
        causes=(boto.BotoCoreError,),
    ),
)
