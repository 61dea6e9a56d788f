"""A dataset under one S3 prefix: parts, and a manifest that is there only if all parts are.

    s3://bucket/prefix/window=20260131T130000Z_20260131T140000Z/
        part-00000.jsonl.gz
        part-00001.jsonl.gz
        _manifest.json

The same window writes the same keys and the same bytes. The old manifest is deleted first. Then the parts are written,
and parts left over from a larger earlier attempt are deleted. The new manifest is written last. Records are written as
they are read, so memory does not grow with the result.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from botocore.exceptions import ClientError

from airflow_provider_healthimaging.exceptions import IncompleteResponseError
from airflow_provider_healthimaging.output.checkpoint import CHECKPOINT_FILE, Checkpoint, search_fingerprint
from airflow_provider_healthimaging.output.destination import S3Destination
from airflow_provider_healthimaging.output.file_formats import FileFormat, file_format, write_records
from airflow_provider_healthimaging.output.records import to_records
from airflow_provider_healthimaging.search.request import SearchRequest

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from types_boto3_s3 import S3Client

    from airflow_provider_healthimaging.output.records import Record
    from airflow_provider_healthimaging.search.image_set import SearchHit
    from airflow_provider_healthimaging.search.pages import Log
    from airflow_provider_healthimaging.window import TimeWindow

    Search = Callable[[SearchRequest], Generator[SearchHit]]

MANIFEST_FILE = "_manifest.json"


class Part(TypedDict):
    """One file of a dataset: its ``s3://`` address, its records, its size in bytes."""

    uri: str
    rows: int
    bytes: int


class ManifestMetadata(TypedDict):
    """What a manifest says of the search, or of the import job; none of it is patient data."""

    datastore_id: str
    time_field: str | None
    window: dict[str, str] | None
    job_id: NotRequired[str]


class Manifest(ManifestMetadata):
    """The content of ``_manifest.json``."""

    format: NotRequired[str]
    compression: NotRequired[str]
    image_sets: int
    parts: list[Part]


class DatasetSummary(TypedDict):
    """What a task returns for a dataset: the ``s3://`` addresses of its folder and manifest, and two counts."""

    s3_uri: str
    manifest: str
    image_sets: int
    parts: int


def write_search(
    hook: S3Hook,
    request: SearchRequest,
    destination: S3Destination,
    *,
    tags: tuple[str, ...],
    metadata: ManifestMetadata,
    search: Search,
    region: str | None,
    log: Log,
) -> DatasetSummary:
    """Search, and write what is found; a retry goes on after the parts that an earlier attempt finished.

    :param hook: amazon's ``S3Hook``.
    :param tags: the DICOM tags to keep in each record.
    :param metadata: what the manifest says of the search.
    :param search: runs a request.
    :param region: where the data store is, to tell its searches from those of another region.
    """
    raise_on_partial_delete(hook)
    dataset = S3Dataset(hook, destination, window_folder(request.window), file_format(destination.file_format, tags))
    fingerprint = search_fingerprint(request, destination, tags, region)
    checkpoint = dataset.load_checkpoint(fingerprint, request.sort_field)
    if checkpoint.parts:
        log.info("An earlier attempt finished %s parts. Only the rest of the window is searched.", checkpoint.parts)
    with closing(search(request.with_window(checkpoint.remaining_window(request.window)))) as hits:
        records = to_records(checkpoint.skip_written(hits), request.datastore_id, tags, log)
        return dataset.write(records, metadata, checkpoint)


def window_folder(window: TimeWindow | None) -> str:
    """Return the name of the folder that holds a window's dataset. It has no colons, which Hadoop cannot read."""
    if window is None:
        return "window=all/"
    return f"window={_compact(window.start)}_{_compact(window.end)}/"


def _compact(moment: datetime) -> str:
    fraction = f".{moment.microsecond:06d}" if moment.microsecond else ""
    return f"{moment:%Y%m%dT%H%M%S}{fraction}Z"


def raise_on_partial_delete(hook: S3Hook) -> None:
    """Make the hook's client raise for an object that was not deleted: S3 reports it in a response of status 200."""

    def after_call(parsed: dict[str, Any], **_: object) -> None:
        for error in parsed.get("Errors", ()):
            response: Any = {**parsed, "Error": {"Code": error.get("Code", "")}}
            raise ClientError(response, "DeleteObjects")

    client: S3Client = hook.get_conn()
    client.meta.events.register("after-call.s3.DeleteObjects", after_call)


def write_manifest(hook: S3Hook, bucket: str, folder: str, manifest: Manifest) -> DatasetSummary:
    """Write the manifest of the dataset in ``folder``, whose parts are there, and return the dataset's summary."""
    hook.load_string(json.dumps(manifest, indent=2), folder + MANIFEST_FILE, bucket, replace=True)
    uri = f"s3://{bucket}/{folder}"
    return {
        "s3_uri": uri,
        "manifest": uri + MANIFEST_FILE,
        "image_sets": manifest["image_sets"],
        "parts": len(manifest["parts"]),
    }


