"""What every task has in common that returns the image sets of one data store: where its records go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.output.destination import OutputRequest, check_file_format
from airflow_provider_healthimaging.search.validation import check_whole_number
from airflow_provider_healthimaging.task.delivery import mapping_limit
from airflow_provider_healthimaging.task.service_task import ServiceTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_healthimaging.aws.connection_arguments import ConfigArguments


class RecordTask(ServiceTask):
    """The arguments that all such tasks share. Their meaning is documented at the operators."""

    def __init__(
        self,
        *,
        datastore_id: str,
        batch_size: int | None,
        max_xcom_items: int,
        s3_uri: str | None,
        s3_conn_id: str | None,
        s3_extra_args: Mapping[str, object] | str | None,
        file_format: str,
        rows_per_file: int,
        aws_conn_id: str | None,
        region_name: str | None,
        verify: bool | str | None,
        botocore_config: ConfigArguments | None,
        **kwargs: Any,  # the arguments of Airflow's base class
    ) -> None:
        """Hold the template fields as they are, and check the other arguments."""
        super().__init__(
            max_xcom_items=max_xcom_items,
            s3_uri=s3_uri,
            s3_conn_id=s3_conn_id,
            s3_extra_args=s3_extra_args,
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            botocore_config=botocore_config,
            **kwargs,
        )
        self.datastore_id = datastore_id
        self.verify = verify
        with self.argument_checks():
            self.reject_templates(batch_size=batch_size, file_format=file_format, rows_per_file=rows_per_file)
            self.batch_size = None if batch_size is None else check_whole_number("batch_size", batch_size)
            self.file_format = check_file_format(file_format)
            self.rows_per_file = check_whole_number("rows_per_file", rows_per_file)

    @property
    def tls_verify(self) -> bool | str | None:
        """Whether to verify TLS certificates, or the path of a CA bundle."""
        return self.verify

    def parse_output_arguments(self, *, dicom_tags: object = None) -> OutputRequest:
        """Return where the result goes; all template fields must be rendered."""
        return OutputRequest.parse(
            dicom_tags=dicom_tags,
            batch_size=self.batch_size,
            max_xcom_items=self.max_xcom_items,
            s3_uri=self.s3_uri,
            s3_conn_id=self.s3_connection,
            verify=self.verify,
            s3_extra_args=self.s3_extra_args.value,
            file_format=self.file_format,
            rows_per_file=self.rows_per_file,
        )

    def mapping_limit(self, context: Context, output: OutputRequest) -> int | None:
        """Return over how many items a task can be mapped, or ``None`` if no task is mapped over the result.

        :raises InvalidArgumentError: if a task is mapped over a result that is not a list.
        """
        limit = mapping_limit(self, context)
        if output.s3 and limit:
            raise InvalidArgumentError(
                "Another task is mapped over the result of this task, but with s3_uri the result is not a list: it is "
                "the summary of the dataset. Remove s3_uri, or pass .output to a task without .expand(), which reads "
                "the dataset's manifest."
            )
        return limit

    def persist_datastore_link(self, context: Context) -> None:
        """Keep what the link to the data store needs."""
        self.keep_datastore_link(context, self.datastore_id)
