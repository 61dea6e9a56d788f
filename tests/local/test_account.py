"""The account that is filled is the one that answers, also if moto's default account was changed."""

import boto3
import pytest
from botocore.config import Config
from moto.core import DEFAULT_ACCOUNT_ID

from airflow_provider_healthimaging.local import LocalServer, backend, mock_aws

DATASTORE_ID = "d" * 32


@pytest.fixture(params=[None, "000000000001"])
def account(request, monkeypatch):
    """Moto's account: its own default, or one from the environment."""
    if request.param:
        monkeypatch.setenv("MOTO_ACCOUNT_ID", request.param)
    return request.param or DEFAULT_ACCOUNT_ID


def search(client):
    found = client.search_image_sets(datastoreId=DATASTORE_ID, searchCriteria={})
    return [each["imageSetId"] for each in found["imageSetsMetadataSummaries"]]


def fill():
    local = backend()
    local.create_datastore("tests", datastore_id=DATASTORE_ID)
    return local.put_image_set(DATASTORE_ID).image_set_id


def test_mock_aws_answers_for_the_account_that_was_filled(account):
    with mock_aws():
        image_set_id = fill()
        assert search(boto3.client("medical-imaging", region_name="us-east-1")) == [image_set_id]
        assert backend().account_id == account
        identity = boto3.client("sts", region_name="us-east-1").get_caller_identity()
        assert identity["Account"] == account


def test_the_server_answers_for_the_account_that_was_filled(account):
    with mock_aws(), LocalServer(port=0) as server:
        image_set_id = fill()
        config = Config(inject_host_prefix=False)
        client = boto3.client("medical-imaging", region_name="us-east-1", endpoint_url=server.url, config=config)
        assert search(client) == [image_set_id]


def test_a_named_account_is_the_one_that_is_given(account):
    with mock_aws():
        assert backend("000000000002").account_id == "000000000002"
