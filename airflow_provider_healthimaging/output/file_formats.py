"""How records become the bytes of a part. The same records give the same bytes."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypedDict

from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.output.records import COLUMNS, tag_column_type

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.output.records import ColumnType, Record

RECORDS_PER_WRITE = 1000
"""Records that are held in memory while a part is written."""

ROW_GROUP_SIZE = 10_000
"""Rows in a row group of a Parquet file; a group is held in memory as columns."""

_encode_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class FormatMetadata(TypedDict):
    """What a manifest says of the format of its parts."""

    format: str
    compression: Literal["gzip", "zstd"]


class FileFormat(Protocol):
    """Writes records to a file."""

    suffix: ClassVar[str]
    manifest_metadata: ClassVar[FormatMetadata]
    has_schema: ClassVar[bool]
    """Whether a file without records still says which columns there are."""

    def write(self, records: Iterator[Record], file: IO[bytes]) -> int:
        """Write all records, and return how many there were."""


class JsonLines:
    """One JSON object a line, compressed with gzip."""

    suffix: ClassVar[str] = "jsonl.gz"
    manifest_metadata: ClassVar[FormatMetadata] = {"format": "jsonl", "compression": "gzip"}
    has_schema: ClassVar[bool] = False

    def write(self, records: Iterator[Record], file: IO[bytes]) -> int:
        """Write lines. The gzip header holds no name and no time, so that equal records give equal bytes."""
        count = 0
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as lines:
            while chunk := list(itertools.islice(records, RECORDS_PER_WRITE)):
                lines.write("".join(f"{_encode_json(record)}\n" for record in chunk).encode())
                count += len(chunk)
        return count


class Parquet:
    """Apache Parquet: times in UTC milliseconds, and a typed column for each DICOM tag, also if all are missing."""

    suffix: ClassVar[str] = "parquet"
    manifest_metadata: ClassVar[FormatMetadata] = {"format": "parquet", "compression": "zstd"}
    has_schema: ClassVar[bool] = True

    def __init__(self, tags: tuple[str, ...]) -> None:
        """Take the DICOM tags that the records have."""
        self._tags = tags

    def write(self, records: Iterator[Record], file: IO[bytes]) -> int:
        """Write row groups."""
        from pyarrow import RecordBatch, Table
        from pyarrow.parquet import ParquetWriter

        count = 0
        schema = self._schema()
        chunks = iter(lambda: list(itertools.islice(records, RECORDS_PER_WRITE)), [])
        batches = (RecordBatch.from_arrays(_to_columns(chunk, schema), schema=schema) for chunk in chunks)
        with ParquetWriter(file, schema, compression=self.manifest_metadata["compression"]) as writer:
            while group := list(itertools.islice(batches, ROW_GROUP_SIZE // RECORDS_PER_WRITE)):
                writer.write_table(Table.from_batches(group), row_group_size=ROW_GROUP_SIZE)
                count += sum(batch.num_rows for batch in group)
        return count

    def _schema(self) -> pa.Schema:
        import pyarrow as pa

        types: dict[ColumnType, pa.DataType] = {
            "string": pa.string(),
            "integer": pa.int64(),
            "timestamp": pa.timestamp("ms", "UTC"),
            "boolean": pa.bool_(),
        }
        fields = [pa.field(name, types[kind]) for name, kind in COLUMNS.items()]
        if self._tags:
            tags = [pa.field(tag, types[tag_column_type(tag)]) for tag in self._tags]
            fields.append(pa.field("DICOMTags", pa.struct(tags)))
        return pa.schema(fields)


def _to_columns(records: list[Record], schema: pa.Schema) -> list[pa.Array[Any]]:
    rows: list[Mapping[str, object]] = [*records]
    return [_to_array([row[field.name] for row in rows], field.type) for field in schema]


def _to_array(values: list[object], kind: pa.DataType) -> pa.Array[Any]:
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.string()).cast(kind)
    return pa.array(values, kind)


def write_records(file_format: FileFormat, records: Iterator[Record], file: IO[bytes]) -> int:
    """Write all records, and return how many there were.

    :raises HealthImagingError: for a value that the format cannot hold. Errors of Python and pyarrow would show it.
    """
    try:
        return file_format.write(records, file)
    except HealthImagingError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        fault = type(error).__name__
    raise HealthImagingError(
        f"A value of a DICOM tag cannot be written as {file_format.manifest_metadata['format']} ({fault}). It is not "
        "shown, because it may be patient data. Leave tags out of dicom_tags, or use file_format='jsonl'."
    )


def file_format(name: str, tags: tuple[str, ...]) -> FileFormat:
    """Return the file format of that name for records with ``tags``."""
    return Parquet(tags) if name == "parquet" else JsonLines()
