"""What GetImageSetMetadata answers: an image set's DICOM attributes as nested JSON, compressed.

The structure is that of "Getting image set metadata" in the AWS HealthImaging Developer Guide: patient, study and
series, each with its attributes under ``DICOM`` and by their DICOM keywords. Image frames are not made up.
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
    """Return the metadata of ``row`` as gzipped JSON; attributes that it lacks are left out."""
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
