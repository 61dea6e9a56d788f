"""Small DICOM files for import jobs, and an S3 bucket full of them."""

from __future__ import annotations

import io
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ROLE = "arn:aws:iam::123456789012:role/import"
NOT_DICOM = b"this is no DICOM file"


def dicom_file(
    number: int = 1,
    *,
    series: int = 1,
    study: int = 1,
    patient: str = "P1",
    syntax: str = ExplicitVRLittleEndian,
    **tags: Any,
) -> bytes:
    """Return a DICOM file: instance ``number`` of a series of a study of a patient. Only ``tags`` give it pixels."""
    dataset = Dataset()
    dataset.SOPClassUID = SECONDARY_CAPTURE
    dataset.StudyInstanceUID = f"2.25.{study}"
    dataset.SeriesInstanceUID = f"2.25.{study}.{series}"
    dataset.SOPInstanceUID = f"2.25.{study}.{series}.{number}"
    dataset.PatientID = patient
    dataset.Modality = "OT"
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = syntax
    written = io.BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


def upload(bucket: Any, prefix: str = "inbox/", *, series: int = 2, instances: int = 2, broken: int = 0) -> None:
    """Put DICOM files of so many series, and so many that are none, under a prefix."""
    for each in range(1, series + 1):
        for number in range(1, instances + 1):
            bucket.put_object(Key=f"{prefix}{each}/{number}.dcm", Body=dicom_file(number, series=each))
    for number in range(broken):
        bucket.put_object(Key=f"{prefix}{number}.txt", Body=NOT_DICOM)
