"""What an import job did, by the four files of its output.

    {outputS3Uri}/job-output-manifest.json    counts, and the image sets
                  SUCCESS/success.ndjson      one line a file that was imported, with its image set
                  WARNING/warning.ndjson      one line a file that was imported with warnings
                  FAILURE/failure.ndjson      one line a file that was not imported, with the type of the error

``jobStatus`` COMPLETED says nothing about the files, and the output may come a little later. The AWS HealthImaging
developer guide describes it ("Understanding import jobs"). Most members are optional in practice, so each may be
missing. Names of files and messages may hold patient data, so they are not kept longer than their line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypedDict

from airflow_provider_healthimaging.exceptions import ImportReportMissingError
from airflow_provider_healthimaging.imports.lines import JsonObject, invalid_member, read_document, read_lines

MANIFEST = "job-output-manifest.json"
SUCCESS = "SUCCESS/success.ndjson"
WARNING = "WARNING/warning.ndjson"
FAILURE = "FAILURE/failure.ndjson"

FAILURE_COUNTS = ("numberOfFilesWithCustomerError", "numberOfFilesWithServerError")

UNKNOWN_TYPE = "unknown"
"""The type of a failed file for which the output gives no type."""

WARNINGS_GRACE = timedelta(seconds=5)
"""How long to wait for a list of warnings that may still come, if the rest of the report is there."""

OpenFile = Callable[[str], Iterable[bytes] | None]
"""Gives the content of a file of the output in chunks, or ``None`` if the file is not there."""

_IMAGE_SET_ID = re.compile(r"[0-9a-z]{32}")
_TYPE = re.compile(r"[A-Za-z][A-Za-z.]{0,63}")


class ImportedImageSet(TypedDict):
    """An image set that a job made or changed, at the version that the job gave it."""

    imageSetId: str
    version: int | None
    isPrimary: bool | None


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import job did. It holds neither names of files nor messages.

    :param scanned: the files that the job found, or ``None`` if the output does not say.
    :param imported: the files that are in the data store now, with or without warnings.
    :param failed: the files that are not.
    :param with_warnings: the files that were imported with warnings.
    :param failed_by_type: the failed files by the type of their error, such as ``ValidationException``.
    :param image_sets: the image sets that the job made or changed: their ids, versions, and whether they are primary.
    :param output_s3_uri: the folder of the output.
    :param warnings_pending: whether the list of warnings may still come. Nothing says whether there is one for a job
        without warnings.
    """

    scanned: int | None
    imported: int
    failed: int
    with_warnings: int
    failed_by_type: Mapping[str, int]
    image_sets: tuple[ImportedImageSet, ...] = field(repr=False)
    output_s3_uri: str
    warnings_pending: bool = False

    @property
    def not_primary(self) -> int:
        """The image sets that are not primary, or of which the output does not say it."""
        return sum(image_set["isPrimary"] is not True for image_set in self.image_sets)


def read_report(output_s3_uri: str, open_file: OpenFile) -> ImportReport:
    """Read the output of a completed job.

    :param output_s3_uri: the folder of the output, as ``GetDICOMImportJob`` gives it.
    :raises ImportReportMissingError: if a file is not there yet that must come.
    :raises InvalidImportReportError: if a file cannot be read.
    """
    chunks = open_file(MANIFEST)
    if chunks is None:
        raise _missing(MANIFEST)
    manifest = _Manifest(read_document(MANIFEST, chunks))
    image_sets = _ImageSets(manifest.image_sets())
    success = _read_imported(SUCCESS, open_file, image_sets)
    warning = _read_imported(WARNING, open_file, image_sets)
    types = _read_failed(open_file)
    declared_failures = manifest.count("numberOfFilesWithCustomerError") + manifest.count(
        "numberOfFilesWithServerError"
    )
    imported = manifest.optional_count("numberOfImportedFiles")
    # It is not documented whether success.ndjson lists the files with warnings, too.
    if imported and None in (success, warning) and (success or 0) + (warning or 0) < imported:
        raise _missing(SUCCESS if success is None else WARNING)
    if declared_failures and types is None:
        raise _missing(FAILURE)
    if manifest.count("numberOfGeneratedImageSets") > len(image_sets.found):
        raise ImportReportMissingError(
            f"The job's output names {len(image_sets.found)} image sets, and {MANIFEST} counts more. The service may "
            "write the rest a little later."
        )
    by_type = Counter(types or {})
    if declared_failures > by_type.total():
        by_type[UNKNOWN_TYPE] += declared_failures - by_type.total()
    scanned = manifest.optional_count("numberOfScannedFiles")
    if imported is None:
        imported = success or 0 if scanned is None else max(scanned - by_type.total(), 0)
    return ImportReport(
        scanned=scanned,
        imported=imported,
        failed=by_type.total(),
        with_warnings=warning or 0,
        failed_by_type=dict(sorted(by_type.items())),
        image_sets=tuple(image_sets.found.values()),
        output_s3_uri=output_s3_uri,
        warnings_pending=warning is None and imported > 0 and manifest.announces_warnings,
    )


