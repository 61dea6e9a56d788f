"""The objects of copied image sets in S3: what is there, and how an object gets there, whole or not at all."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from airflow_provider_healthimaging.aws.error_table import S3
from airflow_provider_healthimaging.aws.errors import BOTOCORE_ERRORS, is_missing_object, translate_errors
from airflow_provider_healthimaging.exceptions import IncompleteResponseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

T = TypeVar("T")

PART_BYTES = 8 * 1024 * 1024
"""The size of a part of a multipart upload. A larger object is never in memory as a whole. S3 takes 10,000 parts."""

_PREFIX = "healthimaging-"


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
        self._client: Any = translate_errors(hook.get_conn, self._location, S3)
        self._bucket = bucket
        self._put_args: dict[str, Any] = dict(hook.extra_args)
        # To read an object that was encrypted with the caller's key, S3 needs that key again.
        self._get_args = {
            name: value for name, value in self._put_args.items() if name in S3Transfer.ALLOWED_DOWNLOAD_ARGS
        }
        # One thread: the task's own workers are the parallelism, so that memory is bounded by their number.
        self._transfer = TransferConfig(
            multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False
        )

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the size of each object under ``prefix``, by what comes after it in the key."""

        def list_all() -> dict[str, int]:
            found = {}
            owner = {
                name: value for name, value in self._get_args.items() if name in {"RequestPayer", "ExpectedBucketOwner"}
            }
            for page in self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix, **owner
            ):
                if "IsTruncated" not in page:
                    raise IncompleteResponseError(f"S3's listing is truncated ({self._location}). Retry.")
                found.update({each["Key"][len(prefix) :]: each["Size"] for each in page.get("Contents", ())})
            return found

        return self._call(list_all)

    def read(self, key: str) -> bytes | None:
        """Return an object, or ``None`` if there is none."""

        def get() -> bytes | None:
            try:
                response = self._client.get_object(Bucket=self._bucket, Key=key, **self._get_args)
            except ClientError as error:
                if is_missing_object(error):
                    return None
                raise
            with response["Body"] as body:
                data: bytes = body.read()
            if len(data) != response["ContentLength"]:
                raise IncompleteResponseError(f"An object in S3 came back truncated ({self._location}). Retry.")
            return data

        return self._call(get)

    def notes(self, key: str) -> dict[str, str]:
        """Return what was noted of an object that is there."""
        head = self._call(lambda: self._client.head_object(Bucket=self._bucket, Key=key, **self._get_args))
        return {
            name.removeprefix(_PREFIX): value
            for name, value in head.get("Metadata", {}).items()
            if name.startswith(_PREFIX)
        }

    def checksum(self, key: str) -> str:
        """Read an object that is there, and return its CRC32."""

        def read_all() -> int:
            response = self._client.get_object(Bucket=self._bucket, Key=key, **self._get_args)
            reader = ChunkReader(response["Body"].iter_chunks(PART_BYTES))
            with response["Body"]:
                while reader.read(PART_BYTES):
                    pass
            if reader.bytes != response["ContentLength"]:
                raise IncompleteResponseError(f"An object in S3 came back truncated ({self._location}). Retry.")
            return reader.crc32

        return f"{self._call(read_all):08x}"

    def put(self, key: str, data: bytes, content_type: str, notes: Mapping[str, str]) -> None:
        """Write an object that is in memory."""
        arguments = self._arguments(content_type, notes)
        self._call(lambda: self._client.put_object(Bucket=self._bucket, Key=key, Body=data, **arguments))

    def upload(self, key: str, reader: ChunkReader, content_type: str, notes: Mapping[str, str]) -> None:
        """Write an object in parts as it is read. If the reader raises, there is no object, and no part is left."""
        arguments = self._arguments(content_type, notes)
        self._call(
            lambda: self._client.upload_fileobj(reader, self._bucket, key, ExtraArgs=arguments, Config=self._transfer)
        )

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        self._call(lambda: self._client.delete_object(Bucket=self._bucket, Key=key))

    def _arguments(self, content_type: str, notes: Mapping[str, str]) -> dict[str, Any]:
        noted = {f"{_PREFIX}{name}": value for name, value in notes.items()}
        given: Any = self._put_args.get("Metadata") or {}
        return {"ContentType": content_type, **self._put_args, "Metadata": {**given, **noted}}

    def _call(self, call: Callable[[], T]) -> T:
        return translate_errors(call, self._location, S3, BOTOCORE_ERRORS)
