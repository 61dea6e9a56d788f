"""Copies one object: from the service to S3, whole and checked, or not at all."""

from __future__ import annotations

import re
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

from airflow_provider_healthimaging.exceptions import HealthImagingError, ObjectMismatchError, ServiceError
from airflow_provider_healthimaging.export.dicom_checksums import check_dicom_checksums
from airflow_provider_healthimaging.export.manifest import Stored
from airflow_provider_healthimaging.export.request import AS_STORED, CHECKS, ExportRequest, is_uid
from airflow_provider_healthimaging.export.verify import (
    DICOM_HEAD_BYTES,
    check_dicom_head,
    check_frame_checksum,
    check_frame_size,
    check_stored_checksum,
)
from airflow_provider_healthimaging.output.object_store import PART_BYTES, ChunkReader, ObjectStore

if TYPE_CHECKING:
    from airflow_provider_healthimaging.aws.streams import ObjectStream
    from airflow_provider_healthimaging.export.image_sets import ImageSetRef
    from airflow_provider_healthimaging.export.plan import PlannedObject
    from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook

MISMATCH_ATTEMPTS = 2
"""How often an object is read whose size or checksum is wrong."""

UPLOAD_ENDED = "NoSuchUpload"
"""What S3 answers if another task has finished the same object, and has aborted all other uploads of it."""

_MEDIA_TYPE = re.compile(r"[A-Za-z]+/[A-Za-z0-9.+-]+")


