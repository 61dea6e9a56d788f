"""amazon's ``S3Hook`` for objects and names that may be patient data."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from airflow_provider_healthimaging.aws.client_config import (
    DEFAULT_CLIENT_CONFIG,
    MAX_CONNECTIONS,
    ClientDefaults,
    merged_config,
)
from airflow_provider_healthimaging.privacy.debug_log_filter import filter_debug_log

if TYPE_CHECKING:
    import boto3
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper


class PrivateS3Hook(S3Hook):
    """amazon's ``S3Hook``, whose client logs nothing at DEBUG: botocore would log names and whole objects.

    It retries as the client of HealthImaging does, unless ``config_kwargs`` of the connection say otherwise.

    :param max_connections: the least size of the connection pool.
    """

    def __init__(self, *args: Any, max_connections: int = MAX_CONNECTIONS, **kwargs: Any) -> None:  # amazon's arguments
        """Keep the size of the pool; the client is made at the first call."""
        super().__init__(*args, **kwargs)
        self._max_connections = max(max_connections, MAX_CONNECTIONS)

    def get_session(self, region_name: str | None = None, deferrable: bool = False) -> boto3.session.Session:  # noqa: FBT002 - amazon's signature
        """Return a boto3 session whose S3 clients log nothing at DEBUG."""
        session = super().get_session(region_name, deferrable)
        filter_debug_log(session, "s3")
        return session

    @cached_property
    def conn_config(self) -> AwsConnectionWrapper:
        """The connection, with its botocore configuration merged with our defaults."""
        wrapper = super().conn_config
        defaults: ClientDefaults = {**DEFAULT_CLIENT_CONFIG, "max_pool_connections": self._max_connections}
        wrapper.botocore_config = merged_config(wrapper.extra_config.get("config_kwargs") or {}, None, defaults)
        return wrapper
