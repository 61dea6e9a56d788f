"""Every error on the way becomes one of ours: by its code, never by its text, and retryable only where it helps."""

import pytest
from botocore import exceptions as boto

from airflow_provider_healthimaging.exceptions import (
    AccessDeniedError,
    ConfigurationError,
    ConnectionFailedError,
    DatastoreNotFoundError,
    InvalidArgumentError,
    RejectedRequestError,
    ServiceError,
)
from airflow_provider_healthimaging.service_errors import _BY_CODE, REGIONS, explained

CANARY = "CANARY-4711"
WHERE = "data store ddd, region us-east-1, connection 'aws_default'"

CODES = {
    "AccessDeniedException": (403, AccessDeniedError, "Allow medical-imaging:SearchImageSets"),
    "UnrecognizedClientException": (403, AccessDeniedError, "access key is unknown"),
    "InvalidClientTokenId": (403, AccessDeniedError, "access key is unknown"),
    "InvalidSignatureException": (403, AccessDeniedError, "secret key, the region, and this machine's clock"),
    "ResourceNotFoundException": (404, DatastoreNotFoundError, "Check datastore_id and the region"),
    "ValidationException": (400, RejectedRequestError, "Check search_criteria"),
    "ThrottlingException": (429, ServiceError, "quota (25 calls/s unless raised)"),
    "ConflictException": (409, ServiceError, "Retry later"),
    "InternalServerException": (500, ServiceError, "Retry later"),
    # not in the list
    "ServiceQuotaExceededException": (402, RejectedRequestError, "list of common errors"),
    "SomethingNew": (400, RejectedRequestError, "list of common errors"),
    "Forbidden": (403, RejectedRequestError, "list of common errors"),
    "RequestTimeout": (408, ServiceError, "list of common errors"),
    "Conflict": (409, ServiceError, "list of common errors"),
    "TooManyRequests": (429, ServiceError, "list of common errors"),
    "ExpiredTokenException": (403, ServiceError, "list of common errors"),
    "RequestExpired": (400, ServiceError, "list of common errors"),
    "ServiceUnavailable": (503, ServiceError, "list of common errors"),
    "BadGateway": (502, ServiceError, "list of common errors"),
}


def client_error(code, status):
    response = {
        "Error": {"Code": code, "Message": f"Value {CANARY!r} at 'filters' is invalid"},
        "ResponseMetadata": {"HTTPStatusCode": status},
        "message": CANARY,
    }
    return boto.ClientError(response, "SearchImageSets")


def test_every_code_that_has_an_advice_is_in_the_table_below():
    assert set(_BY_CODE) == set(CODES) - {code for code, row in CODES.items() if "common errors" in row[2]}


@pytest.mark.parametrize("code", CODES)
def test_a_code_says_what_happened_where_and_what_to_do_and_whether_a_retry_helps(all_text, code):
    status, kind, advice = CODES[code]
    error = explained(client_error(code, status), WHERE)
    assert type(error) is kind
    assert error.retryable is (kind is ServiceError)
    assert error.code == code
    assert f"{code} (HTTP {status}; {WHERE})" in str(error)
    assert advice in str(error)
    assert CANARY not in all_text(error)


@pytest.mark.parametrize("response", [{}, {"Error": {}}, {"Error": {"Code": ""}}, {"ResponseMetadata": {}}])
def test_an_error_without_a_code_is_still_an_error_and_may_be_retried(response):
    error = explained(boto.ClientError(response, "SearchImageSets"), WHERE)
    assert type(error) is ServiceError
    assert error.retryable
    assert "no code (HTTP 0" in str(error)


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (boto.NoRegionError(), ConfigurationError, "Put region_name into the connection's extra"),
        (boto.NoCredentialsError(), ConfigurationError, "No usable AWS credentials"),
        (boto.PartialCredentialsError(provider="env", cred_var=CANARY), ConfigurationError, "No usable AWS"),
        (boto.CredentialRetrievalError(provider="x", error_msg=CANARY), ConfigurationError, "No usable AWS"),
        (boto.ParamValidationError(report=CANARY), InvalidArgumentError, "botocore refused the parameters"),
        (boto.EndpointConnectionError(endpoint_url="http://x"), ConnectionFailedError, "EndpointConnectionError"),
        (boto.ConnectTimeoutError(endpoint_url="http://x"), ConnectionFailedError, "ConnectTimeoutError"),
        (boto.ReadTimeoutError(endpoint_url="http://x"), ConnectionFailedError, "ReadTimeoutError"),
        (boto.ConnectionClosedError(endpoint_url="http://x"), ConnectionFailedError, "ConnectionClosedError"),
        (boto.SSLError(endpoint_url="http://x", error=CANARY), ConnectionFailedError, "SSLError"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else None,
)
def test_what_botocore_says_itself_is_explained_without_its_text(all_text, error, kind, says):
    ours = explained(error, WHERE)
    assert type(ours) is kind
    assert ours.retryable is (kind is ConnectionFailedError)
    assert says in str(ours)
    assert WHERE in str(ours)
    assert CANARY not in all_text(ours)


@pytest.mark.parametrize("error", [boto.NoRegionError(), boto.EndpointConnectionError(endpoint_url="http://x")])
def test_the_regions_that_there_are_are_named_where_the_region_may_be_the_trouble(error):
    assert ", ".join(REGIONS) in str(explained(error, WHERE))
