"""The sensor that waits for an import job which something else started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import PokeReturnValue, conf

from airflow_provider_healthimaging.aws.connection_arguments import check_config_arguments
from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.imports.arguments import check_job_id
from airflow_provider_healthimaging.search.validation import check_datastore_id
from airflow_provider_healthimaging.task.failure import fail_without_retry
from airflow_provider_healthimaging.task.import_job import ImportJobTask
from airflow_provider_healthimaging.task.waiting import DeferrableSensor
from airflow_provider_healthimaging.triggers.healthimaging import HealthImagingDicomImportJobTrigger
from airflow_provider_healthimaging.window import format_utc

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_healthimaging.aws.connection_arguments import ConfigArguments


class HealthImagingDicomImportJobSensor(ImportJobTask, DeferrableSensor):
    """Wait for the end of an import job, and return what the operator would return for it.

    ``poke``, ``reschedule`` and ``deferrable`` give the same result, the same XCom and the same errors. Throttling and
    other retryable errors do not end the wait. Any other error fails the task at once, and so does a job that ended
    badly, because a retry would find the same job. ``soft_fail`` skips the task only if it times out and its last
    poke was answered.

    :param datastore_id: the data store's id, 32 characters of 0-9 and a-z. (templated)
    :param job_id: the job's id, as StartDICOMImportJob returned it. (templated)
    :param on_failed_files: ``"fail"``, ``"warn"`` or ``"ignore"`` if files were not imported. The summary counts them
        in each case.
    :param require_primary: fail if an image set of the job is not primary, because its data conflict with what was in
        the data store.
    :param batch_size: return lists of this many records, to map a task over batches.
    :param max_xcom_items: the most image sets that may go to XCom; more are an error, and nothing is cut off.
    :param s3_uri: write a dataset of the records under this ``s3://bucket/prefix/``, and return its summary.
        (templated)
    :param s3_conn_id: the AWS connection for S3: to read the report, and to write the dataset; default
        ``aws_conn_id``. (templated)
    :param s3_extra_args: arguments for each object of the dataset, as ``{"ServerSideEncryption": "aws:kms"}``; see
        amazon's ``S3Hook``. Shown with ``***`` for their values, because one may be an encryption key. (templated)
    :param file_format: ``"jsonl"`` (gzipped JSON Lines), or ``"parquet"``, which needs the extra of that name.
    :param rows_per_file: records in each part of the dataset but the last.
    :param deferrable: wait in the triggerer; default ``[operators] default_deferrable``.
    :param aws_conn_id: the Airflow connection for AWS. (templated)
    :param region_name: AWS region; default that of the connection. (templated)
    :param verify: whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: settings for botocore's client, merged with the connection's ``config_kwargs``.

    Further arguments, such as ``poke_interval``, ``timeout``, ``mode`` and ``soft_fail``, are those of every sensor.

    :return: as the operator.
    :raises InvalidArgumentError: for an argument that cannot work; when the DAG is parsed, or for a template field when
        the task runs.
    :raises HealthImagingError: when the task runs; see :mod:`airflow_provider_healthimaging.exceptions`.
    """

    retry_starts_another_job = False
    template_fields: Sequence[str] = (
        "aws_conn_id",
        "datastore_id",
        "job_id",
        "region_name",
        "s3_conn_id",
        "s3_extra_args",
        "s3_uri",
        "verify",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"s3_extra_args": "json"}

    def __init__(
        self,
        *,
        datastore_id: str,
        job_id: str,
        on_failed_files: str = "fail",
        require_primary: bool = False,
        batch_size: int | None = None,
        max_xcom_items: int = 1000,
        s3_uri: str | None = None,
        s3_conn_id: str | None = None,
        s3_extra_args: Mapping[str, object] | str | None = None,
        file_format: str = "jsonl",
        rows_per_file: int = 50_000,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: ConfigArguments | None = None,
        **kwargs: Any,  # the arguments of Airflow's base class
    ) -> None:
        """Hold the template fields as they are, and check the other arguments."""
        super().__init__(
            datastore_id=datastore_id,
            on_failed_files=on_failed_files,
            require_primary=require_primary,
            batch_size=batch_size,
            max_xcom_items=max_xcom_items,
            s3_uri=s3_uri,
            s3_conn_id=s3_conn_id,
            s3_extra_args=s3_extra_args,
            file_format=file_format,
            rows_per_file=rows_per_file,
            deferrable=deferrable,
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            verify=verify,
            botocore_config=botocore_config,
            **kwargs,
        )
        self.job_id = job_id
        with self.argument_checks():
            check_config_arguments(botocore_config, json_only=self.deferrable)

    @fail_without_retry
    def execute(self, context: Context) -> Any:  # what the base class returns
        """Poke until the job has ended, in the way that the mode says."""
        self.check_arguments()
        self.mapping_limit(context, self.parse_output())
        try:
            self.persist_links(context, self.job_id)
        except HealthImagingError as error:
            if not error.retryable:
                raise
            self.log.warning("The link to the data store was not kept: %s", error)
        return super().execute(context)

    def check_arguments(self) -> None:
        """Check the template fields that say which job; they must be rendered."""
        check_datastore_id(self.datastore_id)
        check_job_id(self.job_id)
        self.check_connection()

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look at the job once; if it has ended, hand on its result."""
        result = self.look(context, self.job_id, self.parse_output())
        return False if result is None else PokeReturnValue(is_done=True, xcom_value=result)

    def restore(self, event: Mapping[str, Any]) -> None:
        """Go on with the job from before the deferral."""
        self.job_id = event["job_id"]

    def describe_wait(self, context: Context) -> str:  # noqa: ARG002 - the base class passes it
        """Return what the sensor waits for."""
        return f"the end and the report of import job {self.job_id}, in data store {self.datastore_id},"

    def make_trigger(self, context: Context, deadline: datetime) -> HealthImagingDicomImportJobTrigger:  # noqa: ARG002
        """Return the trigger that waits for the end of the job."""
        return HealthImagingDicomImportJobTrigger(
            datastore_id=self.datastore_id,
            job_id=self.job_id,
            poke_interval=self.poke_interval,
            deadline=format_utc(deadline),
            started=self.started.isoformat(),
            exponential_backoff=self.exponential_backoff,
            max_wait=self.max_wait,
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            botocore_config=self.botocore_config,
        )
