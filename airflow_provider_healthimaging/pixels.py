"""Frames of an image set as numpy arrays, from what was copied to S3, or from the service. Needs the extra ``pixels``.

::

    for frame in read_frames(record, hook=S3Hook()):       # a record that HealthImagingToS3Operator returned
        train(frame.samples, frame.photometric_interpretation)

A frame is decoded when it is its turn, so memory does not grow with the image set.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from airflow_provider_healthimaging.exceptions import HealthImagingError, InvalidArgumentError
from airflow_provider_healthimaging.export.contents import (
    Display,
    Instance,
    parse_metadata,
    pixel_facts,
    read_instances,
)
from airflow_provider_healthimaging.export.decode import check_pixels_extra, decode_frame, is_decoded
from airflow_provider_healthimaging.export.dicom_pixels import decoded_frames, read_attributes
from airflow_provider_healthimaging.export.display import to_8_bits
from airflow_provider_healthimaging.export.image_sets import parse_record
from airflow_provider_healthimaging.export.manifest import MANIFEST_FILE, parse_manifest
from airflow_provider_healthimaging.export.plan import METADATA_NAME, frame_name, instance_name
from airflow_provider_healthimaging.export.s3_address import parse_s3_uri
from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.output.object_store import PART_BYTES, ObjectStore

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PixelFrame", "read_frame", "read_frames"]


@dataclass(frozen=True)
class PixelFrame:
    """One decoded frame, and what is needed to understand its samples.

    :param samples: the stored values, as rows, columns, and samples if a pixel has several. Neither rescaled nor
        converted to another colour space.
    :param instance: the place of the instance in the image set; the first is 1.
    :param frame: the place of the frame in the instance; the first is 1.
    :param photometric_interpretation: the DICOM attribute, such as ``"MONOCHROME2"`` or ``"RGB"``.
    :param bits_stored: the DICOM attribute: how many bits of a sample have a meaning.
    :param display: rescale slope and intercept, window centre and width, where the attributes have them.
    """

    samples: np.ndarray[Any, Any]
    instance: int
    frame: int
    photometric_interpretation: str
    bits_stored: int
    display: Display

    def to_8_bits(self) -> np.ndarray[Any, Any]:
        """Return the samples as a screen shows them, as unsigned 8 bit numbers: for a preview, not for measurements.

        Grey samples are rescaled, and windowed by window centre and width. Without a window, the smallest sample is
        black and the largest is white. ``MONOCHROME1`` is inverted. Colours become RGB.

        :raises UnsupportedPixelsError: for ``PALETTE COLOR``, whose samples are indices into a palette.
        """
        return to_8_bits(self.samples, self.photometric_interpretation, self.bits_stored, self.display)


def read_frames(record: Mapping[str, object], *, hook: S3Hook | HealthImagingHook) -> Iterator[PixelFrame]:
    """Iterate over the frames of an image set, in the order of series, instance and frame number.

    :param record: the record of the image set; to read from S3, one with ``s3_uri``.
    :param hook: amazon's ``S3Hook`` to read what was copied: ``"dicom"``, or ``"metadata"`` and ``"frames"``. Or a
        ``HealthImagingHook`` to read from the service.
    :raises InvalidArgumentError: for another record or hook.
    :raises UnsupportedPixelsError: at a frame that this package does not decode.
    :raises ConfigurationError: if the extra ``pixels`` is not installed.
    """
    return _places(record, hook, None)


def read_frame(
    record: Mapping[str, object], *, hook: S3Hook | HealthImagingHook, instance: int = 1, frame: int = 1
) -> PixelFrame:
    """Return one frame; :func:`read_frames` says more.

    :param record: the record of the image set; to read from S3, one with ``s3_uri``.
    :param hook: amazon's ``S3Hook``, or a ``HealthImagingHook``.
    :param instance: the place of the instance in the image set; the first is 1.
    :param frame: the place of the frame in the instance; the first is 1.
    :raises InvalidArgumentError: if the image set has no such frame.
    :raises UnsupportedPixelsError: if this package does not decode the frame.
    :raises ConfigurationError: if the extra ``pixels`` is not installed.
    """
    found = next(_places(record, hook, (instance, frame)), None)
    if found is None:
        raise InvalidArgumentError(f"The image set has no frame {frame} in an instance {instance}. Both count from 1.")
    return found


def _places(record: object, hook: object, only: tuple[int, int] | None) -> Iterator[PixelFrame]:
    check_pixels_extra()
    ref = parse_record(record)
    if isinstance(hook, HealthImagingHook):
        document = hook.get_image_set_metadata(ref.datastore_id, ref.image_set_id, ref.version)

        def fetch(instance: Instance, index: int) -> bytes:
            frame_id = instance.frames[index].frame_id
            with hook.get_image_frame(ref.datastore_id, ref.image_set_id, frame_id) as stream:
                return stream.read()

        return _decoded(read_instances(document), fetch, only)
    uri = record.get("s3_uri") if isinstance(record, Mapping) else None
    if not isinstance(hook, S3Hook) or uri is None:
        raise InvalidArgumentError(
            "Give a HealthImagingHook, or amazon's S3Hook and a record with the s3_uri that HealthImagingToS3Operator "
            "returned."
        )
    bucket, folder = parse_s3_uri(uri)
    store = ObjectStore(hook, bucket)
    manifest = parse_manifest(store.read(folder + MANIFEST_FILE) or b"")
    if manifest is None:
        raise HealthImagingError(f"There is no manifest in {uri}, so the copy is not complete. Run its task again.")
    has_files = "dicom" in manifest["content"]
    if {"metadata", "frames"} <= {*manifest["content"]}:
        instances = read_instances(parse_metadata(_object(store, folder + METADATA_NAME), ref.image_set_id))
        if not has_files or all(is_decoded(each.transfer_syntax, each.pixels) for each in instances if each.frames):
            there = {entry["key"] for entry in manifest["frames"]}

            def copied(instance: Instance, index: int) -> bytes | None:
                name = frame_name(instance, index)
                return _object(store, folder + name) if name in there else None

            return _decoded(instances, copied, only)
    if has_files:
        numbers = [entry["instance"] for entry in manifest["dicom"]]
        return _from_files(store, folder, numbers, only)
    raise InvalidArgumentError(
        f"The copy in {uri} has no pixels that can be read. Copy with content=['dicom'], or ['metadata', 'frames']."
    )


def _decoded(
    instances: list[Instance], fetch: Callable[[Instance, int], bytes | None], only: tuple[int, int] | None
) -> Iterator[PixelFrame]:
    for instance in instances:
        for index, frame in enumerate(instance.frames):
            if only not in {None, (instance.number, frame.number)}:
                continue
            if (data := fetch(instance, index)) is None:
                continue
            pixels = instance.pixels
            samples = decode_frame(data, instance.transfer_syntax, pixels)
            photometric = pixels.photometric_interpretation if pixels else ""
            bits = pixels.bits_stored if pixels else samples.dtype.itemsize * 8
            yield PixelFrame(samples, instance.number, frame.number, _as_decoded(photometric), bits, instance.display)


def _from_files(
    store: ObjectStore, folder: str, numbers: list[int], only: tuple[int, int] | None
) -> Iterator[PixelFrame]:
    for number in numbers:
        if only and only[0] != number:
            continue
        with tempfile.SpooledTemporaryFile(max_size=PART_BYTES) as file:
            if not store.download(folder + instance_name(number), file):
                raise _gone()
            attributes = read_attributes(file)
            pixels = pixel_facts(attributes)
            if pixels is None:
                continue
            for frame, samples in enumerate(decoded_frames(file), 1):
                if only in {None, (number, frame)}:
                    photometric = _as_decoded(pixels.photometric_interpretation)
                    display = Display.of(attributes)
                    yield PixelFrame(samples, number, frame, photometric, pixels.bits_stored, display)


def _as_decoded(photometric: str) -> str:
    """Return the photometric interpretation of decoded samples: JPEG 2000 has colour transformations of its own."""
    return "RGB" if photometric in {"YBR_RCT", "YBR_ICT"} else photometric


def _object(store: ObjectStore, key: str) -> bytes:
    data = store.read(key)
    if data is None:
        raise _gone()
    return data


def _gone() -> HealthImagingError:
    return HealthImagingError(
        "An object that the manifest lists is not there any more. Delete the manifest, and copy again."
    )
