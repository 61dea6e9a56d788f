"""The objects of copied image sets in S3: what is there, and how an object gets there, whole or not at all."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, TypeVar

from airflow_provider_healthimaging.aws.error_table import S3
from airflow_provider_healthimaging.aws.errors import (
    BOTOCORE_ERRORS,
    is_missing_object,
    translate_errors,
)
from airflow_provider_healthimaging.aws.streams import ObjectStream, back_off
from airflow_provider_healthimaging.exceptions import HealthImagingError, IncompleteResponseError, ServiceError
from airflow_provider_healthimaging.hooks.clients import translate_client_errors
from airflow_provider_healthimaging.privacy.debug_log_filter import hidden_debug_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

T = TypeVar("T")

PART_BYTES = 8 * 1024 * 1024
"""The size of a part of a multipart upload. A larger object is never in memory as a whole. S3 takes 10,000 parts."""

READ_ATTEMPTS = 5
"""How often a response of S3 is read that is truncated, without any progress in between."""

_PREFIX = "healthimaging-"
_OWNER = {"RequestPayer", "ExpectedBucketOwner"}


class ChunkReader(io.RawIOBase):
    """A file to read from, over chunks of bytes, for boto3's upload. It counts and sums up what it gives."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        """Start before the first chunk."""
        super().__init__()
        self._chunks = chunks
        self._rest = b""
        self.bytes = 0
        self.crc32 = 0

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return ``size`` bytes, fewer only at the end."""
        parts, missing = [], size if size >= 0 else float("inf")
        while missing:
            chunk = self._rest or next(self._chunks, b"")
            if not chunk:
                break
            taken = chunk if len(chunk) <= missing else chunk[: int(missing)]
            self._rest = chunk[len(taken) :]
            parts.append(taken)
            missing -= len(taken)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self.bytes += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)
        return data


class ObjectStore:
    """One bucket. All errors are those of this package.

    :param hook: amazon's ``S3Hook``; its ``extra_args`` (encryption) go with every object.
    :param bucket: the bucket's name.
    """

    def __init__(self, hook: S3Hook, bucket: str) -> None:
        """Make the client."""
        from boto3.s3.transfer import S3Transfer, TransferConfig

        self._location = f"bucket {bucket}, connection {hook.aws_conn_id!r}"
        self._client: Any = translate_client_errors(hook.get_conn, self._location, S3)
        self._bucket = bucket
        self._put_args: dict[str, Any] = dict(hook.extra_args)
        # To read an object that was encrypted with the caller's key, S3 needs that key again.
        self._get_args = {
            name: value for name, value in self._put_args.items() if name in S3Transfer.ALLOWED_DOWNLOAD_ARGS
        }
        self._list_args = {name: value for name, value in self._get_args.items() if name in _OWNER}
        # One thread: the task's own workers are the parallelism, so that memory is bounded by their number.
        self._transfer = TransferConfig(
            multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False
        )

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the size of each object under ``prefix``, by what comes after it in the key."""
        for attempt in range(1, READ_ATTEMPTS + 1):
            pages = self._call(lambda: [*self._pages(prefix)])
            # Botocore parses a page of which nothing arrived as one without members.
            if all("IsTruncated" in page for page in pages):
                listed = (each for page in pages for each in page.get("Contents", ()))
                return {each["Key"][len(prefix) :]: each["Size"] for each in listed}
            back_off(attempt)
        raise IncompleteResponseError(f"S3's listing is truncated ({self._location}). Retry.")

    def _pages(self, prefix: str) -> Iterator[dict[str, Any]]:
        paginator = self._client.get_paginator("list_objects_v2")
        return iter(paginator.paginate(Bucket=self._bucket, Prefix=prefix, **self._list_args))

    def read(self, key: str) -> bytes | None:
        """Return an object, or ``None`` if there is none."""
        file = io.BytesIO()
        return file.getvalue() if self.download(key, file) else None

    def download(self, key: str, file: IO[bytes]) -> bool:
        """Write an object into a file, and return whether there is one."""
        try:
            with self._open(key) as stream:
                for chunk in stream:  # writelines() of a spooled file would hold all of them
                    file.write(chunk)
        except ServiceError as error:
            if not is_missing_object(error):
                raise
            return False
        return True

    def checksum(self, key: str) -> str:
        """Read an object that is there, and return its CRC32."""
        checksum = 0
        with self._open(key) as stream:
            for chunk in stream:
                checksum = zlib.crc32(chunk, checksum)
        return f"{checksum:08x}"

    def _open(self, key: str) -> ObjectStream:
        """Return the body of an object. If it is truncated, it is read again."""
        return ObjectStream(
            lambda: self._client.get_object(Bucket=self._bucket, Key=key, **self._get_args),
            "Body",
            attempts=READ_ATTEMPTS,
            location=self._location,
            described="An object in S3",
            service=S3,
        )

    def notes(self, key: str) -> dict[str, str]:
        """Return what was noted of an object that is there."""
        return {
            name.removeprefix(_PREFIX): value
            for name, value in self._head(key).get("Metadata", {}).items()
            if name.startswith(_PREFIX)
        }

    def _head(self, key: str) -> dict[str, Any]:
        return self._call(lambda: self._client.head_object(Bucket=self._bucket, Key=key, **self._get_args))

    def _size(self, key: str) -> int | None:
        try:
            size: int = self._head(key)["ContentLength"]
        except ServiceError as error:
            if not is_missing_object(error):
                raise
            return None
        return size

    def put(self, key: str, data: bytes, content_type: str, notes: Mapping[str, str]) -> None:
        """Write an object that is in memory."""
        arguments = self._arguments(content_type, notes)
        self._call(lambda: self._client.put_object(Bucket=self._bucket, Key=key, Body=data, **arguments))

    def upload(self, key: str, reader: ChunkReader, content_type: str, notes: Mapping[str, str]) -> None:
        """Write an object in parts as it is read. If the reader raises, there is no object, and no part is left.

        :raises IncompleteResponseError: if S3's responses leave open whether the object is there.
        """
        arguments = self._arguments(content_type, notes)

        def send() -> bool:
            try:
                self._client.upload_fileobj(reader, self._bucket, key, ExtraArgs=arguments, Config=self._transfer)
            except KeyError:  # boto3's, for a response of which nothing arrived
                return False
            # The response to the last request may be truncated, too, and boto3 does not look at it.
            return reader.bytes < PART_BYTES or self._size(key) == reader.bytes

        if not self._call(send):
            raise IncompleteResponseError(f"S3's response to an upload is truncated ({self._location}). Retry.")
        if reader.bytes >= PART_BYTES:
            self._abort_unfinished(key)

    def _abort_unfinished(self, key: str) -> None:
        """Abort what workers that died have left of uploads of an object that is there now."""
        where = {"Bucket": self._bucket, **self._list_args}

        def abort() -> None:
            for upload in self._client.list_multipart_uploads(Prefix=key, **where).get("Uploads", ()):
                if upload["Key"] == key:
                    self._client.abort_multipart_upload(Key=key, UploadId=upload["UploadId"], **where)

        with suppress(HealthImagingError):  # it needs a permission that a copy can do without
            self._call(abort)

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        self._call(lambda: self._client.delete_object(Bucket=self._bucket, Key=key))

    def _arguments(self, content_type: str, notes: Mapping[str, str]) -> dict[str, Any]:
        noted = {f"{_PREFIX}{name}": value for name, value in notes.items()}
        given: Any = self._put_args.get("Metadata") or {}
        return {"ContentType": content_type, **self._put_args, "Metadata": {**given, **noted}}

    def _call(self, call: Callable[[], T]) -> T:
        with hidden_debug_lines():
            return translate_errors(call, self._location, S3, BOTOCORE_ERRORS)
