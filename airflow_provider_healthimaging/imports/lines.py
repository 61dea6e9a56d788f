"""Reads the files of a job's output from chunks of bytes, in memory that does not grow with the file.

Errors name the file and the line. They never show the content, because it holds names of input files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from airflow_provider_healthimaging.exceptions import InvalidImportReportError

MAX_LINE_BYTES = 1024 * 1024
"""The longest line that is read; the service's own have some hundred bytes."""

MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
"""The largest manifest that is read; with 5,000 image sets it has less than one megabyte."""

JsonObject = Mapping[str, object]


def read_document(name: str, chunks: Iterable[bytes]) -> JsonObject:
    """Return the JSON object that a file consists of.

    :param name: the file's name in the job's output.
    :raises InvalidImportReportError: if the file is no JSON object, or too large.
    """
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > MAX_DOCUMENT_BYTES:
            raise _invalid_file(name, f"is larger than {MAX_DOCUMENT_BYTES} bytes")
    document = _parse(bytes(content))
    if document is None:
        raise _invalid_file(name, "is not a JSON object")
    return document


def read_lines(name: str, chunks: Iterable[bytes]) -> Iterator[tuple[int, JsonObject]]:
    """Yield the JSON object of each line, with the number of the line; the first is 1. Empty lines are skipped.

    :raises InvalidImportReportError: at a line that is no JSON object, or too long.
    """
    for number, line in enumerate(_split(name, chunks), 1):
        if not line.strip():
            continue
        parsed = _parse(line)
        if parsed is None:
            raise _invalid_file(name, f"has an invalid line: line {number} is not a JSON object")
        yield number, parsed


def invalid_member(name: str, where: str, member: str, expected: str) -> InvalidImportReportError:
    """Return the error for a member of the wrong type.

    :param where: the line, or the object, that holds the member.
    :param expected: what the member must be.
    """
    return _invalid_file(name, f"has an invalid member: in {where}, {member} is not {expected}")


def _split(name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    number = 1
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        number += len(lines)
        yield from lines
        if len(rest) > MAX_LINE_BYTES:
            raise _invalid_file(name, f"has an invalid line: line {number} is longer than {MAX_LINE_BYTES} bytes")
    yield rest


def _parse(text: bytes) -> JsonObject | None:
    """Return the JSON object of a text, or ``None``. An exception raised here would carry the text with it."""
    with suppress(ValueError, RecursionError):
        value = json.loads(text)
        return value if isinstance(value, dict) else None
    return None


def _invalid_file(name: str, problem: str) -> InvalidImportReportError:
    return InvalidImportReportError(
        f"{name} {problem}. Look at the file in the job's output in S3. Its content is not shown, because it may hold "
        "patient data."
    )
