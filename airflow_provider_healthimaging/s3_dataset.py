"""A dataset under one S3 prefix: parts of JSON Lines, and a manifest that is there only if they all are.

    s3://bucket/prefix/window=20260131T130000Z_20260131T140000Z/
        part-00000.jsonl.gz
        part-00001.jsonl.gz
        _manifest.json

The same window writes the same keys and the same bytes. The old manifest is removed before the first part is
written, parts left over from a larger earlier attempt are deleted after the last, and the manifest comes last. Rows
go to a part as they are read, so memory does not grow with the result.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

from airflow_provider_healthimaging.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from airflow_provider_healthimaging.image_set import Record
    from airflow_provider_healthimaging.window import TimeWindow

MANIFEST = "_manifest.json"

_S3_URI = re.compile(r"s3a?://(?P<bucket>[^/]+)(/(?P<prefix>.*))?")


def parse_s3_uri(s3_uri: object) -> tuple[str, str]:
    """Return bucket and prefix of ``s3://bucket/prefix/``; the prefix ends with ``/`` unless it is empty."""
    match = _S3_URI.fullmatch(s3_uri) if isinstance(s3_uri, str) else None
    if not match:
        raise InvalidArgumentError(f"s3_uri={s3_uri!r} names no bucket. Give one such as 's3://bucket/prefix/'.")
    prefix = (match["prefix"] or "").strip("/")
    return match["bucket"], f"{prefix}/" if prefix else ""


def window_folder(window: TimeWindow | None) -> str:
    """Return the name of the folder that holds a window's dataset; no colons, which Hadoop cannot read."""
    if window is None:
        return "window=all/"
    return f"window={_compact(window.start)}_{_compact(window.end)}/"


def _compact(moment: datetime) -> str:
    fraction = f".{moment.microsecond:06d}" if moment.microsecond else ""
    return f"{moment:%Y%m%dT%H%M%S}{fraction}Z"


@dataclass(frozen=True, slots=True)
class S3Dataset:
    """Where a window's records go.

    :param hook: amazon's ``S3Hook``; its ``extra_args`` (encryption) go with every object.
    :param s3_uri: ``s3://bucket/prefix/``.
    :param window: the window searched, or ``None``.
    :param rows_per_file: records in each part but the last.
    """

    hook: S3Hook
    s3_uri: str
    window: TimeWindow | None
    rows_per_file: int

    def write(self, records: Iterator[Record], about: Mapping[str, Any]) -> dict[str, Any]:
        """Write all records, and return the manifest's summary.

        :param records: in the order in which they are to be kept; read to their end.
        :param about: what else the manifest says; no patient data.
        :return: ``s3_uri`` of the folder, ``manifest``, and the numbers of ``image_sets`` and ``parts``.
        """
        bucket, prefix = parse_s3_uri(self.s3_uri)
        folder = prefix + window_folder(self.window)
        first = next(records, None)
        self.hook.delete_objects(bucket, folder + MANIFEST)
        rows = itertools.chain([] if first is None else [first], records)
        parts = list(self._write_parts(rows, bucket, folder))
        self._delete_parts_from(len(parts), bucket, folder)
        uri = f"s3://{bucket}/{folder}"
        summary = {"image_sets": sum(part["rows"] for part in parts), "parts": len(parts)}
        manifest = {**about, "format": "jsonl", "compression": "gzip", **summary, "parts": parts}
        self.hook.load_string(json.dumps(manifest, indent=2), folder + MANIFEST, bucket, replace=True)
        return {"s3_uri": uri, "manifest": uri + MANIFEST, **summary}

    def _write_parts(self, rows: Iterator[Record], bucket: str, folder: str) -> Iterator[dict[str, Any]]:
        for number in itertools.count():
            with tempfile.TemporaryFile() as file:
                written = _write_rows(itertools.islice(rows, self.rows_per_file), file)
                if not written:
                    return
                size = file.tell()
                file.seek(0)
                key = folder + _part_name(number)
                self.hook.load_file_obj(file, key, bucket, replace=True)
            yield {"uri": f"s3://{bucket}/{key}", "rows": written, "bytes": size}

    def _delete_parts_from(self, number: int, bucket: str, folder: str) -> None:
        left_over = [
            key
            for key in self.hook.list_keys(bucket, prefix=f"{folder}part-") or []
            if key >= folder + _part_name(number)
        ]
        if left_over:
            self.hook.delete_objects(bucket, left_over)


def _part_name(number: int) -> str:
    return f"part-{number:05d}.jsonl.gz"


def _write_rows(rows: Iterator[Record], file: IO[bytes]) -> int:
    """Write rows as gzip; no name and no time go into the header, so that the same rows give the same bytes."""
    count = 0
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as lines:
        for row in rows:
            lines.write(json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")
            count += 1
    return count