def _missing(what: str) -> ImportReportMissingError:
    return ImportReportMissingError(f"{what} is not in the job's output yet. The service may write it a little later.")


def _read_imported(name: str, open_file: OpenFile, image_sets: _ImageSets) -> int | None:
    """Note the image set of each line, and return how many lines there are; ``None`` if there is no such file."""
    if (chunks := open_file(name)) is None:
        return None
    count = 0
    for number, line in read_lines(name, chunks):
        image_sets.add(name, f"line {number}", _object(name, f"line {number}", line, "importResponse"))
        count += 1
    return count


def _read_failed(open_file: OpenFile) -> Counter[str] | None:
    """Return how many files failed with which type of error; ``None`` if there is no such file."""
    if (chunks := open_file(FAILURE)) is None:
        return None
    types: Counter[str] = Counter()
    for number, line in read_lines(FAILURE, chunks):
        kind = _object(FAILURE, f"line {number}", line, "exception").get("exceptionType")
        types[kind if isinstance(kind, str) and _TYPE.fullmatch(kind) else UNKNOWN_TYPE] += 1
    return types


class _Manifest:
    """``job-output-manifest.json``."""

    def __init__(self, document: JsonObject) -> None:
        self._summary = _object(MANIFEST, "the document", document, "jobSummary")

    def optional_count(self, member: str) -> int | None:
        value = self._summary.get(member)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise invalid_member(MANIFEST, "jobSummary", member, "a whole number")
        return value

    def count(self, member: str) -> int:
        return self.optional_count(member) or 0

    @property
    def announces_warnings(self) -> bool:
        return self._summary.get("warningsOutputS3Uri") is not None

    def image_sets(self) -> Iterator[tuple[str, JsonObject]]:
        """Yield each entry of ``imageSetsSummary``, with where it is."""
        entries = self._summary.get("imageSetsSummary")
        if entries is None:
            return
        if not isinstance(entries, list):
            raise invalid_member(MANIFEST, "jobSummary", "imageSetsSummary", "a list")
        for number, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise invalid_member(MANIFEST, "imageSetsSummary", f"entry {number}", "an object")
            yield f"imageSetsSummary[{number}]", entry


class _ImageSets:
    """The image sets found so far, each once: at its highest version, and not primary if any entry says so."""

    def __init__(self, entries: Iterable[tuple[str, JsonObject]]) -> None:
        self.found: dict[str, ImportedImageSet] = {}
        for where, entry in entries:
            self.add(MANIFEST, where, entry)

    def add(self, name: str, where: str, entry: JsonObject) -> None:
        """Note an image set; an entry without an id says nothing."""
        image_set_id, version, primary = (entry.get(key) for key in ("imageSetId", "imageSetVersion", "isPrimary"))
        if image_set_id is None:
            return
        if not isinstance(image_set_id, str) or not _IMAGE_SET_ID.fullmatch(image_set_id):
            raise invalid_member(name, where, "imageSetId", "an id of 32 characters of 0-9 and a-z")
        if isinstance(version, str) and version.isdecimal() and version.isascii():
            version = int(version)
        if version is not None and (isinstance(version, bool) or not isinstance(version, int)):
            raise invalid_member(name, where, "imageSetVersion", "a whole number")
        if primary is not None and not isinstance(primary, bool):
            raise invalid_member(name, where, "isPrimary", "true or false")
        known = self.found.get(image_set_id)
        versions = [each for each in (version, known and known["version"]) if each is not None]
        primaries = [each for each in (primary, known and known["isPrimary"]) if each is not None]
        self.found[image_set_id] = {
            "imageSetId": image_set_id,
            "version": max(versions, default=None),
            "isPrimary": all(primaries) if primaries else None,
        }


def _object(name: str, where: str, parent: JsonObject, member: str) -> JsonObject:
    """Return a member that is an object, or an empty one if it is missing."""
    value = parent.get(member)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid_member(name, where, member, "an object")
    return value
