"""The operator that imports DICOM files from S3 with one import job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import conf

from airflow_provider_healthimaging.task.failure import fail_without_retry
from airflow_provider_healthimaging.task.import_start import StartImportJobTask
from airflow_provider_healthimaging.triggers.healthimaging import HealthImagingDicomImportJobTrigger
from airflow_provider_healthimaging.window import format_utc

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_healthimaging.aws.connection_arguments import ConfigArguments
    from airflow_provider_healthimaging.task.delivery import Result


class HealthImagingStartDicomImportJobOperator(StartImportJobTask):
    """Import the DICOM files under an S3 prefix into an AWS HealthImaging data store, and return the image sets.

    .. seealso::
        - `StartDICOMImportJob
          <https://docs.aws.amazon.com/healthimaging/latest/APIReference/API_StartDICOMImportJob.html>`__

    One task of a run has one job: a retry, or a worker that died, finds the job and waits for it. Only if the job ended
    badly (FAILED, or failed files with ``on_failed_files="fail"``), a retry starts another one. The task ends when the
    job's report is in S3, which says what became of each file. The service cannot cancel a job: it goes on if the task
    is killed or times out.

    :param datastore_id: the data store's id, 32 characters of 0-9 and a-z. (templated)
    :param input_s3_uri: import everything whose key begins with this ``s3://bucket/prefix/``; it must end with a slash.
        (templated)
    :param output_s3_uri: the service writes a folder with the job's report under this ``s3://bucket/prefix/``, which
        must not be under the input. The report holds names of files, which may be patient data. (templated)
    :param data_access_role_arn: the IAM role with which the service reads the input and writes the report. (templated)
    :param job_name: a name for the job, 1 to 64 characters of A-Z, a-z, 0-9 and ``._/#-``. With another name, a cleared
        task starts another job. (templated)
    :param client_token: the token by which the service knows the job again, instead of the task's own. (templated)
    :param input_owner_account_id: the account of the input's bucket, if it is another account. (templated)
    :param import_configuration: AWS's ``importConfiguration`` structure, or its JSON text. Airflow shows ``***`` for
        its values. (templated)
    :param on_failed_files: ``"fail"``, ``"warn"`` or ``"ignore"`` if files were not imported. The summary counts them
        in each case.
    :param require_primary: fail if an image set of the job is not primary, because its data conflict with what was in
        the data store.
    :param check_input: count the input before the job is started: no files, more than 5,000, or more than 10 GB are an
        error. Needs ``s3:ListBucket``.
    :param wait_for_completion: wait for the end of the job. Otherwise, the task returns the job's id at once.
    :param waiter_delay: the pause between two calls: ``timedelta`` or seconds.
    :param waiter_max_attempts: ``waiter_delay`` times this is how long to wait for the job: to be started, to end, and
        to have its report.
    :param batch_size: return lists of this many records, to map a task over batches.
    :param max_xcom_items: the most image sets that may go to XCom; more are an error, and nothing is cut off.
    :param s3_uri: write a dataset of the records under this ``s3://bucket/prefix/``, and return its summary.
        (templated)
    :param s3_conn_id: the AWS connection for S3: to count the input, to read the report, and to write the dataset;
        default ``aws_conn_id``. (templated)
    :param s3_extra_args: arguments for each object of the dataset, as ``{"ServerSideEncryption": "aws:kms"}``; see
        amazon's ``S3Hook``. Shown with ``***`` for their values, because one may be an encryption key. (templated)
    :param file_format: ``"jsonl"`` (gzipped JSON Lines), or ``"parquet"``, which needs the extra of that name.
    :param rows_per_file: records in each part of the dataset but the last.
    :param deferrable: wait in the triggerer; default ``[operators] default_deferrable``.
    :param aws_conn_id: the Airflow connection for AWS. (templated)
    :param region_name: AWS region; default that of the connection. (templated)
    :param verify: whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: settings for botocore's client, merged with the connection's ``config_kwargs``.

    :return: records ``{"datastoreId", "imageSetId", "version", "createdAt", "updatedAt", "isPrimary"}`` of the image
        sets that the job made or changed; the report has no times, so these are ``None``. Or the dataset's
        ``{"s3_uri", "manifest", "image_sets", "parts"}``, or the job's id. The XCom ``summary`` has the job, its
        counts, and where its report is.
    :raises InvalidArgumentError: for an argument that cannot work; when the DAG is parsed, or for a template field when
        the task runs.
    :raises ImportJobFailedError: if the job ended as FAILED.
    :raises FilesNotImportedError: if files were not imported.
    :raises WaitTimeoutError: if the job has not ended in time. A retry waits for the same job.
    :raises HealthImagingError: when the task runs; see :mod:`airflow_provider_healthimaging.exceptions`.
    """

    template_fields: Sequence[str] = (
        "aws_conn_id",
        "client_token",
        "data_access_role_arn",
        "datastore_id",
        "import_configuration",
        "input_owner_account_id",
        "input_s3_uri",
        "job_name",
        "output_s3_uri",
        "region_name",
        "s3_conn_id",
        "s3_extra_args",
        "s3_uri",
        "verify",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"import_configuration": "json", "s3_extra_args": "json"}

    def __init__(
        self,
        *,
        datastore_id: str,
        input_s3_uri: str,
        output_s3_uri: str,
        data_access_role_arn: str,
        job_name: str | None = None,
        client_token: str | None = None,
        input_owner_account_id: str | None = None,
        import_configuration: Mapping[str, object] | str | None = None,
        on_failed_files: str = "fail",
        require_primary: bool = False,
        check_input: bool = True,
        wait_for_completion: bool = True,
        waiter_delay: timedelta | float = 30,
        waiter_max_attempts: int = 480,
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
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            verify=verify,
            botocore_config=botocore_config,
            input_s3_uri=input_s3_uri,
            output_s3_uri=output_s3_uri,
            data_access_role_arn=data_access_role_arn,
            job_name=job_name,
            client_token=client_token,
            input_owner_account_id=input_owner_account_id,
            import_configuration=import_configuration,
            check_input=check_input,
            wait_for_completion=wait_for_completion,
            waiter_delay=waiter_delay,
            waiter_max_attempts=waiter_max_attempts,
            deferrable=deferrable,
            **kwargs,
        )

    @fail_without_retry
    def execute(self, context: Context) -> Result | str:
        """Check the input, start the job or find it, wait for its report, and hand on the result."""
        return self.start_and_wait(context)

    def make_trigger(
        self, job_id: str | None, deadline: datetime, started: datetime
    ) -> HealthImagingDicomImportJobTrigger:
        """Return the trigger that waits for the job, or until another try to start one."""
        return HealthImagingDicomImportJobTrigger(
            datastore_id=self.datastore_id,
            job_id=job_id,
            poke_interval=self.waiter_delay,
            deadline=format_utc(deadline),
            started=started.isoformat(),
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            botocore_config=self.botocore_config,
        )