@dataclass(frozen=True)
class ObjectCopier:
    """Copies objects of image sets.

    :param stopping: set if the task ends, so that a large object is given up.
    """

    hook: HealthImagingHook
    store: ObjectStore
    request: ExportRequest
    stopping: Event

    def accept(self, planned: PlannedObject, key: str, size: int) -> Stored | None:
        """Return what is known of an object that an earlier attempt wrote; ``None`` if it has to be copied again.

        :param size: the size of the object in S3.
        """
        notes = self.store.notes(key)
        verified = notes.get("verified", "")
        is_checked = verified in CHECKS and CHECKS.index(verified) >= CHECKS.index(self.request.verify)
        if not is_checked or (planned.frame is None and notes.get("requested") != self.request.transfer_syntax):
            return None
        # The notes of an object of several parts are written before the last part is read.
        checksum = notes.get("crc32") or self.store.checksum(key)
        return {"bytes": size, "crc32": checksum, "transfer_syntax": notes.get("transfer-syntax", "")}

    def copy(self, ref: ImageSetRef, planned: PlannedObject, key: str) -> Stored:
        """Copy an object, and return what was stored.

        :raises ObjectMismatchError: if it is not what the metadata promise, also when it is read once more.
        """
        described = f"{planned.described} of image set {ref.image_set_id}"
        described = described[0].upper() + described[1:]
        for attempt in range(1, MISMATCH_ATTEMPTS + 1):
            try:
                with self._open(ref, planned) as stream:
                    return self._copy(stream, planned, key, described)
            except (ObjectMismatchError, ServiceError) as error:
                if attempt == MISMATCH_ATTEMPTS or getattr(error, "code", UPLOAD_ENDED) != UPLOAD_ENDED:
                    raise
        raise AssertionError(described)  # pragma: no cover - the loop returns or raises

    def _open(self, ref: ImageSetRef, planned: PlannedObject) -> ObjectStream:
        if planned.frame is not None:
            return self.hook.get_image_frame(ref.datastore_id, ref.image_set_id, planned.frame.frame_id)
        return self.hook.open_instance(
            ref.datastore_id, ref.image_set_id, planned.instance.uids, self.request.transfer_syntax
        )

    def _copy(self, stream: ObjectStream, planned: PlannedObject, key: str, described: str) -> Stored:
        syntax = self._transfer_syntax(stream, planned, described)
        notes = {"transfer-syntax": syntax, "requested": self.request.transfer_syntax, "verified": self.request.verify}
        if planned.frame is None and self.request.verify == "checksum":
            return self._copy_decoded(stream, planned, key, described, notes)
        # A frame has to be in memory to be decoded.
        is_decoded = self.request.verify == "checksum" and planned.frame and not planned.frame.of_stored_bytes
        data = stream.read() if is_decoded else self._read_if_small(stream)
        if isinstance(data, bytes):
            self._check(data, planned, described)
            checksum = f"{zlib.crc32(data):08x}"
            self.store.put(key, data, _content_type(stream), {**notes, "crc32": checksum})
            return {"bytes": len(data), "crc32": checksum, "transfer_syntax": syntax}
        reader = ChunkReader(self._checked(data, planned, described))
        self.store.upload(key, reader, _content_type(stream), notes)
        return {"bytes": reader.bytes, "crc32": f"{reader.crc32:08x}", "transfer_syntax": syntax}

    def _copy_decoded(
        self, stream: ObjectStream, planned: PlannedObject, key: str, described: str, notes: dict[str, str]
    ) -> Stored:
        """Copy a DICOM file by way of a temporary file, in which its frames are decoded and compared."""
        with tempfile.SpooledTemporaryFile(max_size=PART_BYTES) as file:
            reader = ChunkReader(self._checked(iter(stream), planned, described))
            while part := reader.read(PART_BYTES):
                file.write(part)
            file.seek(0)
            check_dicom_checksums(file, planned.instance, notes["transfer-syntax"], described)
            file.seek(0)
            checksum = f"{reader.crc32:08x}"
            chunks = ChunkReader(iter(lambda: file.read(PART_BYTES), b""))
            self.store.upload(key, chunks, _content_type(stream), {**notes, "crc32": checksum})
        return {"bytes": reader.bytes, "crc32": checksum, "transfer_syntax": notes["transfer-syntax"]}

    def _read_if_small(self, stream: ObjectStream) -> bytes | Iterator[bytes]:
        """Return the body, or an iterator of its chunks if it is too large to be held in memory."""
        if stream.length is not None and stream.length <= PART_BYTES:
            return stream.read()
        chunks, held, size = iter(stream), [], 0
        for chunk in chunks:
            held.append(chunk)
            size += len(chunk)
            if size > PART_BYTES:
                return _chained(held, chunks)
        return b"".join(held)

    def _check(self, data: bytes, planned: PlannedObject, described: str) -> None:
        if planned.frame is None:
            check_dicom_head(data[:DICOM_HEAD_BYTES], described)
            return
        check_frame_size(len(data), planned.instance, planned.frame, described)
        if self.request.verify == "checksum":
            check_frame_checksum(data, planned.instance, planned.frame, described)

    def _checked(self, chunks: Iterator[bytes], planned: PlannedObject, described: str) -> Iterator[bytes]:
        """Yield the chunks of a large object. What is wrong with it is raised before the last part is uploaded."""
        size = checksum = 0
        for chunk in chunks:
            if self.stopping.is_set():
                raise HealthImagingError("The task is ending, so the copy of a large object was given up.")
            if planned.frame is None and not size:
                check_dicom_head(chunk[:DICOM_HEAD_BYTES], described)
            size += len(chunk)
            checksum = zlib.crc32(chunk, checksum)
            yield chunk
        if planned.frame is None:
            if not size:
                check_dicom_head(b"", described)
            return
        check_frame_size(size, planned.instance, planned.frame, described)
        if self.request.verify == "checksum":
            check_stored_checksum(checksum, planned.frame, described)

    def _transfer_syntax(self, stream: ObjectStream, planned: PlannedObject, described: str) -> str:
        """Return the transfer syntax of what came: the one that the response names, or else what must be it."""
        if planned.frame is not None:
            return planned.instance.transfer_syntax
        wanted = self.request.transfer_syntax
        parameters = (parameter.partition("=") for parameter in stream.content_type.split(";")[1:])
        named = (value.strip(' "') for name, _, value in parameters if name.strip().lower() == "transfer-syntax")
        given = next(filter(is_uid, named), None)
        if given and wanted not in {AS_STORED, given}:
            raise ObjectMismatchError(
                f"{described} came back in the transfer syntax {given}, but {wanted} was asked for. Leave "
                "transfer_syntax out, or report this to AWS."
            )
        return given or (planned.instance.transfer_syntax if wanted == AS_STORED else wanted)


def _content_type(stream: ObjectStream) -> str:
    """Return the media type of what came. Anything else in its place is not passed on."""
    media_type = stream.content_type.partition(";")[0].strip()
    return media_type if _MEDIA_TYPE.fullmatch(media_type) else "application/octet-stream"


def _chained(held: list[bytes], chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what was held and then the rest; what was yielded is not held any longer."""
    held.reverse()
    while held:
        yield held.pop()
    yield from chunks
