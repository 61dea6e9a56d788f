"""The rules that turn an exception of botocore into an error of this package, if no service answered.

The error's class says whether a retry can help (``retryable``). The tests provoke every rule. Arguments are checked
elsewhere; each mistake is an ``InvalidArgumentError``.
"""

from __future__ import annotations

from dataclasses import dataclass

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from airflow_provider_healthimaging.aws.error_table import S3
from airflow_provider_healthimaging.exceptions import (
    ConfigurationError,
    ConnectionFailedError,
    HealthImagingError,
    InvalidArgumentError,
)

REGIONS = ("us-east-1", "us-west-2", "ap-southeast-2", "eu-west-1", "eu-west-2")
"""The regions of HealthImaging (AWS General Reference). Botocore's own list is empty."""


@dataclass(frozen=True)
class BotocoreErrorRule:
    """Exceptions of botocore, and the error that they become. The first rule that fits is used.

    :param error: the class of the error.
    :param advice: what to do.
    :param causes: the classes of the exceptions.
    :param message_contains: one of these must be in the exception's text.
    :param service: the service that was called; empty for any.
    :param description: what happened. ``{service}`` is the service that was called, ``{fault}`` the name of the
        exception's class.
    """

    error: type[HealthImagingError]
    advice: str
    causes: tuple[type[Exception], ...]
    message_contains: tuple[str, ...] = ("",)
    service: str = ""
    description: str = "No complete response from {service}: {fault}"


_REGIONS = ", ".join(REGIONS)
_NOT_SHOWN = "Botocore's text is not shown, because it may hold patient data."

BOTOCORE_RULES = (
    # Errors of botocore before a request is sent.
    BotocoreErrorRule(
        ConfigurationError,
        "Set region_name in the extra of the connection that s3_conn_id names.",
        causes=(boto.NoRegionError, boto.InvalidRegionError),
        service=S3,
        description="No AWS region is configured, or its name is invalid",
    ),
    BotocoreErrorRule(
        ConfigurationError,
        f"Set region_name in the connection's extra, or give region_name. HealthImaging is in {_REGIONS}.",
        causes=(boto.NoRegionError, boto.InvalidRegionError),
        description="No AWS region is configured, or its name is invalid",
    ),
    BotocoreErrorRule(
        ConfigurationError,
        "Renew it where the task runs (aws sso login), or use a role.",
        causes=(boto.SSOError, boto.TokenRetrievalError),
        description="The AWS SSO session has expired",
    ),
    BotocoreErrorRule(
        ConfigurationError,
        "Check that the connection exists and holds credentials, or that the worker has a role.",
        causes=(
            *(boto.NoCredentialsError, boto.PartialCredentialsError, boto.NoAuthTokenError),
            *(boto.ProfileNotFound, boto.ConfigNotFound, boto.ConfigParseError, boto.InvalidConfigError),
        ),
        description="No usable AWS credentials",
    ),
    BotocoreErrorRule(
        ConfigurationError,
        "Check the paths in the connection and in the worker's environment.",
        causes=(FileNotFoundError,),
        description="A file of credentials or certificates does not exist",
    ),
    BotocoreErrorRule(
        ConnectionFailedError,
        "Check the worker's role, metadata service or credential process, and retry.",
        causes=(boto.CredentialRetrievalError, boto.MetadataRetrievalError),
        description="The worker's source of credentials did not return any",
    ),
    BotocoreErrorRule(
        ConfigurationError,
        "Update boto3.",
        causes=(boto.DataNotFoundError,),
        description="This version of botocore does not know {service}",
    ),
    BotocoreErrorRule(
        InvalidArgumentError,
        "Check s3_uri, and the values of s3_extra_args. Botocore's text is not shown, because it may hold a key.",
        causes=(boto.ParamValidationError,),
        service=S3,
        description="Botocore rejected the parameters for S3",
    ),
    BotocoreErrorRule(
        InvalidArgumentError,
        f"Check search_criteria against the API reference. {_NOT_SHOWN}",
        causes=(boto.ParamValidationError,),
        description="Botocore rejected the parameters",
    ),
    BotocoreErrorRule(
        ConfigurationError,
        "Write a URL: http:// or https://, then the host.",
        causes=(ValueError,),
        message_contains=("Invalid endpoint",),
        description="endpoint_url in the connection is not a valid URL",
    ),
    BotocoreErrorRule(
        InvalidArgumentError,
        "Use the next_token of an earlier run of the same search.",
        causes=(ValueError,),
        message_contains=("Bad starting token",),
        description="StartingToken in pagination_config is not a valid token",
    ),
    BotocoreErrorRule(
        InvalidArgumentError,
        f"Check the arguments and the connection. {_NOT_SHOWN}",
        causes=(ValueError,),
        description="Botocore rejected a value",
    ),
    BotocoreErrorRule(
        ConfigurationError,
        "Check botocore_config, and in the extra of the connection: config_kwargs, endpoint_url, region_name, "
        "assume_role_method.",
        causes=(AttributeError, KeyError, OverflowError, TypeError, RuntimeError, ImportError),
        description="Botocore failed ({fault}). A setting of the connection or of the client may have a wrong type",
    ),
    # Errors of botocore while a request is sent, or while its response is read.
    BotocoreErrorRule(
        HealthImagingError,
        "Report this to AWS.",
        causes=(boto.PaginationError,),
        description="{service} returned the same page token twice, so the search would never end",
    ),
    BotocoreErrorRule(
        ConfigurationError,
        "Check endpoint_url, or set verify to the path of your organisation's CA bundle.",
        causes=(boto.SSLError,),
        message_contains=("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER"),
        description="The endpoint's certificate is not trusted, or the endpoint does not support TLS",
    ),
    BotocoreErrorRule(
        ConnectionFailedError,
        "Check for a proxy or a login page before the service, and retry.",
        causes=(ResponseParserError,),
        description="The response is not a valid {service} response",
    ),
    BotocoreErrorRule(
        ConnectionFailedError,
        "Check the proxy that HTTPS_PROXY or the connection's config_kwargs (proxies) names.",
        causes=(boto.ProxyConnectionError,),
    ),
    BotocoreErrorRule(
        ConnectionFailedError,
        "Check the network, and endpoint_url and region_name in the connection that s3_conn_id names.",
        causes=(boto.BotoCoreError, HTTPError),
        service=S3,
    ),
    BotocoreErrorRule(
        ConnectionFailedError,
        f"Check the network, endpoint_url in the connection, and that the region is one of {_REGIONS}.",
        causes=(boto.BotoCoreError, HTTPError),
    ),
)
