"""What an image set consists of, by the metadata document of GetImageSetMetadata.

"Getting image set metadata" of the AWS HealthImaging developer guide describes the document. Nothing of it but ids,
numbers and transfer syntaxes goes into keys, manifests, logs and errors: UIDs are patient data.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from airflow_provider_healthimaging.exceptions import HealthImagingError, IncompleteResponseError
from airflow_provider_healthimaging.export.request import as_mapping, is_uid

HTJ2K_LOSSLESS_RPCL = "1.2.840.10008.1.2.4.202"
"""The transfer syntax of instances whose metadata name none, by the developer guide."""

_JPEG = "1.2.840.10008.1.2.4."
_EXTENSIONS = {
    "jpg": (50, 51, 57, 70, 80, 81),
    "j2k": (90, 91, 92, 93),
    "jph": (201, 202, 203),
    "jxl": (110, 111, 112),
    "mpg": (100, 101),
    "mp4": (102, 103, 104, 105, 106, 107, 108),
}
FRAME_EXTENSIONS: Mapping[str, str] = {
    f"{_JPEG}{number}{fragmentable}": extension
    for extension, numbers in _EXTENSIONS.items()
    for number in numbers
    for fragmentable in ("", ".1")
}
"""The file extensions of frames by transfer syntax; all others are ``dcmraw``, pixels without an encoding."""

PIXEL_ATTRIBUTES = (
    *("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation"),
    "PhotometricInterpretation",
)
DISPLAY_ATTRIBUTES = ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth")

FRAME_ID = re.compile(r"[0-9a-z]{32}")
_INTEGER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class PixelFacts:
    """How the decoded pixels of an instance are laid out, by DICOM attributes of these names."""

    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    bits_stored: int
    pixel_representation: int
    photometric_interpretation: str

    @property
    def frame_bytes(self) -> int:
        """The bytes of one decoded frame."""
        return (self.rows * self.columns * self.samples_per_pixel * self.bits_allocated + 7) // 8


@dataclass(frozen=True, slots=True)
class Display:
    """How to show samples; ``None`` for what an instance does not have.

    :param rescale_slope: the DICOM attribute, by which stored values are multiplied.
    :param rescale_intercept: the DICOM attribute, which is added after that.
    :param window_center: the DICOM attribute, in rescaled values; the first of several.
    :param window_width: the DICOM attribute, in rescaled values; the first of several.
    """

    rescale_slope: float | None
    rescale_intercept: float | None
    window_center: float | None
    window_width: float | None

    @classmethod
    def of(cls, attributes: Mapping[str, object]) -> Self:
        """Return what attributes, by keyword, say. Of several windows, the first."""
        return cls(*(_decimal(attributes.get(name)) for name in DISPLAY_ATTRIBUTES))


@dataclass(frozen=True, slots=True)
class Frame:
    """One image frame.

    :param number: its place in its instance; the first is 1.
    :param size: ``FrameSizeInBytes``, which may be the size of the stored or of the decoded frame.
    :param checksum: the CRC32 of the full resolution, or ``None`` if the metadata have none.
    :param of_stored_bytes: whether the checksum is that of the stored bytes, because the service kept the original.
    """

    frame_id: str
    number: int
    size: int | None
    checksum: int | None
    of_stored_bytes: bool


class InstanceUIDs(NamedTuple):
    """The UIDs by which DICOMweb finds an instance. They are patient data, and not shown."""

    study: str
    series: str
    sop: str

    def __repr__(self) -> str:
        return "InstanceUIDs(***)"


@dataclass(frozen=True, slots=True)
class Instance:
    """One DICOM instance.

    :param number: its place in the image set; the first is 1.
    :param transfer_syntax: the one in which it is stored.
    :param pixels: ``None`` if it has no pixels, or the metadata do not describe them.
    """

    number: int
    uids: InstanceUIDs
    transfer_syntax: str
    frames: tuple[Frame, ...] = field(repr=False)
    pixels: PixelFacts | None
    display: Display


def parse_metadata(blob: bytes, image_set_id: str) -> Mapping[str, Any]:
    """Return the metadata document that the service gave as gzipped JSON.

    :raises IncompleteResponseError: if it is truncated, or not the document of this image set.
    """
    document = None
    with suppress(zlib.error, OSError, EOFError, ValueError, RecursionError):
        document = json.loads(gzip.decompress(blob))
    if not isinstance(document, Mapping) or document.get("ImageSetID") != image_set_id:
        raise IncompleteResponseError(
            f"The metadata of image set {image_set_id} are truncated, or are not valid HealthImaging metadata. Check "
            "for a proxy or a firewall between the worker and the service, and retry."
        )
    return document


def read_instances(document: Mapping[str, Any]) -> list[Instance]:
    """Return the instances of an image set, in the order of series number, instance number and UID.

    :raises HealthImagingError: if the document has an unknown structure.
    """
    study = as_mapping(document.get("Study"))
    study_uid = as_mapping(study.get("DICOM")).get("StudyInstanceUID")
    found = []
    for series_uid, series in as_mapping(study.get("Series")).items():
        series_number = _number(as_mapping(as_mapping(series).get("DICOM")).get("SeriesNumber"))
        for sop_uid, instance in as_mapping(as_mapping(series).get("Instances")).items():
            instance_number = _number(as_mapping(as_mapping(instance).get("DICOM")).get("InstanceNumber"))
            found.append(((series_number, series_uid, instance_number, sop_uid), as_mapping(instance)))
    if not isinstance(study_uid, str):
        if not found:
            return []
        raise HealthImagingError("The metadata of an image set name no study. Report this to the maintainers.")
    found.sort(key=lambda each: each[0])
    return [_instance(number, study_uid, place, instance) for number, (place, instance) in enumerate(found, 1)]


def _instance(
    number: int, study_uid: str, place: tuple[float, str, float, str], given: Mapping[str, object]
) -> Instance:
    _, series_uid, _, sop_uid = place
    return Instance(
        number=number,
        uids=InstanceUIDs(study_uid, series_uid, sop_uid),
        transfer_syntax=_transfer_syntax(given.get("StoredTransferSyntaxUID")),
        frames=tuple(_frames(given.get("ImageFrames"))),
        pixels=pixel_facts(as_mapping(given.get("DICOM"))),
        display=Display.of(as_mapping(given.get("DICOM"))),
    )


def _transfer_syntax(given: object) -> str:
    if given is None or given == "":
        return HTJ2K_LOSSLESS_RPCL
    if not is_uid(given):
        raise HealthImagingError("A transfer syntax in the metadata is not a UID. Report this to the maintainers.")
    return given


def _frames(given: object) -> Iterator[Frame]:
    for number, frame in enumerate(map(as_mapping, given if isinstance(given, list) else ()), 1):
        frame_id, size = frame.get("ID"), frame.get("FrameSizeInBytes")
        if not isinstance(frame_id, str) or not FRAME_ID.fullmatch(frame_id):
            raise HealthImagingError(
                "The metadata of an image set name a frame without a valid id. Report this to the maintainers of the "
                "provider."
            )
        yield Frame(
            frame_id=frame_id,
            number=number,
            size=size if isinstance(size, int) else None,
            checksum=_checksum(frame.get("PixelDataChecksumFromBaseToFullResolution")),
            of_stored_bytes=frame.get("MinPixelValue") is None and frame.get("MaxPixelValue") is None,
        )


def _checksum(levels: object) -> int | None:
    """Return the checksum of the level of the largest width, which is the full resolution."""
    known = [level for level in map(as_mapping, levels if isinstance(levels, list) else ()) if _is_level(level)]
    if not known:
        return None
    return int(str(max(known, key=lambda level: _number(level.get("Width"), missing=0))["Checksum"]))


def _is_level(level: Mapping[str, object]) -> bool:
    return str(level.get("Checksum", "")).isdecimal()


def pixel_facts(attributes: Mapping[str, object]) -> PixelFacts | None:
    """Return how pixels are laid out, by attributes by keyword; ``None`` if these do not say it."""
    *counts, colours = PIXEL_ATTRIBUTES
    numbers = [_number(attributes.get(name), missing=-1) for name in counts]
    if min(numbers) < 0:
        return None
    rows, columns, samples, allocated, stored, signed = map(int, numbers)
    photometric = attributes.get(colours)
    return PixelFacts(rows, columns, samples, allocated, stored, signed, str(photometric or ""))


def _decimal(value: object) -> float | None:
    """Return a number, or the first of several."""
    first = next(iter(value), None) if isinstance(value, Iterable) and not isinstance(value, str) else value
    with suppress(ValueError):
        number = float(str(first))
        return number if math.isfinite(number) else None
    return None


def _number(value: object, missing: float = float("inf")) -> float:
    """Return a number of the metadata, which gives some as text, and some as lists of one."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    text = str(value).strip()
    return int(text) if _INTEGER.fullmatch(text) else missing
