"""The response of GetImageSetMetadata: the DICOM attributes of an image set as gzipped, nested JSON.

The structure is documented in "Getting image set metadata" of the AWS HealthImaging Developer Guide: patient, study,
series and instances, each with its attributes under ``DICOM``. An attribute of the patient, the study or the series
stands there, with the value of the first instance that has it. An instance with another value has it itself.
"""

import gzip
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .datastore import Datastore
from .dicom_json import read_attributes
from .image_sets import TAG_TYPES, ImageSet
from .metadata_levels import LEVELS, TAG_KEYWORDS
from .stored_pixels import stored_pixels

METADATA_HEADERS: Mapping[str, str] = MappingProxyType({"Content-Type": "application/json", "Content-Encoding": "gzip"})


def metadata_blob(datastore: Datastore, image_set: ImageSet) -> bytes:
    """Return the metadata of ``image_set`` as gzipped JSON.

    An image set without files has the attributes that a search returns, if they have a value, and no image frames.

    :raises CodecMissingError: if the size of a frame is not known, because ``imagecodecs`` is not installed.
    """
    levels: dict[str, dict[str, Any]] = {level: {} for level in LEVELS}
    instances: dict[str, dict[str, Any]] = {}
    for uid, instance in image_set.instances.items():
        attributes = read_attributes(instance)
        own = {
            keyword: value for keyword, value in attributes.values.items() if not _normalized(levels, keyword, value)
        }
        instances[uid] = {"DICOM": own}
        if instance.content:
            stored = stored_pixels(instance, datastore.lossless_syntax)
            instances[uid] |= {"DICOMVRs": attributes.vrs, "StoredTransferSyntaxUID": stored.syntax}
            if stored.frames:
                instances[uid]["ImageFrames"] = [frame.as_json() for frame in stored.frames]
    _add_tags(levels, image_set)
    series_uid = str(image_set.dicom_tags.get("DICOMSeriesInstanceUID") or "")
    document = {
        "SchemaVersion": "1.1",
        "DatastoreID": datastore.datastore_id,
        "ImageSetID": image_set.image_set_id,
        "Patient": {"DICOM": levels["Patient"]},
        "Study": {
            "DICOM": levels["Study"],
            "Series": {series_uid: {"DICOM": levels["Series"], "Instances": instances}},
        },
    }
    return gzip.compress(json.dumps(document).encode(), mtime=0)


def _normalized(levels: dict[str, dict[str, Any]], keyword: str, value: Any) -> bool:
    """Put a value at its level. Return whether it stands there now, so that the instance need not have it."""
    for level, keywords in LEVELS.items():
        if keyword in keywords:
            if levels[level].get(keyword) is None:
                levels[level][keyword] = value
            return bool(levels[level][keyword] == value)
    return False


def _add_tags(levels: dict[str, dict[str, Any]], image_set: ImageSet) -> None:
    """Put the values of a search where the files have none or, in a test, others."""
    for tag in TAG_TYPES:
        value, keyword = image_set.dicom_tags.get(tag), TAG_KEYWORDS[tag]
        if value is None:
            continue
        for level, keywords in LEVELS.items():
            known = levels[level].get(keyword)
            text = "\\".join(map(str, known)) if isinstance(known, list) else known
            if keyword in keywords and str(text) != str(value):
                levels[level][keyword] = value if keyword.startswith("NumberOf") else str(value)
