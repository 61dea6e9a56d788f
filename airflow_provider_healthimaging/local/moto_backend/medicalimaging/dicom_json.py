"""The attributes of a DICOM file as GetImageSetMetadata gives them: JSON values by DICOM keyword.

A private attribute has its tag as eight hexadecimal digits in place of a keyword, and its VR stands in ``DICOMVRs``.
Decimal and integer strings stay strings, binary values are Base64, an empty value is ``null``. The file may be harmful,
so ``untrusted_content`` limits how much of it is read. Pixel data are not read.
"""

import math
from base64 import b64encode
from collections.abc import MutableSequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .image_sets import Instance
from .pydicom_silence import silenced_pydicom
from .untrusted_content import MAX_HEADER_BYTES, BoundedReader, UnusableFileError

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.tag import BaseTag

_PIXEL_DATA = {0x7FE00008, 0x7FE00009, 0x7FE00010}
_MAX_TEXT_BYTES = 64 * 1024
"""Maximum size of a value that is not binary. Decoding can take time that grows with the square of the size."""

_BINARY_VRS = {"OB", "OD", "OF", "OL", "OV", "OW", "UN"}


class Attributes(NamedTuple):
    """The attributes of one instance: values by keyword or tag, and the VRs of the private ones."""

    values: dict[str, Any]
    vrs: dict[str, str]


def read_attributes(instance: Instance) -> Attributes:
    """Return the attributes of an instance, which must not be changed. What cannot be read is left out."""
    known: Attributes | None = instance.derived.get("attributes")
    if known is None:
        known = instance.derived["attributes"] = _read(instance)
    return known


def _read(instance: Instance) -> Attributes:
    found = Attributes({}, {})
    if instance.content:
        with silenced_pydicom():
            found.values.update(_structure(_read_header(instance), found.vrs))
    found.values.setdefault("SOPInstanceUID", instance.sop_instance_uid)
    return found


def _read_header(instance: Instance) -> "Dataset":
    """Return the attributes before the pixel data, or those before the first that cannot be read."""
    from pydicom.filereader import read_partial

    seen = 0

    def read(limit: float) -> "Dataset":
        def stop_reading(tag: "BaseTag", _: Any, __: int) -> bool:
            nonlocal seen
            seen += 1
            return tag in _PIXEL_DATA or seen >= limit

        with instance.open() as file:
            return read_partial(BoundedReader(file, MAX_HEADER_BYTES), stop_reading)  # type: ignore[arg-type]

    try:
        return read(math.inf)
    except Exception:  # noqa: BLE001 - for a broken file, pydicom may raise any exception
        readable, seen = seen, 0
        return read(readable)


def _structure(dataset: "Dataset", vrs: dict[str, str]) -> dict[str, Any]:
    values = {}
    for tag in list(dataset.keys()):
        if tag.element == 0 or tag in _PIXEL_DATA:  # the length of a group is not an attribute
            continue
        try:
            element = _decoded(dataset, tag)
            name = element.keyword
            if not name or tag.is_private:
                name = f"{tag:08X}"
                vrs[name] = element.VR
            values[name] = _value(element, vrs)
        except Exception:  # noqa: BLE001, S112 - for a broken value, pydicom may raise any exception
            continue
    return values


def _decoded(dataset: "Dataset", tag: "BaseTag") -> "DataElement":
    """Return an element. pydicom decodes its value now."""
    from pydicom.dataelem import RawDataElement

    raw: Any = dataset.get_item(tag)
    if (
        isinstance(raw, RawDataElement)
        and raw.length > _MAX_TEXT_BYTES
        and _BINARY_VRS.isdisjoint(_vr(raw).split(" or "))
    ):
        raise UnusableFileError(f"attribute {tag} has more than {_MAX_TEXT_BYTES:,} bytes")
    return dataset[tag]


def _vr(raw: "RawDataElement") -> str:
    """Return the VR of an element. Without one in the file, it is that of the dictionary, as pydicom decodes it."""
    from pydicom.datadict import dictionary_has_tag, dictionary_VR

    return raw.VR or (dictionary_VR(raw.tag) if dictionary_has_tag(raw.tag) else "UN")


def _value(element: "DataElement", vrs: dict[str, str]) -> Any:
    value = element.value
    if element.VR == "SQ":
        return [_structure(item, vrs) for item in value]
    if element.is_empty:
        return None
    if isinstance(value, MutableSequence):
        return [_single(element.VR, each) for each in value]
    return _single(element.VR, value)


def _single(vr: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if vr == "AT":
        return f"{value:08X}"
    # Subclasses, such as those of decimal strings, are written as in the file.
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return value
    return str(value)
