"""The configuration of the boto3 client: retries, timeouts, endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict
from urllib.parse import urlsplit

from botocore import UNSIGNED
from botocore.config import Config

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.rendered import shown
from airflow_provider_healthimaging.search.suggestions import unknown_name_error

if TYPE_CHECKING:
    from types_boto3_medical_imaging import HealthImagingClient

    from airflow_provider_healthimaging.aws.connection_arguments import ConfigArguments


class Retries(TypedDict):
    """Botocore's ``retries``."""

    mode: str
    total_max_attempts: int


class ClientDefaults(TypedDict):
    """Arguments of botocore's ``Config``; timeouts in seconds."""

    max_pool_connections: int
    retries: Retries
    connect_timeout: NotRequired[float]
    read_timeout: NotRequired[float]


RETRIES: Retries = {"mode": "standard", "total_max_attempts": 10}
"""Always set, because botocore's own default differs by version (legacy: 5 attempts, standard: 3)."""

MAX_CONNECTIONS = 32
"""The size of a client's connection pool. A search may have more workers than botocore's default of 10."""

DEFAULT_CLIENT_CONFIG: ClientDefaults = {"max_pool_connections": MAX_CONNECTIONS, "retries": RETRIES}
"""The settings to use if neither the connection nor the caller gives them."""

POLLING_CLIENT_CONFIG: ClientDefaults = {
    **DEFAULT_CLIENT_CONFIG,
    "connect_timeout": 10,
    "read_timeout": 20,
    "retries": {**RETRIES, "total_max_attempts": 4},
}
"""Shorter timeouts (in seconds) and fewer attempts for polling triggers, which poll again soon.

Botocore's default timeouts are 60 seconds.
"""

_AWS_HOST = re.compile(r"medical-imaging(-fips)?\.[a-z0-9-]+\.(amazonaws\.com(\.cn)?|api\.aws)")


def parse_config(config: object) -> Config | None:
    """Return botocore's configuration.

    :param config: a ``Config``, its arguments, or ``None``.
    :raises InvalidArgumentError: for an argument that botocore does not know, or whose value it rejects.
    """
    if config is None or isinstance(config, Config):
        return config
    if not isinstance(config, Mapping):
        raise InvalidArgumentError(
            f"config must be botocore's Config, or a dictionary of its arguments, not {type(config).__name__}."
        )
    for key in config:
        if key not in Config.OPTION_DEFAULTS:
            raise unknown_name_error("key in botocore_config", key, Config.OPTION_DEFAULTS)
    try:
        return Config(**config)
    except Exception as error:  # noqa: BLE001 - botocore raises errors of many types, and its text shows the values
        fault = type(error).__name__
    raise InvalidArgumentError(
        f"botocore rejects a value in botocore_config ({fault}; keys: {shown(sorted(config))}). Check their types in "
        "the reference of botocore.config.Config."
    )


def merged_config(
    connection: ConfigArguments, caller: Config | None, defaults: ClientDefaults = DEFAULT_CLIENT_CONFIG
) -> Config:
    """Return botocore's configuration, merged from three layers: the defaults, the connection, the caller.

    A later layer replaces the settings of an earlier one, and ``retries`` is merged key by key. The two names for the
    number of attempts count as one key.

    :param connection: ``config_kwargs`` of the Airflow connection, the arguments of botocore's ``Config``.
    :param caller: the configuration that was given to the hook or the operator.
    """
    arguments: ConfigArguments = {**defaults, **connection}
    if arguments.get("signature_version") == "unsigned":
        arguments["signature_version"] = UNSIGNED
    merged = Config(**arguments).merge(caller or Config())
    retries: Any = {}  # the stubs' type of it is private
    given = getattr(caller, "retries", None)
    for layer in (defaults["retries"], connection.get("retries") or {}, given or {}):
        if {"max_attempts", "total_max_attempts"} & layer.keys():
            retries = {key: value for key, value in retries.items() if key == "mode"}
        retries |= layer
    return merged.merge(Config(retries=retries))


def retry_settings(client: HealthImagingClient) -> Retries:
    """Return the retries that a client was made with; botocore normalizes them to these two members."""
    retries: Retries = getattr(client.meta.config, "retries")  # noqa: B009 - botocore sets it at run time
    return retries


def use_endpoint_as_given(client: HealthImagingClient, config: Config) -> None:
    """Keep botocore from putting ``runtime-`` before an endpoint that is not AWS's own.

    The client's endpoint decides, because it may come from the connection, from an environment variable or from a
    configuration file. ``inject_host_prefix=True`` in ``config`` turns the prefix on again.
    """
    prefix = Config(inject_host_prefix=False).merge(config).inject_host_prefix
    if not prefix and not is_aws_host(urlsplit(client.meta.endpoint_url).hostname):
        client.meta.config.inject_host_prefix = False


def is_aws_host(host: str | None) -> bool:
    """Whether this is AWS's own host of HealthImaging."""
    return _AWS_HOST.fullmatch(host or "") is not None
