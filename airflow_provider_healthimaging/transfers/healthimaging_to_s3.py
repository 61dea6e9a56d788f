"""The transfer operator that copies image sets to S3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_healthimaging.task.export_task import ExportTask
from airflow_provider_healthimaging.task.failure import fail_without_retry

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_healthimaging.aws.connection_arguments import ConfigArguments


class HealthImagingToS3Operator(ExportTask):
    """Copy image sets from AWS HealthImaging to S3: metadata, DICOM files, frames.

    .. seealso::
        - `Getting image set metadata
          <https://docs.aws.amazon.com/healthimaging/latest/APIReference/API_GetImageSetMetadata.html>`__
        - `Getting image frames
          <https://docs.aws.amazon.com/healthimaging/latest/APIReference/API_GetImageFrame.html>`__

    Everything of one version of an image set goes under ``{s3_uri}/{imageSetId}/v{version}/``: ``metadata.json.gz``,
    ``dicom/00001.dcm`` and so on, ``frames/{frameId}.jph``, and last ``_manifest.json`` with sizes, checksums, transfer
    syntaxes and the order. So an image set that has a manifest is complete. It is skipped, and a retry continues with
    the objects that are missing. Keys and manifest have no UID, no name and no tag.

    If an image set cannot be copied, the others are, and the task fails at the end.

    :param image_sets: the record of an image set, a list of records (such as a batch of a search), or the
        ``s3://.../_manifest.json`` of the dataset that a search wrote. (templated)
    :param s3_uri: ``s3://bucket/prefix/`` under which everything goes. (templated)
    :param content: what to copy of each image set: ``"metadata"``, ``"dicom"``, ``"frames"``.
    :param transfer_syntax: the UID of the transfer syntax of the DICOM files, such as ``"1.2.840.10008.1.2.1"``;
        default as they are stored. Frames always come as they are stored. (templated)
    :param verify: how objects are checked: ``"size"``, or ``"checksum"``, which decodes frames and DICOM files and
        needs the extra ``pixels``. It is not about TLS: that is in the connection's extra.
    :param max_workers: the most objects that are copied at a time.
    :param on_missing: ``"fail"``, or ``"skip"`` for image sets, instances and frames that do not exist any more.
    :param max_xcom_items: the most image sets that the task takes, because it returns a record of each.
    :param s3_conn_id: the AWS connection for S3; default ``aws_conn_id``. (templated)
    :param s3_extra_args: arguments for each object, as ``{"ServerSideEncryption": "aws:kms"}``; see amazon's
        ``S3Hook``. Shown with ``***`` for their values, because one may be an encryption key. (templated)
    :param aws_conn_id: the Airflow connection for AWS. (templated)
    :param region_name: AWS region; default that of the connection. (templated)
    :param botocore_config: settings for botocore's client, merged with the connection's ``config_kwargs``.

    :return: the records of the image sets that are complete in S3, each with its ``s3_uri``. The XCom ``summary`` has
        counts, bytes, seconds, and what was skipped, missing or failed.
    :raises InvalidArgumentError: for an argument that cannot work; when the DAG is parsed, or for a template field when
        the task runs.
    :raises ExportFailedError: if image sets were not copied, with counts by the type of the error.
    :raises HealthImagingError: when the task runs; see :mod:`airflow_provider_healthimaging.exceptions`.
    """

    template_fields: Sequence[str] = (
        "aws_conn_id",
        "image_sets",
        "region_name",
        "s3_conn_id",
        "s3_extra_args",
        "s3_uri",
        "transfer_syntax",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"image_sets": "json", "s3_extra_args": "json"}

    def __init__(
        self,
        *,
        image_sets: Mapping[str, object] | Sequence[object] | str,
        s3_uri: str,
        content: Sequence[str] = ("metadata", "dicom"),
        transfer_syntax: str | None = None,
        verify: str = "size",
        max_workers: int = 16,
        on_missing: str = "fail",
        max_xcom_items: int = 1000,
        s3_conn_id: str | None = None,
        s3_extra_args: Mapping[str, object] | str | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        botocore_config: ConfigArguments | None = None,
        **kwargs: Any,  # the arguments of Airflow's base class
    ) -> None:
        """Hold the template fields as they are, and check the other arguments."""
        super().__init__(
            image_sets=image_sets,
            s3_uri=s3_uri,
            content=content,
            transfer_syntax=transfer_syntax,
            verify=verify,
            max_workers=max_workers,
            on_missing=on_missing,
            max_xcom_items=max_xcom_items,
            s3_conn_id=s3_conn_id,
            s3_extra_args=s3_extra_args,
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            botocore_config=botocore_config,
            **kwargs,
        )

    @fail_without_retry
    def execute(self, context: Context) -> list[dict[str, object]]:
        """Copy what is not there yet, and return the records."""
        return self.export(context)
