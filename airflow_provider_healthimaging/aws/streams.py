"""Bodies of the service that are read in chunks, and read again from where they ended if they are truncated.

Botocore retries a call until its headers are there. An error while the body is read is raised as it is, and some
versions do not compare the body with its ``Content-Length``.
"""

from __future__ import annotations

import logging
import random
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, TypeVar

from botocore.exceptions import BotoCoreError
from urllib3.exceptions import HTTPError

from airflow_provider_healthimaging.aws.error_table import HEALTHIMAGING
from airflow_provider_healthimaging.aws.errors import translate_errors
from airflow_provider_healthimaging.exceptions import IncompleteResponseError, ServiceError

log = logging.getLogger(__name__)

T = TypeVar("T")

CHUNK_BYTES = 256 * 1024
"""How much of a body is in memory at a time, if it is not read as a whole."""

MAX_BACKOFF_SECONDS = 5.0
"""The longest pause before a body is read again, or a call is made again that was answered with a conflict."""

MAX_CONFLICTS = 12
"""How often a call is made that is answered with a conflict: for about 40 seconds."""

_BODY_ERRORS = (BotoCoreError, HTTPError, OSError)
"""What reading a body raises: botocore's errors, and those of urllib3 and of the socket that botocore passes on."""


class ObjectStream:
    """The body of one response, as an iterator of chunks or, by :meth:`read`, as a whole. It can be read once.

    ``content_type`` is the response's own. ``length`` is the size in bytes, or ``None`` if the service does not say it.
    """

    def __init__(
        self,
        call: Callable[[], Mapping[str, Any]],
        member: str,
        *,
        attempts: int,
        location: str,
        described: str,
        service: str = HEALTHIMAGING,
    ) -> None:
        """Make the call.

        :param call: makes a call of botocore, and returns its response.
        :param member: the member of the response that is the body.
        :param attempts: how often the body is read at most, without any progress in between.
        :param location: where the call goes, for errors.
        :param described: what is read, for errors. It is no patient data.
        :param service: the service that is called, for errors.
        """
        self._call, self._member = call, member
        self._attempts, self._location, self._described, self._service = attempts, location, described, service
        self._body: Any = None
        self.content_type, self.length = self._open()

    def __enter__(self) -> Self:
        """Return the stream."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give the connection back."""
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chunks. A truncated body is read again, and what was yielded before is compared and left out.

        :raises IncompleteResponseError: if the body was truncated in every attempt.
        """
        given, checksum, failures = 0, 0, 0
        while True:
            failed, before = False, given
            repeated, repeated_checksum = 0, 0
            while True:
                chunk = self._read(CHUNK_BYTES if repeated >= given else min(CHUNK_BYTES, given - repeated))
                if not chunk:
                    failed = chunk is None
                    break
                if repeated < given:
                    repeated += len(chunk)
                    repeated_checksum = zlib.crc32(chunk, repeated_checksum)
                    if repeated == given and repeated_checksum != checksum:
                        raise self._incomplete("changed while it was read")
                    continue
                given, checksum = given + len(chunk), zlib.crc32(chunk, checksum)
                repeated = given
                yield chunk
            if not failed and repeated == given and self.length in {None, given}:
                self.close()
                return
            failures = 1 if given > before else failures + 1
            self._read_again(failures)

    def read(self) -> bytes:
        """Return the whole body.

        :raises IncompleteResponseError: if the body was truncated in every attempt.
        """
        for failures in range(1, self._attempts + 1):
            data = self._read(None)
            if data is not None and self.length in {None, len(data)}:
                self.close()
                return data
            self._read_again(failures)
        raise self._incomplete("is truncated")  # pragma: no cover - _read_again raises it before

    def close(self) -> None:
        """Give the connection back."""
        if self._body is not None:
            self._body.close()
            self._body = None

    def _open(self) -> tuple[str, int | None]:
        response = translate_errors(self._call, self._location, self._service)
        headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        self._body = response[self._member]
        length = str(headers.get("content-length", ""))
        return str(headers.get("content-type", "")), int(length) if length.isdecimal() else None

    def _read(self, size: int | None) -> bytes | None:
        """Return the next bytes, nothing at the end, or ``None`` if the connection broke."""
        try:
            data: bytes = self._body.read(size)
        except _BODY_ERRORS:
            return None
        return data

    def _read_again(self, failures: int) -> None:
        self.close()
        if failures >= self._attempts:
            raise self._incomplete("is truncated")
        log.warning("%s is truncated. Reading it again.", self._described)
        back_off(failures)
        _, length = self._open()
        if self.length is not None and length != self.length:
            raise self._incomplete("has another length than before")

    def _incomplete(self, problem: str) -> IncompleteResponseError:
        self.close()
        return IncompleteResponseError(
            f"{self._described} {problem} ({self._location}). Check for a proxy or a firewall between the worker and "
            f"{self._service}, and retry."
        )


def retry_conflicts(call: Callable[[], T]) -> T:
    """Return the result of ``call``. Make it again while the service answers that it is not consistent yet."""
    for conflicts in range(1, MAX_CONFLICTS):
        try:
            return call()
        except ServiceError as error:
            if error.code != "ConflictException":
                raise
            back_off(conflicts + 2)
    return call()


def back_off(failures: int) -> None:
    """Wait, and longer the more failures there were."""
    jitter = random.uniform(0.5, 1)  # noqa: S311 - not a secret
    time.sleep(jitter * min(0.1 * 2.0**failures, MAX_BACKOFF_SECONDS))
