"""Errors of AWS and botocore become errors of this package, by code and not by text; some of them are retryable."""

import pytest
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from airflow_provider_healthimaging.aws.botocore_error_table import BOTOCORE_RULES, REGIONS
from airflow_provider_healthimaging.aws.error_table import HEALTHIMAGING, S3, SERVICE_RULES, STS
from airflow_provider_healthimaging.aws.errors import BOTOCORE_ERRORS, to_provider_error, translate_errors
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

CANARY = "CANARY-4711"
WHERE = "data store ddd, region us-east-1, connection 'aws_default'"
OPERATIONS = {HEALTHIMAGING: "SearchImageSets", S3: "PutObject", STS: "AssumeRoleWithWebIdentity"}
LISTED = "list of common errors"

ANSWERS = (
    # service, code, status, error, what to do
    (HEALTHIMAGING, "AccessDeniedException", 403, AccessDeniedError, "Allow medical-imaging:SearchImageSets"),
    (HEALTHIMAGING, "UnrecognizedClientException", 403, AccessDeniedError, "AWS does not know the access key"),
    (STS, "InvalidClientTokenId", 403, AccessDeniedError, "AWS does not know the access key"),
    (S3, "InvalidAccessKeyId", 403, AccessDeniedError, "AWS does not know the access key"),
    (HEALTHIMAGING, "InvalidSignatureException", 403, AccessDeniedError, "secret key, the region, and this machine's"),
    (S3, "SignatureDoesNotMatch", 403, AccessDeniedError, "secret key, the region, and this machine's clock"),
    (S3, "RequestTimeTooSkewed", 403, AccessDeniedError, "this machine's clock"),
    (S3, "InvalidToken", 400, AccessDeniedError, "session token does not belong"),
    (HEALTHIMAGING, "IncompleteSignature", 400, AccessDeniedError, "session token does not belong"),
    (HEALTHIMAGING, "MissingAuthenticationTokenException", 403, AccessDeniedError, "session token does not belong"),
    (HEALTHIMAGING, "OptInRequired", 403, AccessDeniedError, "enable the region"),
    (HEALTHIMAGING, "ResourceNotFoundException", 404, DatastoreNotFoundError, "Check datastore_id and the region"),
    (HEALTHIMAGING, "ValidationException", 400, RejectedRequestError, "Check search_criteria"),
    (HEALTHIMAGING, "ServiceQuotaExceededException", 402, RejectedRequestError, "quota other than the call rate"),
    (HEALTHIMAGING, "UnknownOperationException", 404, RejectedRequestError, "the service there is not HealthImaging"),
    (HEALTHIMAGING, "404", 404, RejectedRequestError, "the service there is not HealthImaging"),
    (HEALTHIMAGING, "ThrottlingException", 429, ServiceError, "quota (25 calls/s unless raised)"),
    (HEALTHIMAGING, "ConflictException", 409, ServiceError, "Retry later"),
    (HEALTHIMAGING, "InternalServerException", 500, ServiceError, "Retry later"),
    (HEALTHIMAGING, "ExpiredTokenException", 403, ServiceError, "A retry renews the credentials of a role"),
    (HEALTHIMAGING, "RequestExpired", 400, ServiceError, "A retry renews the credentials of a role"),
    (S3, "ExpiredToken", 400, ServiceError, "A retry renews the credentials of a role"),
    (STS, "ExpiredTokenException", 400, ServiceError, "A retry renews the credentials of a role"),
    (STS, "AccessDenied", 403, AccessDeniedError, "sts:AssumeRole"),
    (STS, "InvalidIdentityToken", 400, AccessDeniedError, "sts:AssumeRole"),
    (STS, "Throttling", 400, ServiceError, "Retry later"),
    (STS, "ThrottlingException", 400, ServiceError, "Retry later"),
    (STS, "IDPCommunicationError", 400, ServiceError, "Retry later"),
    (STS, "RequestLimitExceeded", 400, ServiceError, "Retry later"),
    (S3, "AccessDenied", 403, AccessDeniedError, "s3:AbortMultipartUpload"),
    (S3, "403", 403, AccessDeniedError, "s3:AbortMultipartUpload"),
    (S3, "NoSuchBucket", 404, RejectedRequestError, "does not exist. Check the address"),
    (S3, "404", 404, RejectedRequestError, "does not exist. Check the address"),
    (S3, "PermanentRedirect", 301, RejectedRequestError, "another region"),
    (S3, "AuthorizationHeaderMalformed", 400, RejectedRequestError, "another region"),
    (S3, "KMS.DisabledException", 400, RejectedRequestError, "KMS key"),
    (S3, "KMS.NotFoundException", 400, RejectedRequestError, "KMS key"),
    (S3, "SlowDown", 503, ServiceError, "Retry later"),
    (S3, "RequestTimeout", 400, ServiceError, "Retry later"),
    (S3, "BadDigest", 400, ServiceError, "Retry later"),
    # codes that are in no rule: by status
    (HEALTHIMAGING, "SomethingNew", 400, RejectedRequestError, LISTED),
    (HEALTHIMAGING, "SomethingNew", 422, RejectedRequestError, LISTED),
    (HEALTHIMAGING, "Forbidden", 403, AccessDeniedError, "or a proxy before it, denied access"),
    (HEALTHIMAGING, "401", 401, AccessDeniedError, "or a proxy before it, denied access"),
    (HEALTHIMAGING, "407", 407, AccessDeniedError, "or a proxy before it, denied access"),
    (HEALTHIMAGING, "408", 408, ServiceError, LISTED),
    (HEALTHIMAGING, "Conflict", 409, ServiceError, LISTED),
    (HEALTHIMAGING, "TooManyRequests", 429, ServiceError, LISTED),
    (HEALTHIMAGING, "500", 500, ServiceError, LISTED),
    (HEALTHIMAGING, "BadGateway", 502, ServiceError, LISTED),
    (HEALTHIMAGING, "503", 503, ServiceError, LISTED),
    (HEALTHIMAGING, "504", 504, ServiceError, LISTED),
    (HEALTHIMAGING, "301", 301, ServiceError, LISTED),
    (S3, "SomethingNew", 400, RejectedRequestError, LISTED),
    (STS, "SomethingNew", 500, ServiceError, LISTED),
)

