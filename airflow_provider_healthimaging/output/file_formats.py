"""How records become the bytes of a part; it knows files and nothing of S3. The same records give the same bytes."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Any, Protocol

from airflow_provider_healthimaging.exceptions import ConfigurationError
from airflow_provider_healthimaging.search.image_set import DICOM_TAGS, unknown_name

if TYPE_CHECKING:
    from airflow_provider_healthimaging.search.image_set import Record

AT_A_TIME = 1000
"""Records held while a part is written."""

ROW_GROUP = 10_000
"""Rows in a row group of a Parquet file, which are held as columns."""

_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class FileFormat(Protocol):
    """A way to write records to a file."""

    suffix: str
    about: Mapping[str, str]

    def write(self, records: Iterator[Record], file: IO[bytes]) -> int:
        """Write all records, and return how many there were; without any, the file is of no use."""


class JsonLines:
    """One JSON object a line, in gzip."""

    suffix = "jsonl.gz"
    about: Mapping[str, str] = {"format": "jsonl", "compression": "gzip"}

    def write(self, records: Iterator[Record], file: IO[bytes]) -> int:
        """Write lines; neither a name nor a time goes into the header."""
        count = 0
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as lines:
            while some := list(itertools.islice(records, AT_A_TIME)):
                lines.write("".join(f"{_json(record)}\n" for record in some).encode())
                count += len(some)
        return count


class Parquet:
    """Apache Parquet: times as UTC milliseconds, and each DICOM tag with its type also where all are missing."""

    suffix = "parquet"
    about: Mapping[str, str] = {"format": "parquet", "compression": "zstd"}

    def __init__(self, tags: tuple[str, ...]) -> None:
        """Take the DICOM tags that records have."""
        self._tags = tags

    def write(self, records: Iterator[Record], file: IO[bytes]) -> int:
        """Write row groups."""
        from pyarrow import RecordBatch, Table
        from pyarrow.parquet import ParquetWriter

        count = 0
        schema = self._schema()
        batches = (
            RecordBatch.from_arrays(
                [_column([record[field.name] for record in some], field.type) for field in schema], schema=schema
            )
            for some in iter(lambda: list(itertools.islice(records, AT_A_TIME)), [])
        )
        with ParquetWriter(file, schema, compression=self.about["compression"]) as groups:
            while group := list(itertools.islice(batches, ROW_GROUP // AT_A_TIME)):
                groups.write_table(Table.from_batches(group), row_group_size=ROW_GROUP)
                count += sum(batch.num_rows for batch in group)
        return count

    def _schema(self) -> Any:
        import pyarrow as pa

        types = {str: pa.string(), int: pa.int64()}
        fields = {
            "datastoreId": pa.string(),
            "imageSetId": pa.string(),
            "version": pa.int64(),
            "createdAt": pa.timestamp("ms", "UTC"),
            "updatedAt": pa.timestamp("ms", "UTC"),
            "isPrimary": pa.bool_(),
        }
        if self._tags:
            fields["DICOMTags"] = pa.struct({tag: types[DICOM_TAGS[tag]] for tag in self._tags})
        return pa.schema(fields)


def _column(values: list[Any], kind: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.string()).cast(kind)
    return pa.array(values, kind)


FILE_FORMATS = ("jsonl", "parquet")


def file_format(name: str, tags: tuple[str, ...] = ()) -> FileFormat:
    """Return the format of that name.

    :param tags: the DICOM tags that the records will have.
    """
    check_file_format(name)
    return JsonLines() if name == "jsonl" else Parquet(tags)


def check_file_format(name: object) -> None:
    """Raise unless there is a format of that name."""
    if name not in FILE_FORMATS:
        raise unknown_name("file_format", name, FILE_FORMATS)


def check_can_be_written(name: str) -> None:
    """Raise where the package that writes the format is missing."""
    if name == "parquet" and find_spec("pyarrow") is None:
        raise ConfigurationError(
            "file_format='parquet' needs pyarrow, and the worker does not have it: "
            "pip install 'airflow-provider-healthimaging[parquet]'."
        )
