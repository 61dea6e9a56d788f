"""The response of GetImageSetMetadata: the DICOM attributes of an image set as gzipped, nested JSON.

The structure is documented in "Getting image set metadata" of the AWS HealthImaging Developer Guide: patient, study
and series, each with its attributes under ``DICOM``, by their DICOM keywords. It contains no image frames.
"""

import gzip
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .image_sets import ImageSet

_PATIENT = {
    "PatientID": "DICOMPatientId",
    "PatientName": "DICOMPatientName",
    "PatientBirthDate": "DICOMPatientBirthDate",
    "PatientSex": "DICOMPatientSex",
}
_STUDY = {
    "StudyInstanceUID": "DICOMStudyInstanceUID",
    "StudyID": "DICOMStudyId",
    "StudyDescription": "DICOMStudyDescription",
    "AccessionNumber": "DICOMAccessionNumber",
    "StudyDate": "DICOMStudyDate",
    "StudyTime": "DICOMStudyTime",
    "NumberOfStudyRelatedSeries": "DICOMNumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances": "DICOMNumberOfStudyRelatedInstances",
}
_SERIES = {
    "SeriesInstanceUID": "DICOMSeriesInstanceUID",
    "Modality": "DICOMSeriesModality",
    "BodyPartExamined": "DICOMSeriesBodyPart",
    "SeriesNumber": "DICOMSeriesNumber",
}

HEADERS: Mapping[str, str] = MappingProxyType({"Content-Type": "application/json", "Content-Encoding": "gzip"})


def metadata_blob(datastore_id: str, row: ImageSet) -> bytes:
    """Return the metadata of ``row`` as gzipped JSON; attributes without a value are left out."""
    series = {
        "DICOM": _attributes(row, _SERIES),
        "Instances": {uid: {"DICOM": {"SOPInstanceUID": uid}} for uid in sorted(row.sop_instance_uids)},
    }
    document = {
        "SchemaVersion": "1.1",
        "DatastoreID": datastore_id,
        "ImageSetID": row.image_set_id,
        "Patient": {"DICOM": _attributes(row, _PATIENT)},
        "Study": {
            "DICOM": _attributes(row, _STUDY),
            "Series": {str(row.dicom_tags.get("DICOMSeriesInstanceUID") or ""): series},
        },
    }
    return gzip.compress(json.dumps(document).encode(), mtime=0)


def _attributes(row: ImageSet, names: Mapping[str, str]) -> dict[str, Any]:
    found = {keyword: row.dicom_tags.get(tag) for keyword, tag in names.items()}
    return {keyword: value for keyword, value in found.items() if value is not None}