URL = {"endpoint_url": f"http://x/{CANARY}"}
FAULTS_AND_ERRORS = (
    (boto.NoRegionError(), ConfigurationError, "No AWS region is configured"),
    (
        boto.InvalidRegionError(region_name=CANARY),
        ConfigurationError,
        "No AWS region is configured, or its name is invalid",
    ),
    (boto.NoCredentialsError(), ConfigurationError, "No usable AWS credentials"),
    (boto.PartialCredentialsError(provider="env", cred_var=CANARY), ConfigurationError, "No usable AWS"),
    (boto.ProfileNotFound(profile=CANARY), ConfigurationError, "No usable AWS credentials"),
    (boto.ConfigParseError(path=CANARY, error=""), ConfigurationError, "No usable AWS credentials"),
    (boto.InvalidConfigError(error_msg=CANARY), ConfigurationError, "No usable AWS credentials"),
    (boto.SSOTokenLoadError(error_msg=CANARY), ConfigurationError, "aws sso login"),
    (boto.UnauthorizedSSOTokenError(), ConfigurationError, "aws sso login"),
    (boto.TokenRetrievalError(provider="sso", error_msg=CANARY), ConfigurationError, "aws sso login"),
    (FileNotFoundError(2, CANARY), ConfigurationError, "Check the paths in the connection"),
    (
        boto.CredentialRetrievalError(provider="x", error_msg=CANARY),
        ConnectionFailedError,
        "source of credentials did not return any",
    ),
    (boto.MetadataRetrievalError(error_msg=CANARY), ConnectionFailedError, "source of credentials did not return any"),
    (boto.UnknownServiceError(service_name="x", known_service_names=[]), ConfigurationError, "Update boto3"),
    (boto.ParamValidationError(report=CANARY), InvalidArgumentError, "Botocore rejected the parameters"),
    (ValueError(f"Invalid endpoint: {CANARY}"), ConfigurationError, "Write a URL: http:// or https://"),
    (ValueError(f"Bad starting token: {CANARY}"), InvalidArgumentError, "Use the next_token of an earlier run"),
    (ValueError(CANARY), InvalidArgumentError, "Botocore rejected a value"),
    (TypeError(CANARY), ConfigurationError, "Check botocore_config, and in the extra of the connection"),
    (boto.PaginationError(message=CANARY), HealthImagingError, "the same page token twice"),
    (boto.SSLError(error=f"CERTIFICATE_VERIFY_FAILED {CANARY}", **URL), ConfigurationError, "CA bundle"),
    (boto.SSLError(error=f"WRONG_VERSION_NUMBER {CANARY}", **URL), ConfigurationError, "does not support TLS"),
    (boto.SSLError(error=f"UNEXPECTED_EOF {CANARY}", **URL), ConnectionFailedError, "SSLError"),
    (ResponseParserError(CANARY), ConnectionFailedError, "is not a valid HealthImaging response"),
    (boto.ProxyConnectionError(proxy_url=CANARY), ConnectionFailedError, "HTTPS_PROXY"),
    (boto.EndpointConnectionError(**URL), ConnectionFailedError, "EndpointConnectionError"),
    (boto.ConnectTimeoutError(**URL), ConnectionFailedError, "ConnectTimeoutError"),
    (boto.ReadTimeoutError(**URL), ConnectionFailedError, "ReadTimeoutError"),
    (boto.ConnectionClosedError(**URL), ConnectionFailedError, "ConnectionClosedError"),
    (boto.HTTPClientError(error=CANARY), ConnectionFailedError, "HTTPClientError"),
    (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), ConnectionFailedError, "IncompleteReadError"),
)


def client_error(service, code, status):
    response = {
        "Error": {"Code": code, "Message": f"Value {CANARY!r} at 'filters' is invalid"},
        "ResponseMetadata": {"HTTPStatusCode": status},
        "message": CANARY,
    }
    return boto.ClientError(response, OPERATIONS[service])


