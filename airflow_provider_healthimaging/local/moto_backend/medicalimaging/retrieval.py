"""Finds image frames and DICOM instances, and returns their bytes as GetImageFrame and GetDICOMInstance do.

Source: "Getting image set pixel data" and "Getting a DICOM instance" of the AWS HealthImaging Developer Guide.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.message import Message
from typing import TYPE_CHECKING

from .exceptions import ConflictError, NotAcceptableError, ResourceNotFoundError
from .faults import is_missing
from .image_sets import ImageSet, Instance
from .organizer import series_key
from .part10 import part10_file
from .pixel_codecs import EXPLICIT_LITTLE_ENDIAN, CodecMissingError, PixelsError
from .stored_pixels import StoredPixels, frame_bytes, is_lossless, stored_pixels

if TYPE_CHECKING:
    from .models import MedicalImagingBackend

_DICOM = "application/dicom"
_COMPRESSED = "1.2.840.10008.1.2.4."
_FRAME_TYPES = {
    f"{_COMPRESSED}50": "image/jpeg",
    f"{_COMPRESSED}91": "image/j2c",
    f"{_COMPRESSED}112": "image/jxl",
    f"{_COMPRESSED}202": "image/jph",
    f"{_COMPRESSED}203": "image/jphc",
    **{f"{_COMPRESSED}{number}": "video/mpeg" for number in (100, 101)},
    **{f"{_COMPRESSED}{number}": "video/mp4" for number in range(102, 107)},
    **{f"{_COMPRESSED}{number}": "video/H256" for number in (107, 108)},
}
"""The media types of frames, as the service's model in botocore lists them by stored transfer syntax."""


def image_frame(
    backend: "MedicalImagingBackend", datastore_id: str, image_set_id: str, frame_id: str
) -> tuple[str, bytes]:
    """Return the media type and the bytes of an image frame as it is stored.

    The frame may belong to any version of the image set.
    """
    require_consistent(backend, backend.get_image_set(datastore_id, image_set_id))
    lossless = backend.get_datastore(datastore_id).lossless_syntax
    with refused_pixels():
        for instance in _instances_of_all_versions(backend, datastore_id, image_set_id):
            stored = stored_pixels(instance, lossless)
            index = stored.index.get(frame_id)
            if index is not None and not is_missing(backend.settings, frame_id):
                media_type = _FRAME_TYPES.get(stored.syntax.removesuffix(".1"), "application/octet-stream")
                return media_type, frame_bytes(instance, stored, index)
    raise ResourceNotFoundError(f"Image frame {frame_id} was not found")


def dicom_instance(
    backend: "MedicalImagingBackend",
    datastore_id: str,
    uids: tuple[str, str, str],
    *,
    image_set_id: str | None,
    accept: str,
) -> tuple[str, bytes]:
    """Return the transfer syntax and the bytes of a DICOM file.

    :param uids: of the study, the series and the instance.
    :param image_set_id: without it, the instance must be in a primary image set.
    :param accept: the header ``Accept``.
    """
    image_set, instance = _find_instance(backend, datastore_id, uids, image_set_id)
    require_consistent(backend, image_set)
    wanted = requested_syntax(accept)
    with refused_pixels():
        stored = stored_pixels(instance, backend.get_datastore(datastore_id).lossless_syntax)
        syntax = _negotiated(wanted, stored)
        try:
            return syntax, part10_file(instance, stored, syntax)
        except PixelsError as error:
            raise NotAcceptableError(f"The instance cannot be returned as {syntax}: {error}") from None


def require_consistent(backend: "MedicalImagingBackend", image_set: ImageSet) -> None:
    """Raise ``ConflictError`` if the last version of an image set is newer than ``metadata_lag``."""
    if backend.clock() - image_set.updated_at < timedelta(seconds=backend.settings.metadata_lag):
        raise ConflictError("The image set is not consistent yet")


@contextmanager
def refused_pixels() -> Iterator[None]:
    """Raise ``NotAcceptableError`` if the block needs a codec that is not installed."""
    try:
        yield
    except CodecMissingError:
        raise NotAcceptableError(
            "The local HealthImaging needs imagecodecs for pixels: pip install 'airflow-provider-healthimaging[local]'"
        ) from None


def requested_syntax(accept: str) -> str | None:
    """Return the transfer syntax of a header ``Accept``, ``*`` for the stored one, or ``None`` if it has none.

    :raises NotAcceptableError: if the client does not accept a DICOM file.
    """
    for choice in accept.split(","):
        header = Message()
        header["Content-Type"] = choice.strip()
        # A media type that the parser cannot read becomes text/plain.
        if header.get_content_type() == _DICOM:
            syntax = header.get_param("transfer-syntax")
            return syntax if isinstance(syntax, str) else None
        if choice.partition(";")[0].strip() in {"", "*/*", "application/*"}:
            return None
    raise NotAcceptableError(f"The media type must be {_DICOM}")


def _negotiated(wanted: str | None, stored: StoredPixels) -> str:
    if wanted == "*":
        return stored.syntax
    if wanted is None:
        return EXPLICIT_LITTLE_ENDIAN if is_lossless(stored.syntax) else stored.syntax
    if wanted not in {EXPLICIT_LITTLE_ENDIAN, stored.syntax}:
        raise NotAcceptableError("The transfer syntax is neither the stored one nor Explicit VR Little Endian")
    return wanted


def _find_instance(
    backend: "MedicalImagingBackend", datastore_id: str, uids: tuple[str, str, str], image_set_id: str | None
) -> tuple[ImageSet, Instance]:
    study, series, uid = uids
    if image_set_id is None:
        candidates = [each for each in backend.image_sets(datastore_id) if each.is_primary]
    else:
        candidates = [backend.get_image_set(datastore_id, image_set_id)]
    for image_set in candidates:
        instance = image_set.instances.get(uid)
        fits = instance is not None and series_key(image_set.dicom_tags) == (study, series)
        if instance and fits and instance.content and not is_missing(backend.settings, uid):
            return image_set, instance
    raise ResourceNotFoundError("The DICOM instance was not found")


def _instances_of_all_versions(
    backend: "MedicalImagingBackend", datastore_id: str, image_set_id: str
) -> Iterator[Instance]:
    seen: set[int] = set()
    for image_set in backend.image_set_versions(datastore_id, image_set_id):
        for instance in image_set.instances.values():
            if id(instance) not in seen:
                seen.add(id(instance))
                yield instance
