"""Where a task's records go, parsed once from its arguments: to XCom, or to a dataset in S3."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Self

from airflow_provider_healthimaging.exceptions import ConfigurationError, InvalidArgumentError
from airflow_provider_healthimaging.search.image_set import parse_dicom_tags
from airflow_provider_healthimaging.search.suggestions import unknown_name_error
from airflow_provider_healthimaging.search.validation import check_whole_number, parse_json_object

FILE_FORMATS = ("jsonl", "parquet")

_S3_URI = re.compile(r"s3a?://(?P<bucket>[^/]+)(/(?P<prefix>.*))?")


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
        verify: bool | str | None = None,
        s3_extra_args: object = None,
        file_format: object = "jsonl",
        rows_per_file: object = 50_000,
    ) -> Self:
        """Return the output that the arguments describe.

        :raises InvalidArgumentError: for an argument that cannot work.
        :raises ConfigurationError: for ``"parquet"`` where pyarrow is not installed.
        """
        s3 = None
        if s3_uri is not None and s3_uri != "":
            bucket, prefix = parse_s3_uri(s3_uri)
            s3 = S3Destination(
                bucket=bucket,
                prefix=prefix,
                conn_id=parse_conn_id(s3_conn_id),
                verify=verify,
                extra_args=parse_json_object("s3_extra_args", s3_extra_args),
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


def parse_s3_uri(s3_uri: object) -> tuple[str, str]:
    """Return bucket and prefix of ``s3://bucket/prefix/``; the prefix ends with ``/`` unless it is empty."""
    match = _S3_URI.fullmatch(s3_uri) if isinstance(s3_uri, str) else None
    if not match:
        raise InvalidArgumentError(f"s3_uri={s3_uri!r} names no bucket. Give one such as 's3://bucket/prefix/'.")
    prefix = (match["prefix"] or "").strip("/")
    return match["bucket"], f"{prefix}/" if prefix else ""


def check_file_format(name: object) -> str:
    """Return the name of a file format if there is one of that name."""
    if not isinstance(name, str) or name not in FILE_FORMATS:
        raise unknown_name_error("file_format", name, FILE_FORMATS)
    return name


def parse_conn_id(conn_id: object) -> str | None:
    """Return the id of the connection for S3, or ``None`` for botocore's own way to find credentials."""
    if conn_id is not None and not isinstance(conn_id, str):
        raise InvalidArgumentError(f"s3_conn_id must be the id of a connection, not a {type(conn_id).__name__}.")
    return conn_id or None


def _check_installed(file_format: str) -> None:
    if file_format == "parquet" and find_spec("pyarrow") is None:
        raise ConfigurationError(
            "file_format='parquet' needs pyarrow, and the worker does not have it. "
            "Install it: pip install 'airflow-provider-healthimaging[parquet]'."
        )
