"""The image sets to copy: a record, a list of records or of batches, or the dataset that a search wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.rendered import is_empty, reject_none_text
from airflow_provider_healthimaging.search.validation import is_whole_number, load_json

IMAGE_SET_ID = re.compile(r"[0-9a-z]{32}")

MANIFEST_FILE = "_manifest.json"

_MANIFEST = re.compile(rf"s3a?://(?P<bucket>[A-Za-z0-9._-]+)/(?P<key>(?:[^\x00-\x1f\x7f]+/)?{MANIFEST_FILE})")

_HOW = (
    "Give the record of an image set, a list of records, or the 's3://.../_manifest.json' that a search returned. In a "
    "template, write {{ ... | tojson }}, or give the output of a task as it is (.output)."
)


@dataclass(frozen=True, slots=True)
class ImageSetRef:
    """One version of an image set.

    :param version: the version to read; ``None`` for the one that is newest when it is read.
    :param record: the record that it came from, without DICOM tags.
    """

    datastore_id: str
    image_set_id: str
    version: int | None
    record: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class DatasetAddress:
    """The manifest of a dataset of records."""

    bucket: str
    key: str

    @property
    def uri(self) -> str:
        """The ``s3://`` address of the manifest."""
        return f"s3://{self.bucket}/{self.key}"


def parse_image_sets(value: object) -> list[ImageSetRef] | DatasetAddress:
    """Return the image sets that an argument names, each once, or where the dataset is that names them.

    Nothing at all, which is what a skipped search returns, names no image set.

    No error shows the value, because a record may have DICOM tags.

    :raises InvalidArgumentError: for anything else.
    """
    reject_none_text("image_sets", value)
    if is_empty(value):
        return []
    if isinstance(value, str) and value.strip().startswith(("s3://", "s3a://")):
        return _parse_address(value.strip())
    given = load_json(value) if isinstance(value, str) else value
    if isinstance(given, Mapping) and isinstance(given.get("manifest"), str):
        return _parse_address(given["manifest"])
    if isinstance(given, Mapping):
        return [parse_record(given)]
    if not isinstance(given, Sequence) or isinstance(given, str | bytes | bytearray | range):
        raise InvalidArgumentError(f"image_sets must be records, not {_kind(value)}. {_HOW}")
    return list(unique(parse_record(record, where) for where, record in _flattened(given)))


def unique(refs: Iterable[ImageSetRef]) -> Iterator[ImageSetRef]:
    """Yield each version of an image set once."""
    seen = set()
    for ref in refs:
        identity = (ref.datastore_id, ref.image_set_id, ref.version)
        if identity not in seen:
            seen.add(identity)
            yield ref


def parse_record(record: object, where: str = "") -> ImageSetRef:
    """Return the image set of a record.

    :param where: which record it is, for the error.
    """
    named = f"image_sets{where}"
    if not isinstance(record, Mapping):
        raise InvalidArgumentError(f"{named} must be a record, not {_kind(record)}. {_HOW}")
    ids = {}
    for name in ("datastoreId", "imageSetId"):
        value = record.get(name)
        if not isinstance(value, str) or not IMAGE_SET_ID.fullmatch(value):
            raise InvalidArgumentError(
                f"{named} has no valid {name}: a record has the {name} of 32 characters of 0-9 and a-z. {_HOW}"
            )
        ids[name] = value
    number = _version(record.get("version"))
    if number is not None and (isinstance(number, bool) or not isinstance(number, int) or not 1 <= number < 10**9):
        raise InvalidArgumentError(
            f"{named} has a version that is not a whole number of 1 or more. Give the version of the search hit, or "
            "leave it out for the newest one."
        )
    columns = ("datastoreId", "imageSetId", "version", "createdAt", "updatedAt", "isPrimary")
    kept = {name: record[name] for name in columns if name in record}
    return ImageSetRef(ids["datastoreId"], ids["imageSetId"], number, kept)


def _version(value: object) -> object:
    """Return a whole number as an integer: tables with empty fields give it as a float, and templates as text."""
    if is_empty(value):
        return None
    text = str(value).strip().removesuffix(".0") if isinstance(value, str | float) else ""
    return int(text) if is_whole_number(text) else value


def _flattened(values: Sequence[object]) -> Iterator[tuple[str, object]]:
    """Yield the records of a list, and those of lists in it, each with its place."""
    for number, value in enumerate(values):
        if isinstance(value, list | tuple):
            yield from ((f"[{number}][{inner}]", record) for inner, record in enumerate(value))
        else:
            yield f"[{number}]", value


def _parse_address(address: str) -> DatasetAddress:
    match = _MANIFEST.fullmatch(address)
    if not match:
        raise InvalidArgumentError(
            f"image_sets must name the {MANIFEST_FILE} of a dataset: 's3://bucket/prefix/window=.../{MANIFEST_FILE}'. "
            "Give the 'manifest' that a search returned."
        )
    return DatasetAddress(match["bucket"], match["key"])


def _kind(value: object) -> str:
    return "text" if isinstance(value, str) else type(value).__name__
