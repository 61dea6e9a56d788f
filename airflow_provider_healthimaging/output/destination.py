"""Where a task's records go, parsed once from its arguments: to XCom, or to a dataset in S3."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Self

from airflow_provider_healthimaging.aws.connection_arguments import check_conn_id, check_verify
from airflow_provider_healthimaging.exceptions import ConfigurationError, InvalidArgumentError
from airflow_provider_healthimaging.search.image_set import parse_dicom_tags
from airflow_provider_healthimaging.search.rendered import check_text, is_empty, shown
from airflow_provider_healthimaging.search.suggestions import unknown_name_error
from airflow_provider_healthimaging.search.validation import check_whole_number, parse_json_object

FILE_FORMATS = ("jsonl", "parquet")

_S3_URI = re.compile(r"s3a?://(?P<bucket>[^/]+)(/(?P<prefix>[^\x00-\x1f\x7f]*))?")
_BUCKET = re.compile(r"[a-zA-Z0-9._-]{1,255}")
"""As in botocore, which takes the names of old buckets, too."""


@dataclass(frozen=True, slots=True)
class S3Destination:
    """A prefix in S3, and how to write there.

    :param prefix: ends with ``/`` unless it is empty.
    :param conn_id: the Airflow connection for S3; ``None`` for botocore's own way to find credentials.
    :param verify: whether to verify TLS certificates, or the path of a CA bundle.
    :param extra_args: arguments for each object, such as encryption; they may hold a secret key.
    :param file_format: ``"jsonl"`` or ``"parquet"``.
    :param rows_per_file: records in each part but the last.
    """

    bucket: str
    prefix: str
    conn_id: str | None
    verify: bool | str | None
    extra_args: Mapping[str, object] = field(repr=False)
    file_format: str
    rows_per_file: int

    @property
    def uri(self) -> str:
        """The ``s3://`` address of the prefix."""
        return f"s3://{self.bucket}/{self.prefix}"


@dataclass(frozen=True, slots=True)
class OutputRequest:
    """What of the search hits to hand on, and where. Make it with :meth:`parse`.

    :param dicom_tags: the DICOM tags to keep in each record.
    :param batch_size: records in each list for XCom, or ``None`` for one list of records.
    :param max_xcom_items: the most records that may go to XCom.
    :param s3: the dataset's place, or ``None`` for XCom.
    """

    dicom_tags: tuple[str, ...]
    batch_size: int | None
    max_xcom_items: int
    s3: S3Destination | None

    @classmethod
    def parse(
        cls,
        *,
        dicom_tags: object = None,
        batch_size: object = None,
        max_xcom_items: object = 1000,
        s3_uri: object = None,
        s3_conn_id: object = None,
        verify: object = None,
        s3_extra_args: object = None,
        file_format: object = "jsonl",
        rows_per_file: object = 50_000,
    ) -> Self:
        """Return the output that the arguments describe.

        :raises InvalidArgumentError: for an argument that cannot work.
        :raises ConfigurationError: for ``"parquet"`` where pyarrow is not installed.
        """
        s3 = None
        extra_args = parse_s3_arguments(s3_extra_args)
        if not is_empty(s3_uri):
            bucket, prefix = parse_s3_uri(s3_uri)
            s3 = S3Destination(
                bucket=bucket,
                prefix=prefix,
                conn_id=check_conn_id("s3_conn_id", s3_conn_id),
                verify=check_verify(verify),
                extra_args=extra_args,
                file_format=check_file_format(file_format),
                rows_per_file=check_whole_number("rows_per_file", rows_per_file),
            )
            _check_installed(s3.file_format)
        if s3 and batch_size is not None:
            raise InvalidArgumentError("batch_size is for XCom, and s3_uri writes to S3. Give only one of them.")
        return cls(
            dicom_tags=parse_dicom_tags(dicom_tags),
            batch_size=None if batch_size is None else check_whole_number("batch_size", batch_size),
            max_xcom_items=check_whole_number("max_xcom_items", max_xcom_items),
            s3=s3,
        )


def parse_s3_uri(s3_uri: object, name: str = "s3_uri") -> tuple[str, str]:
    """Return bucket and prefix of ``s3://bucket/prefix/``; the prefix ends with ``/`` unless it is empty.

    :param name: the name of the argument, for the error.
    :raises InvalidArgumentError: for an address in a form that S3 or this package does not take.
    """
    address = check_text(name, s3_uri).strip()
    if re.match(r"(s3a?://)?arn:", address):
        raise InvalidArgumentError(
            f"{name}={shown(address)} names an access point by its ARN. Give its alias in place of the bucket, such as "
            "'s3://name-a1b2c3-s3alias/prefix/'."
        )
    match = _S3_URI.fullmatch(address)
    if not match:
        raise InvalidArgumentError(
            f"{name}={shown(address)} names no bucket. Give one such as 's3://bucket/prefix/', on one line."
        )
    bucket, prefix = match["bucket"], (match["prefix"] or "").strip("/")
    if "@" in bucket:
        raise InvalidArgumentError(
            f"{name}={shown(address)} names a connection before the '@'. Give the bucket only, and the connection as "
            "s3_conn_id."
        )
    if not _BUCKET.fullmatch(bucket):
        raise InvalidArgumentError(
            f"{name}={shown(address)} names no bucket that can exist: its name has letters, digits, dots and hyphens."
        )
    return bucket, f"{prefix}/" if prefix else ""


def check_file_format(name: object) -> str:
    """Return the name of a file format if there is one of that name."""
    if not isinstance(name, str) or name not in FILE_FORMATS:
        raise unknown_name_error("file_format", name, FILE_FORMATS)
    return name


def parse_s3_arguments(s3_extra_args: object) -> dict[str, object]:
    """Return the arguments for each object; their names must be among those that boto3 knows for an upload."""
    from boto3.s3.transfer import S3Transfer

    arguments = parse_json_object("s3_extra_args", s3_extra_args)
    known = S3Transfer.ALLOWED_UPLOAD_ARGS
    for name in arguments:
        if name not in known:
            raise unknown_name_error("argument for S3 in s3_extra_args", name, known, private=True)
    return arguments


def _check_installed(file_format: str) -> None:
    if file_format == "parquet" and find_spec("pyarrow") is None:
        raise ConfigurationError(
            "file_format='parquet' needs pyarrow, and the worker does not have it. "
            "Install it: pip install 'airflow-provider-healthimaging[parquet]'."
        )
