"""A server for all these tests, an empty backend for each test, and fixtures for short requests."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import urlencode

import boto3
import pytest
import urllib3
from botocore.config import Config
from moto.core.base_backend import BackendDict

from airflow_provider_healthimaging.local import LocalServer, backend

from .importing import DATASTORE_ID, Clock, Imports

KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}

HANG_SECONDS = 300
"""What takes so long hangs."""

SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=testing/20260301/us-east-1/medical-imaging/aws4_request"}


def wait_until(condition):
    """Wait for what has no event."""
    give_up = time.monotonic() + HANG_SECONDS
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


class Reply(NamedTuple):
    status: int
    error: str | None
    body: Any


@pytest.fixture(scope="session")
def server():
    with LocalServer() as running:
        yield running


@pytest.fixture
def local(server):
    """The backend, with one empty data store. Its id is ``datastore_id``."""
    BackendDict.reset()
    state = backend()
    state.create_datastore("tests", datastore_id=DATASTORE_ID)
    server.calls.reset()
    return state


@pytest.fixture
def datastore_id():
    return DATASTORE_ID


@pytest.fixture
def put(local):
    """Puts an image set into the data store, and returns its id."""
    return lambda **fields: local.put_image_set(DATASTORE_ID, **fields).image_set_id


@pytest.fixture
def connect(server):
    """Creates boto3 clients without retries, by default for the server."""

    def make(service="medical-imaging", url=None, **config):
        settings = {"inject_host_prefix": False, "retries": {"total_max_attempts": 1}, **config}
        return boto3.client(service, endpoint_url=url or server.url, config=Config(**settings), **KEYS)

    return make


@pytest.fixture
def client(connect, local):
    return connect()


@pytest.fixture
def criteria():
    """Creates criteria: ``createdAt=(a, b)`` is BETWEEN, other values are EQUAL, and ``sort="createdAt ASC"``."""

    def create(*, sort=None, **filters):
        created = {}
        if filters:
            created["filters"] = [
                {"operator": "BETWEEN", "values": [{name: bound} for bound in value]}
                if isinstance(value, tuple)
                else {"operator": "EQUAL", "values": [{name: value}]}
                for name, value in filters.items()
            ]
        if sort:
            created["sort"] = dict(zip(("sortField", "sortOrder"), sort.split(), strict=True))
        return created

    return create


@pytest.fixture
def search(client, criteria):
    """Searches the data store with boto3's paginator, and returns the ids of the search hits."""

    def run(*, page_size=None, **query):
        pages = client.get_paginator("search_image_sets").paginate(
            datastoreId=DATASTORE_ID, searchCriteria=criteria(**query), PaginationConfig={"PageSize": page_size}
        )
        return [hit["imageSetId"] for page in pages for hit in page["imageSetsMetadataSummaries"]]

    return run


@pytest.fixture
def post(server, local):
    """Sends a search, or a request to another ``path``, without the checks of botocore."""
    pool = urllib3.PoolManager()
    headers = {**SIGNED, "Content-Type": "application/json"}

    def send(body=b"", datastore_id=DATASTORE_ID, path=None, **query):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"{server.url}{path or f'/datastore/{datastore_id}/searchImageSets'}?{urlencode(query)}"
        reply = pool.request("POST", url, headers=headers, body=content)
        return Reply(reply.status, reply.headers.get("x-amzn-ErrorType"), reply.json())

    yield send
    pool.clear()


class Download(NamedTuple):
    status: int
    error: str | None
    type: str | None
    body: bytes


@pytest.fixture
def dicomweb(server, local):
    """Asks for a DICOM instance: GetDICOMInstance is not in boto3."""
    with urllib3.PoolManager(retries=False) as pool:

        def get(uids, image_set_id=None, accept="application/dicom; transfer-syntax=*", datastore_id=DATASTORE_ID):
            study, series, instance = uids
            url = f"{server.url}/datastore/{datastore_id}/studies/{study}/series/{series}/instances/{instance}"
            query = f"?imageSetId={image_set_id}" if image_set_id else ""
            reply = pool.request("GET", url + query, headers={**SIGNED, "Accept": accept})
            headers = reply.headers
            return Download(reply.status, headers.get("x-amzn-ErrorType"), headers.get("Content-Type"), reply.data)

        yield get


@pytest.fixture
def clock(local):
    """The clock of the backend. Only the test moves it."""
    local.clock = Clock()
    return local.clock


@pytest.fixture
def replace_sleep(monkeypatch):
    """Replaces the sleep of the service with another function."""

    def replace(sleep):
        clock = SimpleNamespace(monotonic=time.monotonic, sleep=sleep)
        monkeypatch.setattr("moto.medicalimaging.responses.time", clock)

    return replace


@pytest.fixture
def imports(client, connect):
    """Uploads and imports files, over HTTP."""
    s3 = connect("s3")
    for name in ("input", "output"):
        s3.create_bucket(Bucket=name)
    return Imports(client, s3)
