"""Reads the records of a dataset again, one at a time, from the parts that its manifest lists."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, cast

from airflow_provider_healthimaging.aws.error_table import S3
from airflow_provider_healthimaging.aws.errors import BOTOCORE_ERRORS, translate_errors
from airflow_provider_healthimaging.exceptions import HealthImagingError, InvalidArgumentError, ServiceError
from airflow_provider_healthimaging.export.s3_address import parse_s3_uri

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from airflow_provider_healthimaging.export.image_sets import DatasetAddress
    from airflow_provider_healthimaging.output.dataset import Manifest

PARQUET_COLUMNS = ["datastoreId", "imageSetId", "version", "isPrimary"]


def read_manifest(hook: S3Hook, address: DatasetAddress) -> Manifest:
    """Return the manifest of a dataset.

    :param hook: amazon's ``S3Hook``.
    :raises HealthImagingError: if there is none, so that the dataset is not complete.
    """
    try:
        text = translate_errors(lambda: hook.read_key(address.key, address.bucket), address.uri, S3, BOTOCORE_ERRORS)
    except ServiceError as error:
        if error.code not in {"404", "NoSuchKey"}:
            raise
        text = None
    if text is None:
        raise HealthImagingError(
            f"There is no manifest at {address.uri}, so its dataset is not complete. Let the task that writes it run "
            "first, and give the 'manifest' that it returned."
        )
    try:
        manifest = json.loads(text)
        is_manifest = isinstance(manifest["image_sets"], int) and all(part["uri"] for part in manifest["parts"])
    except (ValueError, KeyError, TypeError, RecursionError):
        is_manifest = False
    if not is_manifest:
        raise InvalidArgumentError(
            f"{address.uri} is not the manifest of a dataset of records. Give the 'manifest' that a search returned."
        )
    return cast("Manifest", manifest)


def read_records(hook: S3Hook, manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Yield the records of a dataset, without DICOM tags. One part at a time lies in a temporary file.

    :param hook: amazon's ``S3Hook``.
    """
    for part in manifest["parts"]:
        bucket, key = parse_s3_uri(part["uri"], "part")
        with tempfile.TemporaryFile() as file:
            _download(hook, bucket, key.rstrip("/"), file, part["uri"])
            file.seek(0)
            read = _read_parquet if part["uri"].endswith(".parquet") else _read_lines
            count = 0
            for record in read(file, part["uri"]):
                count += 1
                yield record
        if count != part["rows"]:
            raise HealthImagingError(
                f"{part['uri']} has {count} records, but its manifest says {part['rows']}. Write the dataset again."
            )


def _download(hook: S3Hook, bucket: str, key: str, file: IO[bytes], uri: str) -> None:
    client: Any = hook.get_conn()
    translate_errors(lambda: client.download_fileobj(bucket, key, file), uri, S3, BOTOCORE_ERRORS)


def _read_lines(file: IO[bytes], uri: str) -> Iterator[dict[str, Any]]:
    problem = None
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                record.pop("DICOMTags", None)
                yield record
    except (OSError, EOFError, ValueError, AttributeError) as error:
        problem = type(error).__name__
    if problem:
        raise HealthImagingError(
            f"{uri} cannot be read as gzipped JSON Lines ({problem}). Its content is not shown, because it may be "
            "patient data. Write the dataset again."
        )


def _read_parquet(file: IO[bytes], uri: str) -> Iterator[dict[str, Any]]:  # noqa: ARG001 - as _read_lines
    from pyarrow.parquet import ParquetFile

    for batch in ParquetFile(file).iter_batches(columns=PARQUET_COLUMNS):
        yield from batch.to_pylist()
