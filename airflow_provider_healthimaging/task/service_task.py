"""What every task has in common: its connection to HealthImaging, and the arguments for what it writes to S3."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_healthimaging.aws.client_config import DEFAULT_CLIENT_CONFIG, ClientDefaults, parse_config
from airflow_provider_healthimaging.aws.connection_arguments import (
    check_config_arguments,
    check_conn_id,
    check_region_name,
    check_verify,
)
from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.links.healthimaging import HealthImagingDatastoreLink
from airflow_provider_healthimaging.output.destination import parse_s3_arguments
from airflow_provider_healthimaging.search.rendered import is_empty
from airflow_provider_healthimaging.search.validation import check_whole_number
from airflow_provider_healthimaging.task.arguments import is_template
from airflow_provider_healthimaging.task.private_fields import MaskedField, PrivateFields

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_healthimaging.aws.connection_arguments import ConfigArguments


class ServiceTask(PrivateFields):
    """The arguments that all tasks share. Their meaning is documented at the operators."""

    s3_extra_args = MaskedField()
    private_fields: ClassVar[tuple[str, ...]] = ("s3_extra_args",)
    operator_extra_links: Any = (HealthImagingDatastoreLink(),)
    ui_color = "#d5e8e4"

    def __init__(
        self,
        *,
        max_xcom_items: int,
        s3_uri: str | None,
        s3_conn_id: str | None,
        s3_extra_args: Mapping[str, object] | str | None,
        aws_conn_id: str | None,
        region_name: str | None,
        botocore_config: ConfigArguments | None,
        **kwargs: Any,  # the arguments of Airflow's base class
    ) -> None:
        """Hold the template fields as they are, and check the other arguments."""
        super().__init__(**kwargs)
        self.s3_uri = s3_uri
        self.s3_conn_id = s3_conn_id
        self.s3_extra_args = s3_extra_args
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        with self.argument_checks():
            self.reject_templates(max_xcom_items=max_xcom_items, botocore_config=botocore_config)
            if isinstance(s3_extra_args, Mapping) or not is_template(s3_extra_args):
                parse_s3_arguments(s3_extra_args)
            self.max_xcom_items = check_whole_number("max_xcom_items", max_xcom_items)
            self.botocore_config = check_config_arguments(botocore_config)
            parse_config(self.botocore_config)

    @property
    def tls_verify(self) -> bool | str | None:
        """Whether to verify TLS certificates, or the path of a CA bundle; ``None`` for what the connection says."""
        return None

    @property
    def client_defaults(self) -> ClientDefaults:
        """The settings of the client that neither the connection nor ``botocore_config`` gives."""
        return DEFAULT_CLIENT_CONFIG

    @property
    def s3_connection(self) -> str | None:
        """The connection for S3, which is that for AWS if none was given; template fields must be rendered."""
        return check_conn_id("s3_conn_id", self.aws_conn_id if is_empty(self.s3_conn_id) else self.s3_conn_id)

    @cached_property
    def hook(self) -> HealthImagingHook:
        """The hook, made at its first use."""
        return HealthImagingHook(
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.tls_verify,
            config=self.botocore_config,
            client_defaults=self.client_defaults,
        )

    def check_connection(self) -> None:
        """Check the template fields of the connection; they must be rendered."""
        check_conn_id("aws_conn_id", self.aws_conn_id)
        check_region_name(self.region_name)
        check_verify(self.tls_verify)

    def keep_datastore_link(self, context: Context, datastore_id: str) -> None:
        """Keep what the link to the data store needs."""
        self.hook.client_for(datastore_id)
        HealthImagingDatastoreLink.persist(
            context,
            self,
            region_name=self.hook.conn_region_name,
            aws_partition=self.hook.conn_partition,
            datastore_id=datastore_id,
        )
