"""The connection of the hook to AWS HealthImaging: its boto3 client, configuration and error messages."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.config import Config

from airflow_provider_healthimaging.aws.client_config import (
    DEFAULT_CLIENT_CONFIG,
    ClientDefaults,
    merged_config,
    parse_config,
    use_endpoint_as_given,
)
from airflow_provider_healthimaging.aws.connection_arguments import (
    ConfigArguments,
    check_conn_id,
    check_region_name,
    check_verify,
)
from airflow_provider_healthimaging.aws.errors import translate_errors
from airflow_provider_healthimaging.aws.rate_limit import install_rate_limiter
from airflow_provider_healthimaging.aws.truncated_responses import install_truncation_retry
from airflow_provider_healthimaging.hooks.clients import translate_client_errors
from airflow_provider_healthimaging.privacy.debug_log_filter import filter_debug_log

if TYPE_CHECKING:
    import boto3
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper
    from types_boto3_medical_imaging import HealthImagingClient


class ServiceConnection(AwsBaseHook):
    """Makes the boto3 client. ``HealthImagingHook`` documents the arguments."""

    def __init__(
        self,
        aws_conn_id: str | None = AwsBaseHook.default_conn_name,
        verify: bool | str | None = None,
        region_name: str | None = None,
        *,
        config: Config | ConfigArguments | None = None,
        client_defaults: ClientDefaults = DEFAULT_CLIENT_CONFIG,
    ) -> None:
        """Check the arguments; the client is made at the first call."""
        self._caller_config = parse_config(config)
        self._client_defaults = client_defaults
        self.given_verify = check_verify(verify)
        super().__init__(
            aws_conn_id=check_conn_id("aws_conn_id", aws_conn_id),
            verify=self.given_verify,
            region_name=check_region_name(region_name),
            client_type="medical-imaging",
            config=self._caller_config,
        )

    def client_for(self, datastore_id: str) -> HealthImagingClient:
        """Return the boto3 client. Errors of its calls are botocore's own.

        :param datastore_id: the data store to name in the error, if the client cannot be made.
        :raises ConfigurationError: if the connection gives no credentials, no region, or a wrong setting.
        """
        location = self.location(datastore_id)
        return translate_client_errors(lambda: cast("HealthImagingClient", self.conn), location)

    def get_session(self, region_name: str | None = None, deferrable: bool = False) -> boto3.session.Session:  # noqa: FBT002 - amazon's signature
        """Return a boto3 session whose HealthImaging clients log no patient data."""
        session = super().get_session(region_name, deferrable)
        filter_debug_log(session, "medical-imaging")
        return session

    def get_client_type(self, *args: Any, **kwargs: Any) -> HealthImagingClient:  # amazon's own arguments
        """Return a boto3 client that reads truncated pages again, and keeps to the account's quota."""
        client = cast("HealthImagingClient", super().get_client_type(*args, **kwargs))
        use_endpoint_as_given(client, self.config)
        install_truncation_retry(client)
        install_rate_limiter(client)
        return client

    @cached_property
    def conn_config(self) -> AwsConnectionWrapper:
        """The connection, with its botocore configuration merged with our defaults and the caller's."""
        return translate_errors(self._read_connection, f"connection {self.aws_conn_id!r}")

    def _read_connection(self) -> AwsConnectionWrapper:
        wrapper = super().conn_config
        wrapper.botocore_config = merged_config(
            wrapper.extra_config.get("config_kwargs") or {}, self._caller_config, self._client_defaults
        )
        return wrapper

    def location(self, datastore_id: str) -> str:
        """Return where a call went, for error messages."""
        return f"data store {datastore_id}, region {self.region_name}, connection {self.aws_conn_id!r}"
