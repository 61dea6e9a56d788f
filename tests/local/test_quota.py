"""The quota of calls and the latency, over HTTP and in ``mock_aws``."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.medicalimaging.quota import TokenBucket

from airflow_provider_healthimaging.local import backend, mock_aws

from .conftest import HANG_SECONDS

NEVER = 1e-9
"""Calls per second. It is so low that no token is refilled during a test."""


class Clock:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def taken(bucket, per_second, size, tries):
    return sum(bucket.take(per_second, size) for _ in range(tries))


def test_a_bucket_starts_full_and_refills_at_its_rate(clock):
    bucket = TokenBucket(clock)
    assert taken(bucket, 25, 50, tries=80) == 50
    clock.now += 1
    assert taken(bucket, 25, 50, tries=80) == 25
    clock.now += 0.5
    assert taken(bucket, 25, 50, tries=80) == 12
    clock.now += 0.25
    assert taken(bucket, 25, 50, tries=80) == 6


def test_a_bucket_never_holds_more_than_its_size(clock):
    bucket = TokenBucket(clock)
    assert taken(bucket, 25, 50, tries=50) == 50
    clock.now += 3600
    assert taken(bucket, 25, 50, tries=80) == 50


def test_a_throttled_call_takes_no_token(clock):
    bucket = TokenBucket(clock)
    assert taken(bucket, 1, 1, tries=1000) == 1
    clock.now += 1
    assert bucket.take(1, 1)


def test_rate_and_size_can_change_between_calls(clock):
    bucket = TokenBucket(clock)
    assert taken(bucket, 1, 10, tries=5) == 5
    assert taken(bucket, 1, 2, tries=10) == 2
    clock.now += 1
    assert taken(bucket, 7, 10, tries=10) == 7
    assert taken(bucket, None, 10, tries=100) == 100
    assert taken(bucket, 1, 10, tries=100) == 10


def test_by_default_there_is_no_quota_and_no_latency(server, local, search):
    settings = local.settings
    assert (settings.calls_per_second, settings.burst, settings.latency) == (None, 50, 0.0)
    for _ in range(60):
        search()
    assert server.calls.count(status=200) == 60


def test_calls_beyond_the_burst_get_the_throttling_error_of_the_service(server, local, post):
    local.settings.calls_per_second, local.settings.burst = NEVER, 3
    replies = [post() for _ in range(5)]
    assert [reply.status for reply in replies] == [200, 200, 200, 429, 429]
    assert replies[-1].error == "ThrottlingException"
    assert replies[-1].body == {"__type": "ThrottlingException", "message": "Rate exceeded"}
    assert server.calls.count("SearchImageSets", status=429) == 2


def test_botocore_retries_the_throttling_error(server, local, connect, clock, monkeypatch):
    def ticking():
        clock.now += 0.125
        return clock.now

    monkeypatch.setitem(local._quotas._buckets, "SearchImageSets", TokenBucket(ticking))
    local.settings.calls_per_second, local.settings.burst = 4, 1
    client = connect(retries={"mode": "standard", "total_max_attempts": 10})
    for _ in range(2):
        client.search_image_sets(datastoreId="d" * 32)
    assert [call.status for call in server.calls] == [200, 429, 200]
    local.settings.calls_per_second = NEVER
    with pytest.raises(ClientError) as caught:
        connect().search_image_sets(datastoreId="d" * 32)
    assert isinstance(caught.value, client.exceptions.ThrottlingException)


def test_an_invalid_call_also_counts(local, post):
    local.settings.calls_per_second, local.settings.burst = NEVER, 1
    assert [post(b"[]").status, post().status] == [400, 429]


def test_only_searches_are_counted(local, client, datastore_id):
    local.settings.calls_per_second, local.settings.burst = NEVER, 1
    for _ in range(3):
        client.get_datastore(datastoreId=datastore_id)
    client.search_image_sets(datastoreId=datastore_id)


def test_the_quota_can_be_switched_off_while_the_server_runs(local, post):
    local.settings.calls_per_second, local.settings.burst = NEVER, 1
    assert [post().status, post().status] == [200, 429]
    local.settings.calls_per_second = None
    assert [post().status, post().status] == [200, 200]


def test_parallel_callers_share_one_burst(server, local, connect):
    local.settings.calls_per_second, local.settings.burst = NEVER, 20
    client = connect(max_pool_connections=8)

    def call(_):
        try:
            client.search_image_sets(datastoreId="d" * 32)
        except client.exceptions.ThrottlingException:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(call, range(60))) == 20
    assert server.calls.count(status=429) == 40


def test_each_region_has_a_quota_of_its_own(local, connect):
    local.settings.calls_per_second, local.settings.burst = NEVER, 1
    backend(region="eu-west-1").create_datastore("tests", datastore_id="e" * 32)
    client = connect()
    client.search_image_sets(datastoreId="d" * 32)
    assert backend(region="eu-west-1").settings.calls_per_second is None
    with pytest.raises(client.exceptions.ThrottlingException):
        client.search_image_sets(datastoreId="d" * 32)


def elapsed(call):
    started = time.monotonic()
    call()
    return time.monotonic() - started


def test_a_response_takes_at_least_the_latency_also_an_error(local, client, post, datastore_id):
    local.settings.latency = 0.2
    assert elapsed(lambda: client.search_image_sets(datastoreId=datastore_id)) >= 0.2
    assert elapsed(lambda: client.get_datastore(datastoreId=datastore_id)) >= 0.2
    assert elapsed(lambda: post(b"[]")) >= 0.2


def test_parallel_calls_wait_at_the_same_time(local, connect, replace_sleep, datastore_id):
    local.settings.latency = 1.0
    # Released only if eight calls wait at the same time.
    together = Barrier(8, timeout=HANG_SECONDS)
    replace_sleep(lambda _: together.wait())
    client = connect(max_pool_connections=8)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: client.search_image_sets(datastoreId=datastore_id), range(8)))
    assert len(replies) == 8


@pytest.fixture
def no_sleep(replace_sleep):
    """Raises if the service sleeps."""

    def sleep(seconds):
        raise AssertionError(seconds)

    replace_sleep(sleep)


@pytest.mark.usefixtures("no_sleep")
def test_a_throttled_call_is_answered_at_once(local, post):
    local.settings.calls_per_second, local.settings.burst, local.settings.latency = NEVER, 0, 3600
    assert post().status == 429


@pytest.mark.usefixtures("no_sleep")
def test_s3_has_no_latency(local, connect):
    local.settings.latency = 3600
    s3 = connect("s3")
    s3.create_bucket(Bucket="fast")
    s3.put_object(Bucket="fast", Key="object", Body=b"")
    assert s3.list_objects_v2(Bucket="fast")["KeyCount"] == 1


@mock_aws
def test_mock_aws_also_has_quota_and_latency():
    client = boto3.client("medical-imaging", "us-east-1", config=Config(retries={"total_max_attempts": 1}))
    datastore_id = client.create_datastore(datastoreName="a")["datastoreId"]
    settings = backend().settings
    settings.calls_per_second, settings.burst, settings.latency = NEVER, 1, 0.2
    assert elapsed(lambda: client.search_image_sets(datastoreId=datastore_id)) >= 0.2
    with pytest.raises(client.exceptions.ThrottlingException):
        client.search_image_sets(datastoreId=datastore_id)
