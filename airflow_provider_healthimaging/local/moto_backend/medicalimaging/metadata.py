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

_PATIENT_ATTRIBUTES = {
    "PatientID": "DICOMPatientId",
    "PatientName": "DICOMPatientName",
    "PatientBirthDate": "DICOMPatientBirthDate",
    "PatientSex": "DICOMPatientSex",
}
_STUDY_ATTRIBUTES = {
    "StudyInstanceUID": "DICOMStudyInstanceUID",
    "StudyID": "DICOMStudyId",
    "StudyDescription": "DICOMStudyDescription",
    "AccessionNumber": "DICOMAccessionNumber",
    "StudyDate": "DICOMStudyDate",
    "StudyTime": "DICOMStudyTime",
    "NumberOfStudyRelatedSeries": "DICOMNumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances": "DICOMNumberOfStudyRelatedInstances",
}
_SERIES_ATTRIBUTES = {
    "SeriesInstanceUID": "DICOMSeriesInstanceUID",
    "Modality": "DICOMSeriesModality",
    "BodyPartExamined": "DICOMSeriesBodyPart",
    "SeriesNumber": "DICOMSeriesNumber",
}

METADATA_HEADERS: Mapping[str, str] = MappingProxyType({"Content-Type": "application/json", "Content-Encoding": "gzip"})


def metadata_blob(datastore_id: str, image_set: ImageSet) -> bytes:
    """Return the metadata of ``image_set`` as gzipped JSON, without attributes that have no value."""
    series = {
        "DICOM": _attributes(image_set, _SERIES_ATTRIBUTES),
        "Instances": {uid: {"DICOM": {"SOPInstanceUID": uid}} for uid in image_set.instances},
    }
    document = {
        "SchemaVersion": "1.1",
        "DatastoreID": datastore_id,
        "ImageSetID": image_set.image_set_id,
        "Patient": {"DICOM": _attributes(image_set, _PATIENT_ATTRIBUTES)},
        "Study": {
            "DICOM": _attributes(image_set, _STUDY_ATTRIBUTES),
            "Series": {str(image_set.dicom_tags.get("DICOMSeriesInstanceUID") or ""): series},
        },
    }
    return gzip.compress(json.dumps(document).encode(), mtime=0)


def _attributes(image_set: ImageSet, names: Mapping[str, str]) -> dict[str, Any]:
    values = {keyword: image_set.dicom_tags.get(tag) for keyword, tag in names.items()}
    return {keyword: value for keyword, value in values.items() if value is not None}
