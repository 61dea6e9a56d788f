"""The rules that turn an error code of HealthImaging, S3 or STS into an error of this package.

The error's class says whether a retry can help (``retryable``). The tests provoke every rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from airflow_provider_healthimaging.exceptions import (
    AccessDeniedError,
    DatastoreNotFoundError,
    HealthImagingError,
    RejectedRequestError,
    ServiceError,
)

HEALTHIMAGING, S3, STS = "HealthImaging", "S3", "STS"


@dataclass(frozen=True)
class ServiceErrorRule:
    """Error codes of a service, and the error that they become.

    :param error: the class of the error.
    :param advice: what to do.
    :param codes: error codes, separated by spaces.
    :param service: the service that these codes belong to; empty for any AWS service.
    :param statuses: HTTP statuses, for codes that no rule names.
    """

    error: type[HealthImagingError]
    advice: str
    codes: str = ""
    service: str = ""
    statuses: Iterable[int] = ()


_KEY = "AWS does not know the access key. Check the connection."
_CLOCK = "Check the secret key, the region, and this machine's clock."

SERVICE_RULES = (
    # Errors of a service, by code.
    ServiceErrorRule(
        AccessDeniedError,
        "Allow medical-imaging:SearchImageSets on this data store. Check its id and region, too: the service may also "
        "answer this if the data store does not exist.",
        codes="AccessDeniedException",
        service=HEALTHIMAGING,
    ),
    ServiceErrorRule(
        AccessDeniedError,
        "Allow s3:PutObject, s3:GetObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListBucket on the bucket "
        "and its prefix, and the use of its KMS key if it has one.",
        codes="AccessDenied AllAccessDisabled 403",
        service=S3,
    ),
    ServiceErrorRule(
        AccessDeniedError,
        "The role cannot be assumed. Allow sts:AssumeRole on it, and name the caller in its trust policy.",
        codes="AccessDenied AccessDeniedException InvalidIdentityToken IDPRejectedClaim ValidationError",
        service=STS,
    ),
    ServiceErrorRule(
        AccessDeniedError, _KEY, codes="UnrecognizedClientException InvalidClientTokenId InvalidAccessKeyId"
    ),
    ServiceErrorRule(
        AccessDeniedError, _CLOCK, codes="InvalidSignatureException SignatureDoesNotMatch RequestTimeTooSkewed"
    ),
    ServiceErrorRule(
        AccessDeniedError,
        "The session token does not belong to the access key, or is damaged. Check the connection.",
        codes="InvalidToken IncompleteSignature MissingAuthenticationToken MissingAuthenticationTokenException",
    ),
    ServiceErrorRule(
        AccessDeniedError, "Sign up for the service in this account, or enable the region.", codes="OptInRequired"
    ),
    ServiceErrorRule(
        ServiceError,
        "A retry renews the credentials of a role. Replace a session token that is kept in the connection.",
        codes="ExpiredTokenException ExpiredToken RequestExpired TokenRefreshRequired",
    ),
    ServiceErrorRule(
        DatastoreNotFoundError,
        "Check datastore_id and the region.",
        codes="ResourceNotFoundException",
        service=HEALTHIMAGING,
    ),
    ServiceErrorRule(
        RejectedRequestError,
        "Check search_criteria against the API reference of SearchImageSets. Check that StartingToken belongs to the "
        "same search.",
        codes="ValidationException",
        service=HEALTHIMAGING,
    ),
    ServiceErrorRule(
        RejectedRequestError,
        "A quota other than the call rate is used up. See Service Quotas in the AWS console.",
        codes="ServiceQuotaExceededException",
    ),
    ServiceErrorRule(
        RejectedRequestError,
        "Check endpoint_url: the service there is not HealthImaging.",
        codes="UnknownOperationException 404",
        service=HEALTHIMAGING,
    ),
    ServiceErrorRule(
        RejectedRequestError,
        "The bucket, or the object in it, does not exist. Check the address.",
        codes="NoSuchBucket NoSuchKey 404",
        service=S3,
    ),
    ServiceErrorRule(
        RejectedRequestError,
        "The bucket is in another region. Set region_name in the connection that s3_conn_id names.",
        codes="PermanentRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException 301",
        service=S3,
    ),
    ServiceErrorRule(
        RejectedRequestError,
        "The KMS key cannot be used. Check that it exists, is enabled, and is in the bucket's region.",
        codes="KMS.DisabledException KMS.NotFoundException KMS.KMSInvalidStateException KMS.InvalidStateException",
        service=S3,
    ),
    ServiceErrorRule(
        ServiceError,
        "The account's quota (25 calls/s unless raised) is used up. Retry later, or run fewer tasks at a time.",
        codes="ThrottlingException",
        service=HEALTHIMAGING,
    ),
    ServiceErrorRule(
        ServiceError,
        "This is usual just after an import. Retry later.",
        codes="ConflictException",
        service=HEALTHIMAGING,
    ),
    ServiceErrorRule(
        ServiceError,
        "Retry later.",
        codes="InternalServerException InternalError InternalFailure ServiceUnavailable OperationAborted SlowDown "
        "RequestTimeout RequestTimeoutException Throttling ThrottledException RequestThrottled "
        "RequestThrottledException RequestLimitExceeded TooManyRequestsException PriorRequestNotComplete "
        "IncompleteBody BadDigest",
    ),
    ServiceErrorRule(ServiceError, "Retry later.", codes="IDPCommunicationError ThrottlingException", service=STS),
    # Errors of a service, by status, if no rule names the code.
    ServiceErrorRule(
        AccessDeniedError,
        "AWS, or a proxy before it, denied access. Check permissions, endpoint_url and proxies.",
        statuses=(401, 403, 407),
    ),
    ServiceErrorRule(
        ServiceError, "See the service's list of common errors. Retry later.", statuses=(408, 409, 425, 429)
    ),
    ServiceErrorRule(RejectedRequestError, "See the service's list of common errors.", statuses=range(400, 500)),
    ServiceErrorRule(ServiceError, "See the service's list of common errors. Retry later.", statuses=range(1000)),
)
