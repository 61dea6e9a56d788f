"""The rules that turn an error of a service, of the network or of the credentials into an error of this package.

The error's class says whether a retry can help (``retryable``). The tests provoke every rule. Arguments are checked
elsewhere; each mistake is an ``InvalidArgumentError``.
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
"""The regions of HealthImaging (AWS General Reference). Botocore's own list is empty."""

HEALTHIMAGING, S3, STS = "HealthImaging", "S3", "STS"


@dataclass(frozen=True)
class ErrorRule:
    """A condition, and the error that it becomes.

    :param error: the class of the error.
    :param advice: what to do.
    :param codes: error codes of a service, separated by spaces.
    :param service: the service that these codes belong to; empty for any AWS service.
    :param statuses: HTTP statuses, for codes that no rule names.
    :param causes: exceptions, if no service answered; the first rule that fits is used.
    :param message_contains: one of these must be in the exception's text.
    :param description: what happened, if no service answered. ``{service}`` is the service that was called, ``{fault}``
        the name of the exception's class.
    """

    error: type[HealthImagingError]
    advice: str
    codes: str = ""
    service: str = ""
    statuses: Iterable[int] = ()
    causes: tuple[type[Exception], ...] = ()
    message_contains: tuple[str, ...] = ("",)
    description: str = "No complete response from {service}: {fault}"


_KEY = "AWS does not know the access key. Check the connection."
_CLOCK = "Check the secret key, the region, and this machine's clock."
_REGIONS = ", ".join(REGIONS)
_NOT_SHOWN = "Botocore's text is not shown, because it may hold patient data."

