"""Import jobs in tests: DICOM files, a clock that only the test moves, and a client that uploads and imports."""

from __future__ import annotations

import io
import json
import warnings
from datetime import UTC, datetime, timedelta

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

DATASTORE_ID = "d" * 32
MANIFEST, SUCCESS = "job-output-manifest.json", "SUCCESS/success.ndjson"
FAILURE, WARNING = "FAILURE/failure.ndjson", "WARNING/warning.ndjson"


def dicom_file(**attributes):
    """A DICOM file with attributes by keyword. The value ``None`` leaves one out, ``syntax`` is the transfer syntax."""
    dataset = Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, about values that a test makes invalid on purpose
        return _written(dataset, **attributes)


def _written(dataset, **attributes):
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = attributes.pop("syntax", ExplicitVRLittleEndian)
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2"
    uids = {"StudyInstanceUID": "1.1", "SeriesInstanceUID": "1.1.1", "SOPInstanceUID": "1.1.1.1"}
    for keyword, value in {**uids, **attributes}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    file = io.BytesIO()
    dataset.save_as(file, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return file.getvalue()


class Clock:
    """A clock that only a test moves."""

    def __init__(self):
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)


class Imports:
    """Uploads files to the bucket "input", and imports them with reports to the bucket "output"."""

    def __init__(self, client, s3):
        self.client, self.s3 = client, s3

    def upload(self, files):
        for key, content in files.items():
            self.s3.put_object(Bucket="input", Key=key, Body=content)

    def start(self, **changes):
        """Starts a job, and returns the response."""
        request = {
            "datastoreId": DATASTORE_ID,
            "dataAccessRoleArn": "arn:aws:iam::123456789012:role/import",
            "inputS3Uri": "s3://input/scans/",
            "outputS3Uri": "s3://output/reports",
        }
        return self.client.start_dicom_import_job(**{**request, **changes})

    def get(self, job_id, datastore_id=DATASTORE_ID):
        """The properties of a job."""
        return self.client.get_dicom_import_job(datastoreId=datastore_id, jobId=job_id)["jobProperties"]

    def output(self, job):
        """The output files that are there, by name: the summary, and the lines of the others."""
        bucket, _, prefix = job["outputS3Uri"].removeprefix("s3://").partition("/")
        files = {}
        for each in self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
            content = self.s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()
            documents = [json.loads(line) for line in content.splitlines()]
            name = each["Key"].removeprefix(prefix)
            files[name] = documents[0]["jobSummary"] if name == MANIFEST else documents
        return files

    def run(self, files=None, **changes):
        """Uploads the files, imports them, and returns the properties of the job and its output."""
        self.upload(files or {})
        started = self.start(**changes)
        job = self.get(started["jobId"], started["datastoreId"])
        return job, self.output(job)
