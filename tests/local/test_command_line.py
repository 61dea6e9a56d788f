"""``python -m airflow_provider_healthimaging.local serve`` in its own process, and the AWS CLI with this server."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from airflow_provider_healthimaging.local.__main__ import main
from airflow_provider_healthimaging.local.dicom import pydicom_sample_files

from .conftest import HANG_SECONDS

COMMAND = [sys.executable, "-m", "airflow_provider_healthimaging.local", "serve"]
LOCAL_ID = "local" + "0" * 27
AWS = Path(sys.executable).with_name("aws")
KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


@contextmanager
def serving(*options, ends_by=signal.SIGTERM, expected_stderr=""):
    """Start the server, and yield what it prints. Then end it: its exit code must be 0, and stderr as expected."""
    command = [*COMMAND, "--port", "0", *map(str, options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "search-image-sets" in line:
                break
        yield "".join(lines)
    finally:
        process.send_signal(ends_by)
        _, errors = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0
    assert re.fullmatch(expected_stderr, errors), errors


def client_of(printed, region="us-east-1", **config):
    return boto3.client(
        "medical-imaging",
        endpoint_url=re.search(r"http://[\d.]+:\d+", printed).group(),
        region_name=region,
        config=Config(inject_host_prefix=False, **config),
        **KEYS,
    )


@pytest.fixture(scope="module")
def printed():
    with serving("--sample-data", "--bucket", "first", "second") as text:
        yield text


@pytest.fixture(scope="module")
def connection(printed):
    """The Airflow connection in the printed ``export`` line."""
    line = next(line for line in printed.splitlines() if "AIRFLOW_CONN" in line)
    export, assignment = shlex.split(line)
    name, value = assignment.split("=", 1)
    assert (export, name) == ("export", "AIRFLOW_CONN_AWS_DEFAULT")
    return json.loads(value)


def test_the_printed_connection_finds_the_image_sets(printed, connection):
    assert connection["conn_type"] == "aws"
    client = boto3.client(
        "medical-imaging",
        **connection["extra"],
        aws_access_key_id=connection["login"],
        aws_secret_access_key=connection["password"],
        config=Config(inject_host_prefix=False),
    )
    found = client.search_image_sets(datastoreId=LOCAL_ID)["imageSetsMetadataSummaries"]
    assert len(found) == 36
    assert f"{LOCAL_ID}: 36 image sets" in printed


def test_it_creates_buckets(connection):
    s3 = boto3.client("s3", endpoint_url=connection["extra"]["endpoint_url"], region_name="us-east-1", **KEYS)
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["first", "second"]


@pytest.fixture(scope="module")
def aws(printed, tmp_path_factory):
    """The AWS CLI, with the environment variables that the server printed."""
    if not AWS.exists():
        pytest.skip(f"the AWS CLI is not installed beside {Path(sys.executable).name}")
    exports = [line.split()[1:] for line in printed.splitlines() if line.startswith("  export AWS_")]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path_factory.mktemp("home")),
        **dict(assignment.split("=", 1) for line in exports for assignment in line),
    }

    def run(*arguments):
        done = subprocess.run(
            [AWS, "--output", "json", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_the_aws_cli_lists_everything(aws):
    found = aws("medical-imaging", "search-image-sets", "--datastore-id", LOCAL_ID)
    assert len(found["imageSetsMetadataSummaries"]) == 36
    assert [store["datastoreName"] for store in aws("medical-imaging", "list-datastores")["datastoreSummaries"]] == [
        "local"
    ]


def test_the_aws_cli_filters_and_sorts(aws, tmp_path):
    everything = aws("medical-imaging", "search-image-sets", "--datastore-id", LOCAL_ID)["imageSetsMetadataSummaries"]
    study = everything[0]["DICOMTags"]["DICOMStudyInstanceUID"]
    criteria = tmp_path / "criteria.json"
    criteria.write_text(
        json.dumps(
            {
                "filters": [
                    {"operator": "EQUAL", "values": [{"DICOMStudyInstanceUID": study}]},
                    {
                        "operator": "BETWEEN",
                        "values": [{"createdAt": "1985-04-12T23:20:50.52Z"}, {"createdAt": "2100-01-01T00:00:00Z"}],
                    },
                ],
                "sort": {"sortField": "DICOMStudyDateAndTime", "sortOrder": "ASC"},
            }
        )
    )
    command = ("medical-imaging", "search-image-sets", "--datastore-id", LOCAL_ID)
    found = aws(*command, "--search-criteria", f"file://{criteria}")
    assert found["sort"] == {"sortField": "DICOMStudyDateAndTime", "sortOrder": "ASC"}
    assert {hit["imageSetId"] for hit in found["imageSetsMetadataSummaries"]} == {
        hit["imageSetId"] for hit in everything if hit["DICOMTags"]["DICOMStudyInstanceUID"] == study
    }


def test_the_aws_cli_reads_pages_and_continues_from_a_token(aws):
    command = ("medical-imaging", "search-image-sets", "--datastore-id", LOCAL_ID, "--page-size", "5")
    everything = aws(*command)["imageSetsMetadataSummaries"]
    assert len(everything) == 36
    first = aws(*command, "--max-items", "12")
    assert first["imageSetsMetadataSummaries"] == everything[:12]
    rest = aws(*command, "--starting-token", first["NextToken"])
    assert rest["imageSetsMetadataSummaries"] == everything[12:]
    assert "NextToken" not in rest


def test_dicom_folders_are_loaded_and_skipped_files_are_reported(tmp_path):
    (scan,) = [path for path in pydicom_sample_files() if path.name == "CT_small.dcm"]
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "a.dcm").write_bytes(scan.read_bytes())
    (tmp_path / "letter.txt").write_text("CANARY")
    options = ("--dicom", tmp_path, "--datastore-id", "a" * 32, "--region", "eu-west-1", "--bucket", "there")
    with serving(*options, expected_stderr=r"skipped \S*letter\.txt: not a DICOM file\n") as text:
        assert f"{'a' * 32}: 1 image sets" in text
        assert '"region_name":"eu-west-1"' in text
        client = client_of(text, "eu-west-1")
        assert client.get_datastore(datastoreId="a" * 32)["datastoreProperties"]["datastoreName"] == "local"
        assert len(client.search_image_sets(datastoreId="a" * 32)["imageSetsMetadataSummaries"]) == 1


def test_an_unknown_data_store_can_raise_access_denied_and_ctrl_c_ends_the_server_cleanly():
    with serving("--unknown-datastore", "access-denied", ends_by=signal.SIGINT) as text:
        assert f"{LOCAL_ID}: 0 image sets" in text
        client = client_of(text)
        with pytest.raises(client.exceptions.AccessDeniedException):
            client.search_image_sets(datastoreId="e" * 32)


def test_quota_and_latency_are_set():
    with serving("--calls-per-second", 0.001, "--burst", 1, "--latency", 0.2) as text:
        client = client_of(text, retries={"total_max_attempts": 1})
        started = time.monotonic()
        client.search_image_sets(datastoreId=LOCAL_ID)
        assert time.monotonic() - started >= 0.2
        with pytest.raises(client.exceptions.ThrottlingException):
            client.search_image_sets(datastoreId=LOCAL_ID)


@pytest.mark.parametrize(
    "option",
    ["--calls-per-second=-1", "--burst=0", "--burst=1.5", "--latency=nan", "--latency=x", "--latency=" + "[" * 5000],
)
def test_an_invalid_quota_or_latency_is_an_error_with_exit_code_2(capsys, option):
    with pytest.raises(SystemExit) as caught:
        main(["serve", "--port", "0", option])
    assert caught.value.code == 2
    assert f"argument {option.partition('=')[0]}: " in capsys.readouterr().err


@pytest.fixture
def error_of(local, capsys):
    """Runs the command in this process. It must fail with exit code 2. Returns its error line."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*options):
        assert main(["serve", "--port", "0", *map(str, options)]) == 2
        output, errors = capsys.readouterr()
        assert output == ""
        assert len(errors.splitlines()) == 1
        return errors

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_port_in_use_is_an_error_of_one_line_with_exit_code_2(error_of, server):
    assert f"cannot listen on 127.0.0.1:{server.port}: " in error_of("--port", server.port)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dicom", "/no/such/folder"], "--dicom /no/such/folder does not exist"),
        (["--datastore-id", "LOCAL"], "datastoreId"),
        (["--datastore-id", ""], "datastoreId"),
        (["--host", ""], "Invalid endpoint"),
        (["--datastore-name", "a b"], "datastoreName"),
        (["--region", "eu-central-1"], "no HealthImaging in region eu-central-1"),
        (["--bucket", "B"], "InvalidBucketName"),
        (["--port", "99999"], "cannot listen on 127.0.0.1:99999"),
    ],
)
def test_invalid_options_are_an_error_of_one_line_with_exit_code_2(error_of, options, message):
    assert message in error_of(*options)


def test_the_same_command_gives_the_same_image_sets(tmp_path, monkeypatch):
    # The command must not use the proxy for its own server.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    (tmp_path / "forged\nline.txt").write_text("This is no image.")
    options = ("--dicom", *pydicom_sample_files()[:4], tmp_path, "--bucket", "first", "--seed", 4)

    def ids():
        with serving(*options, expected_stderr=r"skipped '\S*forged\\nline\.txt': not a DICOM file\n") as text:
            hits = client_of(text, proxies={}).search_image_sets(datastoreId=LOCAL_ID)["imageSetsMetadataSummaries"]
            return [hit["imageSetId"] for hit in hits]

    first = ids()
    assert len(first) > 1
    assert ids() == first


def test_the_index_lag_also_applies_to_loaded_files():
    with serving("--dicom", pydicom_sample_files()[0], "--index-lag", 3600) as text:
        assert "1 image sets" in text
        assert client_of(text).search_image_sets(datastoreId=LOCAL_ID)["imageSetsMetadataSummaries"] == []
