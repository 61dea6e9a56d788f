"""``mock_aws`` with HealthImaging, for every order of imports, and beside the other services of moto."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import boto3
import pytest
from botocore.exceptions import ClientError

from airflow_provider_healthimaging.local import backend, mock_aws, register

from .conftest import HANG_SECONDS

REGIONS = ["us-east-1", "us-west-2", "ap-southeast-2", "eu-west-1", "eu-west-2"]


def python(code, *arguments):
    """Run code in a new process, where nothing is imported yet."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
    )


@mock_aws
def test_a_plain_boto3_client_is_answered():
    client = boto3.client("medical-imaging", "us-east-1")
    datastore_id = client.create_datastore(datastoreName="a")["datastoreId"]
    image_set_id = backend().put_image_set(datastore_id).image_set_id
    found = client.search_image_sets(datastoreId=datastore_id)["imageSetsMetadataSummaries"]
    assert [hit["imageSetId"] for hit in found] == [image_set_id]
    assert client.get_image_set(datastoreId=datastore_id, imageSetId=image_set_id)["versionId"] == "1"
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.search_image_sets(datastoreId="e" * 32)
    with pytest.raises(client.exceptions.ValidationException):
        client.search_image_sets(datastoreId=datastore_id, maxResults=51)


def test_each_mock_starts_empty():
    for _ in range(2):
        with mock_aws():
            client = boto3.client("medical-imaging", "us-east-1")
            assert client.list_datastores()["datastoreSummaries"] == []
            client.create_datastore(datastoreName="a")


@pytest.mark.parametrize("region", REGIONS)
@mock_aws
def test_each_region_has_its_own_data_stores(region):
    boto3.client("medical-imaging", region).create_datastore(datastoreName="a")
    for each in REGIONS:
        summaries = boto3.client("medical-imaging", each).list_datastores()["datastoreSummaries"]
        assert len(summaries) == len(backend(region=each).datastores) == (each == region)


def test_a_region_without_the_service_has_no_backend():
    with pytest.raises(KeyError):
        backend(region="eu-central-1")


@mock_aws
def test_a_bucket_named_like_the_service_is_still_a_bucket():
    for name in ("medical-imaging", "runtime-medical-imaging"):
        s3 = boto3.client("s3", "us-east-1")
        s3.create_bucket(Bucket=name)
        s3.put_object(Bucket=name, Key="datastore", Body=b"content")
        assert s3.get_object(Bucket=name, Key="datastore")["Body"].read() == b"content"


@mock_aws
def test_other_services_are_still_mocked():
    boto3.client("sqs", "us-east-1").create_queue(QueueName="q")
    with pytest.raises(ClientError):
        boto3.client("sqs", "us-east-1").get_queue_url(QueueName="other")


def test_registering_again_changes_nothing():
    import moto
    from moto.backend_index import backend_url_patterns

    before = list(moto.__path__), list(backend_url_patterns)
    register()
    assert (list(moto.__path__), list(backend_url_patterns)) == before
    assert [name for name, _ in backend_url_patterns].count("medicalimaging") == 1


def test_a_mock_that_is_already_active_gets_the_service():
    done = python(
        """
        import boto3
        from moto import mock_aws
        with mock_aws():
            client = boto3.client("medical-imaging", "us-east-1")
            import airflow_provider_healthimaging.local
            print(len(client.create_datastore(datastoreName="a")["datastoreId"]))
        """
    )
    assert done.stdout == "32\n", done.stderr


MOTO_BACKEND = "medicalimaging_backends = 'the backend of moto'\n"


@pytest.fixture
def moto_backend(tmp_path):
    """A folder with a HealthImaging backend, as a future moto may contain."""
    package = tmp_path / "medicalimaging"
    package.mkdir()
    (package / "__init__.py").write_text(MOTO_BACKEND)
    return tmp_path


def test_this_backend_replaces_a_backend_of_moto(moto_backend):
    done = python(
        """
        import re, sys, moto
        from moto import backend_index
        moto.__path__.append(sys.argv[1])
        backend_index.backend_url_patterns.append(
            ("medicalimaging", re.compile("https?://medical-imaging\\\\.(.+)\\\\.amazonaws\\\\.com"))
        )
        import boto3
        from airflow_provider_healthimaging.local import mock_aws, backend
        assert [name for name, _ in backend_index.backend_url_patterns].count("medicalimaging") == 1
        with mock_aws():
            made = boto3.client("medical-imaging", "us-east-1").create_datastore(datastoreName="a")
            print(made["datastoreId"] in backend().datastores)
        """,
        moto_backend,
    )
    assert done.stdout == "True\n", done.stderr


def test_an_imported_backend_of_moto_is_an_error_that_says_what_to_do(moto_backend):
    done = python(
        """
        import sys, moto
        moto.__path__.append(sys.argv[1])
        import moto.medicalimaging
        import airflow_provider_healthimaging.local
        """,
        moto_backend,
    )
    assert done.returncode == 1
    assert "import airflow_provider_healthimaging.local before" in done.stderr


def test_the_import_does_not_import_airflow_pydicom_or_a_web_framework():
    done = python(
        """
        import sys
        import airflow_provider_healthimaging.local
        print([name for name in ("airflow", "pydicom", "flask", "numpy") if name in sys.modules])
        """
    )
    assert done.stdout == "[]\n", done.stderr
