"""What an image set contains, read over HTTP: its metadata, frames and files. And files with pixels to import."""

from __future__ import annotations

import gzip
import io
import json
import warnings

import numpy as np
import pydicom
from pydicom.pixels import iter_pixels

from .importing import DATASTORE_ID, dicom_file

HTJ2K, J2K, EXPLICIT = "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.1"
AS_EXPLICIT = f"application/dicom; transfer-syntax={EXPLICIT}"


def image(frames, **attributes):
    """A DICOM file with pixels: an array of frames, rows, columns and perhaps samples."""
    frames = np.asarray(frames)
    samples = frames.shape[3] if frames.ndim == 4 else 1
    bits = frames.dtype.itemsize * 8
    described = {
        "SamplesPerPixel": samples,
        "PhotometricInterpretation": "RGB" if samples == 3 else "MONOCHROME2",
        "NumberOfFrames": len(frames),
        "Rows": frames.shape[1],
        "Columns": frames.shape[2],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(frames.dtype.kind == "i"),
        "PixelData": frames.tobytes() + b"\0" * (frames.nbytes % 2),
    }
    if samples > 1:
        described["PlanarConfiguration"] = 0
    return dicom_file(**{**described, **attributes})


def import_one(imports, content, **request):
    """Import a file, and return the id of its image set."""
    _, output = imports.run({"scans/one": content}, **request)
    (image_set,) = output["job-output-manifest.json"]["imageSetsSummary"]
    return image_set["imageSetId"]


def read_metadata(client, image_set_id, datastore_id=DATASTORE_ID, **version):
    response = client.get_image_set_metadata(datastoreId=datastore_id, imageSetId=image_set_id, **version)
    assert (response["contentType"], response["contentEncoding"]) == ("application/json", "gzip")
    return json.loads(gzip.decompress(response["imageSetMetadataBlob"].read()))


def only_instance(document):
    """The UIDs of the only instance, and what the metadata say of it."""
    study = document["Study"]["DICOM"]["StudyInstanceUID"]
    ((series, rest),) = document["Study"]["Series"].items()
    ((uid, instance),) = rest["Instances"].items()
    return (study, series, uid), instance


def read_frame(client, image_set_id, frame_id, datastore_id=DATASTORE_ID, media_type=None):
    response = client.get_image_frame(
        datastoreId=datastore_id, imageSetId=image_set_id, imageFrameInformation={"imageFrameId": frame_id}
    )
    assert media_type in {None, response["contentType"]}
    return response["imageFrameBlob"].read()


def parsed(content):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(io.BytesIO(content))


def pixels(content):
    """The frames as pydicom decodes them, without a conversion of colours, or ``None`` if it cannot."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return list(iter_pixels(io.BytesIO(content), raw=True))
        except Exception:  # noqa: BLE001 - pydicom raises several types
            return None