S3_FAULTS_AND_ERRORS = (
    (boto.NoRegionError(), ConfigurationError, "region_name in the extra of the connection that s3_conn_id names"),
    (boto.ParamValidationError(report=CANARY), InvalidArgumentError, "Check s3_uri, and the values of s3_extra_args"),
    (boto.EndpointConnectionError(**URL), ConnectionFailedError, "in the connection that s3_conn_id names"),
)


@pytest.mark.parametrize(("fault", "kind", "advice"), S3_FAULTS_AND_ERRORS, ids=lambda each: None)
def test_an_error_of_s3_never_names_the_search(all_text, fault, kind, advice):
    error = to_provider_error(fault, "s3_uri s3://bucket/", S3)
    assert type(error) is kind
    assert advice in str(error)
    assert "search" not in str(error)
    assert "HealthImaging" not in str(error)
    assert CANARY not in all_text(error)


def test_the_cases_of_this_module_cover_every_rule():
    errors = [to_provider_error(fault, WHERE) for fault, *_ in FAULTS_AND_ERRORS]
    errors += [to_provider_error(fault, WHERE, S3) for fault, *_ in S3_FAULTS_AND_ERRORS]
    errors += [to_provider_error(client_error(*answer[:3]), WHERE, answer[0]) for answer in ANSWERS]
    covered = {(type(error), str(error).partition(f"{WHERE}). ")[2]) for error in errors}

    assert [rule for rule in (*SERVICE_RULES, *BOTOCORE_RULES) if (rule.error, rule.advice) not in covered] == []


def test_no_code_of_a_service_is_in_two_rules():
    for service in OPERATIONS:
        codes = [code for rule in SERVICE_RULES if rule.service in {service, ""} for code in rule.codes.split()]
        assert len(codes) == len(set(codes))


@pytest.mark.parametrize(("service", "code", "status", "kind", "advice"), ANSWERS, ids=lambda each: None)
def test_an_error_code_becomes_an_error_with_location_advice_and_retryable(
    all_text, service, code, status, kind, advice
):
    error = to_provider_error(client_error(service, code, status), WHERE, HEALTHIMAGING if service == STS else service)
    assert type(error) is kind
    assert error.retryable is (kind is ServiceError)
    assert error.code == code
    assert str(error).startswith(f"{service} answered {code} (HTTP {status}; {WHERE}). ")
    assert advice in str(error)
    assert CANARY not in all_text(error)


@pytest.mark.parametrize("response", [{}, {"Error": {}}, {"Error": {"Code": ""}}, {"ResponseMetadata": {}}])
def test_an_error_without_a_code_is_retryable(response):
    error = to_provider_error(boto.ClientError(response, "SearchImageSets"), WHERE)
    assert type(error) is ServiceError
    assert error.retryable
    assert "no code (HTTP 0" in str(error)


def test_every_code_of_the_rules_is_passed_on():
    for rule in SERVICE_RULES:
        for code in rule.codes.split():
            status = int(code) if code.isdigit() else 400
            assert to_provider_error(client_error(HEALTHIMAGING, code, status), WHERE).code == code


@pytest.mark.parametrize("echoed", [CANARY, "Doe^Jane", "Jane Doe", "19700131", "Denied\n", "x" * 65])
def test_text_that_does_not_look_like_a_code_is_not_passed_on(all_text, echoed):
    error = to_provider_error(client_error(HEALTHIMAGING, echoed, 400), WHERE)
    assert type(error) is RejectedRequestError
    assert error.code == "an unknown code"
    assert str(error).startswith(f"HealthImaging answered an unknown code (HTTP 400; {WHERE}). ")
    assert echoed not in all_text(error)


@pytest.mark.parametrize(("fault", "kind", "says"), FAULTS_AND_ERRORS, ids=lambda each: type(each).__name__)
def test_an_exception_of_botocore_becomes_an_error_without_its_text(all_text, fault, kind, says):
    error = to_provider_error(fault, WHERE)
    assert type(error) is kind
    assert error.retryable is (kind is ConnectionFailedError)
    assert says in str(error)
    assert f" ({WHERE}). " in str(error)
    assert CANARY not in all_text(error)


@pytest.mark.parametrize("fault", [boto.NoRegionError(), boto.EndpointConnectionError(**URL)])
def test_errors_that_a_wrong_region_may_cause_list_the_regions(fault):
    assert ", ".join(REGIONS) in str(to_provider_error(fault, WHERE))


def test_an_error_of_this_package_is_returned_unchanged():
    error = InvalidArgumentError("as it is")
    assert to_provider_error(error, WHERE) is error


def test_translate_errors_raises_unchained_errors_and_returns_results(all_text):
    def fails():
        raise client_error(S3, "NoSuchBucket", 404)

    with pytest.raises(RejectedRequestError) as caught:
        translate_errors(fails, WHERE, S3, BOTOCORE_ERRORS)

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert CANARY not in all_text(caught.value)
    assert translate_errors(lambda: 4711, WHERE) == 4711


def test_other_exceptions_are_not_translated():
    with pytest.raises(ZeroDivisionError):
        translate_errors(lambda: 1 / 0, WHERE)
