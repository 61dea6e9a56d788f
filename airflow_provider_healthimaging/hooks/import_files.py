"""The files of an import job in S3: how many lie under the input's prefix, and what the output says."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_healthimaging.aws.error_table import S3
from airflow_provider_healthimaging.aws.errors import (
    BOTOCORE_ERRORS,
    is_missing_object,
    to_provider_error,
    translate_errors,
)
from airflow_provider_healthimaging.exceptions import HealthImagingError, IncompleteResponseError
from airflow_provider_healthimaging.hooks.clients import translate_client_errors
from airflow_provider_healthimaging.hooks.private_s3 import PrivateS3Hook
from airflow_provider_healthimaging.imports.arguments import parse_s3_uri
from airflow_provider_healthimaging.imports.limits import InputSize
from airflow_provider_healthimaging.imports.report import ImportReport, read_report

if TYPE_CHECKING:
    from airflow_provider_healthimaging.imports.request import ImportRequest

CHUNK_BYTES = 64 * 1024


class ImportFilesHook(PrivateS3Hook):
    """The S3 hook for the files of import jobs: listings hold the names of input files."""

    def _s3(self, location: str) -> Any:  # amazon's hook has no type of it
        return translate_client_errors(self.get_conn, location, S3)

    def measure_input(self, request: ImportRequest) -> InputSize:
        """Count what lies under the input's prefix.

        :raises HealthImagingError: if it cannot be listed.
        """
        bucket, prefix = request.input_location
        owner = {"ExpectedBucketOwner": request.input_owner_account_id} if request.input_owner_account_id else {}
        location = f"input_s3_uri in bucket {bucket}, connection {self.aws_conn_id!r}"
        client, size = self._s3(location), InputSize()

        def measure() -> InputSize:
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, **owner):
                if "IsTruncated" not in page:
                    raise IncompleteResponseError("S3's listing of the input is truncated. Retry.")
                for each in page.get("Contents", ()):
                    size.add(each["Key"], each["Size"])
                if size.is_counted_out:
                    break
            return size

        return translate_errors(measure, location, S3, BOTOCORE_ERRORS)

    def read_report(self, output_s3_uri: str) -> ImportReport:
        """Read the output of a completed job.

        :param output_s3_uri: the folder of the output, as ``GetDICOMImportJob`` gives it.
        :raises ImportReportMissingError: if a file is not there yet.
        :raises HealthImagingError: if a file cannot be read.
        """
        bucket, prefix = parse_s3_uri("outputS3Uri", output_s3_uri)
        folder = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
        location = f"s3://{bucket}/{folder}, connection {self.aws_conn_id!r}"
        return read_report(f"s3://{bucket}/{folder}", lambda name: self._open(bucket, folder + name, location))

    def _open(self, bucket: str, key: str, location: str) -> Iterator[bytes] | None:
        """Return the object in chunks, or ``None`` if there is no such object."""
        try:
            body = self._s3(location).get_object(Bucket=bucket, Key=key)["Body"]
        except BOTOCORE_ERRORS as error:
            if is_missing_object(error):
                return None
            problem = to_provider_error(error, location, S3)
        else:
            return _chunks(body, location)
        raise problem


def _chunks(body: Any, location: str) -> Generator[bytes]:  # botocore's StreamingBody
    problem: HealthImagingError | None = None
    try:
        yield from body.iter_chunks(CHUNK_BYTES)
    except BOTOCORE_ERRORS as error:
        problem = to_provider_error(error, location, S3)
    finally:
        body.close()
    if problem:
        raise problem