ERROR_RULES = (
    # Errors of a service, by code.
    ErrorRule(
        AccessDeniedError,
        "Allow medical-imaging:SearchImageSets on this data store. Check its id and region, too: the service may also "
        "answer this if the data store does not exist.",
        codes="AccessDeniedException",
        service=HEALTHIMAGING,
    ),
    ErrorRule(
        AccessDeniedError,
        "Allow the actions that docs/security.md lists on the bucket, its prefix, and its KMS key if it has one.",
        codes="AccessDenied AllAccessDisabled 403",
        service=S3,
    ),
    ErrorRule(
        AccessDeniedError,
        "The role cannot be assumed. Allow sts:AssumeRole on it, and name the caller in its trust policy.",
        codes="AccessDenied AccessDeniedException InvalidIdentityToken IDPRejectedClaim ValidationError",
        service=STS,
    ),
    ErrorRule(AccessDeniedError, _KEY, codes="UnrecognizedClientException InvalidClientTokenId InvalidAccessKeyId"),
    ErrorRule(AccessDeniedError, _CLOCK, codes="InvalidSignatureException SignatureDoesNotMatch RequestTimeTooSkewed"),
    ErrorRule(
        AccessDeniedError,
        "The session token does not belong to the access key, or is damaged. Check the connection.",
        codes="InvalidToken IncompleteSignature MissingAuthenticationToken MissingAuthenticationTokenException",
    ),
    ErrorRule(
        AccessDeniedError, "Sign up for the service in this account, or enable the region.", codes="OptInRequired"
    ),
    ErrorRule(
        ServiceError,
        "A retry renews the credentials of a role. Replace a session token that is kept in the connection.",
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
        "Check search_criteria against the API reference of SearchImageSets. Check that StartingToken belongs to the "
        "same search.",
        codes="ValidationException",
        service=HEALTHIMAGING,
    ),
    ErrorRule(
        RejectedRequestError,
        "A quota other than the call rate is used up. See Service Quotas in the AWS console.",
        codes="ServiceQuotaExceededException",
    ),
    ErrorRule(
        RejectedRequestError,
        "Check endpoint_url: the service there is not HealthImaging.",
        codes="UnknownOperationException",
    ),
    ErrorRule(
        RejectedRequestError,
        "The bucket, or the object in it, does not exist. Check s3_uri.",
        codes="NoSuchBucket NoSuchKey 404",
        service=S3,
    ),
    ErrorRule(
        RejectedRequestError,
        "The bucket is in another region. Set region_name in the connection that s3_conn_id names.",
        codes="PermanentRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException 301",
        service=S3,
    ),
    ErrorRule(
        RejectedRequestError,
        "The KMS key cannot be used. Check that it exists, is enabled, and is in the bucket's region.",
        codes="KMS.DisabledException KMS.NotFoundException KMS.KMSInvalidStateException KMS.InvalidStateException",
        service=S3,
    ),
    ErrorRule(
        ServiceError,
        "The account's quota (25 calls/s unless raised) is used up. Retry later, or run fewer tasks at a time.",
        codes="ThrottlingException",
        service=HEALTHIMAGING,
    ),
    ErrorRule(
        ServiceError,
        "This is usual just after an import. Retry later.",
        codes="ConflictException",
        service=HEALTHIMAGING,
    ),
    ErrorRule(
        ServiceError,
        "Retry later.",
        codes="InternalServerException InternalError InternalFailure ServiceUnavailable OperationAborted SlowDown "
        "RequestTimeout RequestTimeoutException Throttling",
    ),
    # Errors of a service, by status, if no rule names the code.
    ErrorRule(
        AccessDeniedError,
        "AWS, or a proxy before it, denied access. Check permissions, endpoint_url and proxies.",
        statuses=(401, 403, 407),
    ),
    ErrorRule(ServiceError, "See the service's list of common errors. Retry later.", statuses=(408, 409, 425, 429)),
    ErrorRule(RejectedRequestError, "See the service's list of common errors.", statuses=range(400, 500)),
    ErrorRule(ServiceError, "See the service's list of common errors. Retry later.", statuses=range(1000)),
    # Errors of botocore before a request is sent.
    ErrorRule(
        ConfigurationError,
        f"Set region_name in the connection's extra, or give region_name. HealthImaging is in {_REGIONS}.",
        causes=(boto.NoRegionError, boto.InvalidRegionError),
        description="No AWS region is configured, or its name is invalid",
    ),
    ErrorRule(
        ConfigurationError,
        "Renew it where the task runs (aws sso login), or use a role.",
        causes=(boto.SSOError, boto.TokenRetrievalError),
        description="The AWS SSO session has expired",
    ),
    ErrorRule(
        ConfigurationError,
        "Check that the connection exists and holds credentials, or that the worker has a role.",
        causes=(
            *(boto.NoCredentialsError, boto.PartialCredentialsError, boto.NoAuthTokenError),
            *(boto.ProfileNotFound, boto.ConfigNotFound, boto.ConfigParseError, boto.InvalidConfigError),
        ),
        description="No usable AWS credentials",
    ),
    ErrorRule(
        ConfigurationError,
        "Check the paths in the connection and in the worker's environment.",
        causes=(FileNotFoundError,),
        description="A file of credentials or certificates does not exist",
    ),
    ErrorRule(
        ConnectionFailedError,
        "Check the worker's role, metadata service or credential process, and retry.",
        causes=(boto.CredentialRetrievalError, boto.MetadataRetrievalError),
        description="The worker's source of credentials did not return any",
    ),
    ErrorRule(
        ConfigurationError,
        "Update boto3.",
        causes=(boto.DataNotFoundError,),
        description="This version of botocore does not know {service}",
    ),
    ErrorRule(
        InvalidArgumentError,
        f"Check search_criteria and s3_extra_args against the API reference. {_NOT_SHOWN}",
        causes=(boto.ParamValidationError,),
        description="Botocore rejected the parameters",
    ),
    ErrorRule(
        ConfigurationError,
        "Write a URL: http:// or https://, then the host.",
        causes=(ValueError,),
        message_contains=("Invalid endpoint",),
        description="endpoint_url in the connection is not a valid URL",
    ),
    ErrorRule(
        InvalidArgumentError,
        "Use the next_token of an earlier run of the same search.",
        causes=(ValueError,),
        message_contains=("Bad starting token",),
        description="StartingToken in pagination_config is not a valid token",
    ),
    ErrorRule(
        InvalidArgumentError,
        f"Check the arguments and the connection. {_NOT_SHOWN}",
        causes=(ValueError,),
        description="Botocore rejected a value",
    ),
    # Errors of botocore while a request is sent, or while its response is read.
    ErrorRule(
        HealthImagingError,
        "Report this to AWS.",
        causes=(boto.PaginationError,),
        description="{service} returned the same page token twice, so the search would never end",
    ),
    ErrorRule(
        ConfigurationError,
        "Check endpoint_url, or set verify to the path of your organisation's CA bundle.",
        causes=(boto.SSLError,),
        message_contains=("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER"),
        description="The endpoint's certificate is not trusted, or the endpoint does not support TLS",
    ),
    ErrorRule(
        ConnectionFailedError,
        "Check for a proxy or a login page before the service, and retry.",
        causes=(ResponseParserError,),
        description="The response is not a valid {service} response",
    ),
    ErrorRule(
        ConnectionFailedError,
        "Check the proxy that HTTPS_PROXY or the connection's config_kwargs (proxies) names.",
        causes=(boto.ProxyConnectionError,),
    ),
    ErrorRule(
        ConnectionFailedError,
        f"Check the network, endpoint_url in the connection, and that the region is one of {_REGIONS}.",
        causes=(boto.BotoCoreError,),
    ),
)
