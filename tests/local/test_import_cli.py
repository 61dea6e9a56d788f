"""The AWS CLI uploads files, imports them, and reads the report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import HANG_SECONDS
from .importing import DATASTORE_ID, MANIFEST, dicom_file

AWS = Path(sys.executable).with_name("aws")
MEDICAL_IMAGING = ("medical-imaging", "--output", "json")


@pytest.fixture
def aws(server, local, tmp_path):
    if not AWS.exists():
        pytest.skip(f"the AWS CLI is not installed beside {Path(sys.executable).name}")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server.url,
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
    }

    def run(*arguments):
        command = [AWS, *arguments]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=HANG_SECONDS
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_aws_cli_uploads_imports_lists_and_reads_the_report(aws, imports, tmp_path):
    (tmp_path / "a.dcm").write_bytes(dicom_file())
    (tmp_path / "notes.txt").write_text("text")
    for name in ("a.dcm", "notes.txt"):
        aws("s3", "cp", str(tmp_path / name), f"s3://input/scans/{name}")
    mapping = {"studyInstanceUID": "1.1", "metadataFilePath": "a.json"}
    configuration = {"dicomJsonMetadataImportConfiguration": {"dicomMetadataMappings": [mapping]}}
    started = json.loads(
        aws(
            *MEDICAL_IMAGING,
            "start-dicom-import-job",
            *("--datastore-id", DATASTORE_ID, "--job-name", "daily/1"),
            *("--data-access-role-arn", "arn:aws:iam::123456789012:role/import"),
            *("--input-s3-uri", "s3://input/scans/", "--output-s3-uri", "s3://output/reports/"),
            *("--import-configuration", json.dumps(configuration)),
        )
    )
    assert (started["datastoreId"], started["jobStatus"]) == (DATASTORE_ID, "SUBMITTED")
    ids = ("--datastore-id", DATASTORE_ID, "--job-id", started["jobId"])
    job = json.loads(aws(*MEDICAL_IMAGING, "get-dicom-import-job", *ids))["jobProperties"]
    assert (job["jobStatus"], job["jobName"], job["importConfiguration"]) == ("COMPLETED", "daily/1", configuration)
    listed = aws(*MEDICAL_IMAGING, "list-dicom-import-jobs", *ids[:2], "--job-status", "COMPLETED")
    assert [each["jobId"] for each in json.loads(listed)["jobSummaries"]] == [started["jobId"]]
    summary = json.loads(aws("s3", "cp", job["outputS3Uri"] + MANIFEST, "-"))["jobSummary"]
    assert (summary["numberOfImportedFiles"], summary["numberOfFilesWithCustomerError"]) == (1, 1)
