"""A dataset under one S3 prefix: parts, and a manifest that is there only if they all are.

    s3://bucket/prefix/window=20260131T130000Z_20260131T140000Z/
        part-00000.jsonl.gz
        part-00001.jsonl.gz
        _manifest.json

The same window writes the same keys and the same bytes. The old manifest is removed before the first part is
written, parts left over from another attempt are deleted after the last, and the manifest comes last. Rows go to a
part as they are read, so memory does not grow with the result.
"""

from __future__ import annotations

import itertools
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_provider_healthimaging.output.checkpoint import PROGRESS, Checkpoint
from airflow_provider_healthimaging.exceptions import IncompleteResponseError, InvalidArgumentError
from airflow_provider_healthimaging.output.file_formats import FileFormat, JsonLines

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from airflow_provider_healthimaging.search.image_set import Record
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


def raise_what_was_not_deleted(hook: S3Hook) -> None:
    """Make the hook's client raise where S3 answers that it kept an object: with a status of 200, and why for each."""

    def after_call(parsed: dict[str, Any], **_: Any) -> None:
        for error in parsed.get("Errors", ()):
            raise ClientError({**parsed, "Error": {"Code": error.get("Code", "")}}, "DeleteObjects")

    hook.get_conn().meta.events.register("after-call.s3.DeleteObjects", after_call)


def write_manifest(hook: S3Hook, bucket: str, folder: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Write the manifest of the dataset in ``folder``, whose parts are there, and return its summary.

    :return: ``s3_uri`` of the folder, ``manifest``, and the numbers of ``image_sets`` and ``parts``.
    """
    hook.load_string(json.dumps(manifest, indent=2), folder + MANIFEST, bucket, replace=True)
    uri = f"s3://{bucket}/{folder}"
    counts = {"image_sets": manifest["image_sets"], "parts": len(manifest["parts"])}
    return {"s3_uri": uri, "manifest": uri + MANIFEST, **counts}


@dataclass(frozen=True)
class S3Dataset:
    """Where a window's records go.

    :param hook: amazon's ``S3Hook``; its ``extra_args`` (encryption) go with every object.
    :param s3_uri: ``s3://bucket/prefix/``.
    :param window: the window searched, or ``None``.
    :param rows_per_file: records in each part but the last.
    :param file_format: how records are written.
    """

    hook: S3Hook
    s3_uri: str
    window: TimeWindow | None
    rows_per_file: int
    file_format: FileFormat = field(default_factory=JsonLines)

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return parse_s3_uri(self.s3_uri)[0]

    @property
    def folder(self) -> str:
        """The key under which everything lies, ending with ``/``."""
        return parse_s3_uri(self.s3_uri)[1] + window_folder(self.window)

    def checkpoint(self, search: str | None, order: str | None) -> Checkpoint:
        """Return what an earlier attempt at this very dataset finished, if its parts are there.

        :param search: from :func:`~airflow_provider_healthimaging.output.checkpoint.digest`, or ``None`` to begin anew.
        :param order: the timestamp that image sets are read by.
        """
        checkpoint = Checkpoint(self.hook, self.bucket, self.folder, search, order)
        if checkpoint.load() and not {self._key(i) for i in range(checkpoint.parts)} <= self._sizes().keys():
            checkpoint.forget()
        return checkpoint

    def write(
        self, records: Iterator[Record], about: Mapping[str, Any], checkpoint: Checkpoint | None = None
    ) -> dict[str, Any]:
        """Write all records, and return the manifest's summary.

        :param records: in the order in which they are to be kept; read to their end. Behind a checkpoint, only those
            that are not in its parts.
        :param about: what else the manifest says; no patient data.
        :return: ``s3_uri`` of the folder, ``manifest``, and the numbers of ``image_sets`` and ``parts``.
        """
        checkpoint = checkpoint or self.checkpoint(None, None)
        first = next(records, None)
        outdated = [MANIFEST] if checkpoint.parts else [MANIFEST, PROGRESS]
        self.hook.delete_objects(self.bucket, [self.folder + name for name in outdated])
        rows = itertools.chain([] if first is None else [first], records)
        parts = [*self._earlier_parts(checkpoint.parts), *self._write_parts(rows, checkpoint)]
        self._delete_all_but(parts)
        image_sets = sum(part["rows"] for part in parts)
        manifest = {**about, **self.file_format.about, "image_sets": image_sets, "parts": parts}
        summary = write_manifest(self.hook, self.bucket, self.folder, manifest)
        self.hook.delete_objects(self.bucket, self.folder + PROGRESS)
        return summary

    def _earlier_parts(self, count: int) -> list[dict[str, Any]]:
        sizes = self._sizes(count) if count else {}
        return [self._part(i, self.rows_per_file, sizes[self._key(i)]) for i in range(count)]

    def _write_parts(self, rows: Iterator[Record], checkpoint: Checkpoint) -> Iterator[dict[str, Any]]:
        for number in itertools.count(checkpoint.parts):
            with tempfile.TemporaryFile() as file:
                written = self.file_format.write(itertools.islice(rows, self.rows_per_file), file)
                if not written:
                    return
                size = file.tell()
                file.seek(0)
                self.hook.load_file_obj(file, self._key(number), self.bucket, replace=True)
            if written == self.rows_per_file:
                checkpoint.save(number + 1)
            yield self._part(number, written, size)

    def _part(self, number: int, rows: int, size: int) -> dict[str, Any]:
        return {"uri": f"s3://{self.bucket}/{self._key(number)}", "rows": rows, "bytes": size}

    def _key(self, number: int) -> str:
        return f"{self.folder}part-{number:05d}.{self.file_format.suffix}"

    def _sizes(self, known: int = 0) -> dict[str, int]:
        """Return the size of every part that is there, by its key.

        :param known: how many are sure to be there: a list without them was cut short, which botocore may not notice.
        """
        objects = self.hook.get_file_metadata(f"{self.folder}part-", self.bucket)
        sizes = {each["Key"]: each["Size"] for each in objects}
        if not {self._key(number) for number in range(known)} <= sizes.keys():
            raise IncompleteResponseError(
                f"S3's list of s3://{self.bucket}/{self.folder} lacks parts that are there, so it is not whole. Retry."
            )
        return sizes

    def _delete_all_but(self, parts: list[dict[str, Any]]) -> None:
        left_over = self._sizes(len(parts)).keys() - {self._key(number) for number in range(len(parts))}
        if left_over:
            self.hook.delete_objects(self.bucket, sorted(left_over))