@dataclass(frozen=True)
class S3Dataset:
    """The dataset of one window, or of one import job.

    :param hook: amazon's ``S3Hook``; its ``extra_args`` (encryption) go with every object.
    :param destination: the prefix that all datasets of a task share.
    :param folder_name: the folder of this dataset under that prefix; it ends with ``/``.
    :param file_format: how records are written.
    """

    hook: S3Hook
    destination: S3Destination
    folder_name: str
    file_format: FileFormat

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.destination.bucket

    @property
    def folder(self) -> str:
        """The key under which all objects of the dataset lie; it ends with ``/``."""
        return self.destination.prefix + self.folder_name

    def load_checkpoint(self, fingerprint: str | None, sort_field: str) -> Checkpoint:
        """Return the checkpoint of an earlier attempt at this dataset, if the parts that it names are there.

        :param fingerprint: identifies the search, or ``None`` to start from the beginning.
        :param sort_field: the timestamp by which the search hits are sorted.
        """
        checkpoint = Checkpoint(self.hook, self.bucket, self.folder, fingerprint, sort_field)
        checkpoint.load()
        if checkpoint.parts and not {self._key(i) for i in range(checkpoint.parts)} <= self._sizes().keys():
            checkpoint.reset()
        return checkpoint

    def write(self, records: Iterator[Record], metadata: ManifestMetadata, checkpoint: Checkpoint) -> DatasetSummary:
        """Write all records, and return the dataset's summary.

        :param records: in the order in which to write them, without those that the checkpoint's parts hold.
        :param metadata: what the manifest says of the search.
        """
        # An error of the search must come before anything is deleted.
        first = next(records, None)
        outdated = [MANIFEST_FILE] if checkpoint.parts else [MANIFEST_FILE, CHECKPOINT_FILE]
        self.hook.delete_objects(self.bucket, [self.folder + name for name in outdated])
        remaining = itertools.chain([] if first is None else [first], records)
        parts = [*self._earlier_parts(checkpoint.parts), *self._write_parts(remaining, checkpoint)]
        self._delete_all_but(parts)
        manifest: Manifest = {
            **metadata,
            **self.file_format.manifest_metadata,
            "image_sets": sum(part["rows"] for part in parts),
            "parts": parts,
        }
        summary = write_manifest(self.hook, self.bucket, self.folder, manifest)
        self.hook.delete_objects(self.bucket, self.folder + CHECKPOINT_FILE)
        return summary

    def _earlier_parts(self, count: int) -> list[Part]:
        sizes = self._sizes(count) if count else {}
        return [self._part(i, self.destination.rows_per_file, sizes[self._key(i)]) for i in range(count)]

    def _write_parts(self, records: Iterator[Record], checkpoint: Checkpoint) -> Iterator[Part]:
        size_limit = self.destination.rows_per_file
        for number in itertools.count(checkpoint.parts):
            with tempfile.TemporaryFile() as file:
                written = write_records(self.file_format, itertools.islice(records, size_limit), file)
                # An empty dataset has one part if that says which columns there are, so that it can be read.
                if not written and (number or not self.file_format.has_schema):
                    return
                size = file.tell()
                file.seek(0)
                self.hook.load_file_obj(file, self._key(number), self.bucket, replace=True)
            if written == size_limit:
                checkpoint.save(number + 1)
            yield self._part(number, written, size)

    def _part(self, number: int, records: int, size: int) -> Part:
        return {"uri": f"s3://{self.bucket}/{self._key(number)}", "rows": records, "bytes": size}

    def _key(self, number: int) -> str:
        return f"{self.folder}part-{number:05d}.{self.file_format.suffix}"

    def _sizes(self, expected: int = 0) -> dict[str, int]:
        """Return the size of each part in S3 by its key.

        :param expected: how many parts are known to be there. A listing without them was truncated, which botocore may
            not notice.
        """
        objects = self.hook.iter_file_metadata(f"{self.folder}part-", self.bucket)
        sizes = {each["Key"]: each["Size"] for each in objects}
        if not {self._key(number) for number in range(expected)} <= sizes.keys():
            raise IncompleteResponseError(
                f"S3's listing of s3://{self.bucket}/{self.folder} is truncated: it lacks parts that exist. Retry."
            )
        return sizes

    def _delete_all_but(self, parts: list[Part]) -> None:
        left_over = self._sizes(len(parts)).keys() - {self._key(number) for number in range(len(parts))}
        if left_over:
            self.hook.delete_objects(self.bucket, sorted(left_over))
