"""Reads the records of a dataset again, one at a time, from the parts that its manifest lists."""

from __future__ import annotations

import gzip
import json
import tempfile
import zlib
from collections.abc import Iterator
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, cast

from airflow_provider_healthimaging.aws.error_table import S3
from airflow_provider_healthimaging.aws.errors import BOTOCORE_ERRORS, is_missing_object, translate_errors
from airflow_provider_healthimaging.aws.streams import ObjectStream
from airflow_provider_healthimaging.exceptions import HealthImagingError, InvalidArgumentError, ServiceError
from airflow_provider_healthimaging.export.s3_address import parse_s3_uri
from airflow_provider_healthimaging.output.object_store import READ_ATTEMPTS
from airflow_provider_healthimaging.output.records import COLUMNS
from airflow_provider_healthimaging.window import format_utc

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from airflow_provider_healthimaging.export.image_sets import DatasetAddress
    from airflow_provider_healthimaging.output.dataset import Manifest


def read_manifest(hook: S3Hook, address: DatasetAddress) -> Manifest:
    """Return the manifest of a dataset.

    :param hook: amazon's ``S3Hook``.
    :raises HealthImagingError: if there is none, so that the dataset is not complete.
    """
    try:
        text = translate_errors(lambda: hook.read_key(address.key, address.bucket), address.uri, S3, BOTOCORE_ERRORS)
    except UnicodeDecodeError:
        text = "not text"
    except ServiceError as error:
        if not is_missing_object(error):
            raise
        text = None
    if text is None:
        raise HealthImagingError(
            f"There is no manifest at {address.uri}, so its dataset is not complete. Let the task that writes it run "
            "first, and give the 'manifest' that it returned."
        )
    try:
        manifest = json.loads(text)
        is_manifest = isinstance(manifest["image_sets"], int) and all(
            isinstance(part["uri"], str) and isinstance(part["rows"], int) for part in manifest["parts"]
        )
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
            for record in _readable(read(file), part["uri"]):
                count += 1
                yield record
        if count != part["rows"]:
            raise HealthImagingError(
                f"{part['uri']} has {count} records, but its manifest says {part['rows']}. Write the dataset again."
            )


def _download(hook: S3Hook, bucket: str, key: str, file: IO[bytes], uri: str) -> None:
    client: Any = hook.get_conn()
    stream = ObjectStream(
        lambda: client.get_object(Bucket=bucket, Key=key),
        "Body",
        attempts=READ_ATTEMPTS,
        location=uri,
        described="A part of a dataset",
        service=S3,
    )
    with stream:
        file.writelines(stream)


def _readable(records: Iterator[dict[str, Any]], uri: str) -> Iterator[dict[str, Any]]:
    """Yield the records of a part. What the libraries say of a damaged one may show values, so it is not shown."""
    try:
        yield from records
    except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        problem = type(error).__name__
    except ImportError:
        problem = "it needs pyarrow: pip install 'airflow-provider-healthimaging[parquet]'"
    else:
        return
    raise HealthImagingError(
        f"{uri} cannot be read as a part of a dataset ({problem}). Its content is not shown, because it may be patient "
        "data. Write the dataset again."
    )


def _read_lines(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            record.pop("DICOMTags", None)
            yield record


def _read_parquet(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    from pyarrow.parquet import ParquetFile

    for batch in ParquetFile(file).iter_batches(columns=[*COLUMNS]):
        for record in batch.to_pylist():
            for name, kind in COLUMNS.items():
                if kind == "timestamp" and isinstance(record.get(name), datetime):
                    record[name] = format_utc(record[name], timespec="milliseconds")
            yield record
