"""Faults of the local service. Settings switch them on, also over HTTP. The same seed gives the same faults."""

from __future__ import annotations

import http.client
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from queue import Queue
from threading import Event

import pytest
import urllib3
from botocore.exceptions import ClientError, ReadTimeoutError
from moto.medicalimaging.faults import FaultInjector
from moto.medicalimaging.settings import FIELDS, Settings

from airflow_provider_healthimaging.local import backend
from airflow_provider_healthimaging.local.settings_endpoint import SETTINGS_PATH

from .conftest import HANG_SECONDS, wait_until
from .importing import dicom_file

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=testing/20260301/us-east-1/medical-imaging/aws4_request"}
RATES = [name for name in FIELDS if name.endswith("_rate")]


@pytest.fixture
def raw(server, local):
    """Sends a search without retries, and returns the status and the body, or the name of the error."""

    def send():
        # A new connection each time, because urllib3 may not notice that the server cut an old one.
        with urllib3.PoolManager(retries=False, timeout=HANG_SECONDS) as pool:
            try:
                reply = pool.request(
                    "POST", f"{server.url}/datastore/{'d' * 32}/searchImageSets", headers=SIGNED, body=b"{}"
                )
            except urllib3.exceptions.HTTPError as error:
                return type(error).__name__
            return reply.status, reply.data

    return send


def statuses(raw, calls):
    return [answer if isinstance(answer, str) else answer[0] for answer in (raw() for _ in range(calls))]


def test_by_default_there_are_no_faults(raw):
    assert set(statuses(raw, 50)) == {200}


@pytest.mark.parametrize("rate", RATES)
def test_a_fault_happens_at_the_rate_of_its_setting(rate):
    def times(share):
        settings = Settings(**{rate: share})
        injector = FaultInjector()
        plans = [injector.next_plan(settings) for _ in range(1000)]
        return max(sum(bool(plan[index]) for plan in plans) for index in range(len(plans[0]) - 1))

    assert times(0) == 0
    assert times(1) == 1000
    assert 150 < times(0.2) < 250


def test_the_same_seed_gives_the_same_faults_and_another_gives_others(local, raw):
    def run(seed):
        local.settings.update({"seed": seed, "error_rate": 0.3, "cut_rate": 0.3})
        return statuses(raw, 40)

    first, other, again, once_more = run(1), run(2), run(1), run(1)
    assert first == again == once_more != other


def test_one_more_fault_does_not_change_the_others():
    def errors(**more):
        settings, injector = Settings(seed=7, error_rate=0.5, **more), FaultInjector()
        return [injector.next_plan(settings).error for _ in range(40)]

    assert errors() == errors(empty_page_rate=0.5, cut_rate=0.9)


def test_errors_come_from_the_service_or_from_a_load_balancer(local, raw):
    local.settings.error_rate = 1.0
    answers = [raw() for _ in range(60)]
    assert {status for status, _ in answers} == {500, 502, 503, 504}
    assert all(b"InternalServerException" in body for status, body in answers if status == 500)
    assert all(body.startswith(b"<html>") for status, body in answers if status != 500)


@pytest.mark.parametrize(
    ("where", "seen"), [("before", "ProtocolError"), ("during", "ProtocolError"), ("after", (200, True))]
)
def test_a_connection_is_cut_before_during_or_after_the_body(server, local, raw, put, where, seen):
    put()
    whole = raw()[1]
    local.settings.update({"cut_rate": 1, "cut_where": where})
    server.calls.reset()
    answer = raw()
    assert (answer if isinstance(answer, str) else (answer[0], answer[1] == whole)) == seen
    assert [call.status for call in server.calls] == [None if where == "before" else 200]
    local.settings.cut_rate = 0.0
    assert raw() == (200, whole)


def test_a_connection_cut_after_the_body_has_no_connection_close_header(server, local, put):
    local.settings.update({"cut_rate": 1, "cut_where": "after"})
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("POST", f"/datastore/{'d' * 32}/searchImageSets", headers=SIGNED, body=b"{}")
    answer = connection.getresponse()
    assert answer.read()
    assert answer.getheader("Connection") is None
    assert connection.sock.recv(1) == b""
    connection.close()


def test_a_slow_response_takes_longer_than_the_timeout_of_the_client(
    server, local, connect, replace_sleep, datastore_id
):
    local.settings.update({"slow_rate": 1, "slow_seconds": 3600})
    sleeps, is_over = Queue(), Event()
    replace_sleep(lambda seconds: sleeps.put(seconds) or is_over.wait(HANG_SECONDS))
    try:
        with pytest.raises(ReadTimeoutError):
            connect(read_timeout=0.1).search_image_sets(datastoreId=datastore_id)
        assert 3000 < sleeps.get(timeout=HANG_SECONDS) <= 3600
    finally:
        is_over.set()
    # The server answers nobody then. Without this, it would do so in another test, which counts calls.
    wait_until(lambda: server.calls.count() == 1)


def test_empty_pages_have_a_token_and_no_image_set_is_lost(local, put, search, server):
    ids = [put(created_at=NOON + n * SECOND) for n in range(9)]
    local.settings.empty_page_rate = 0.5
    server.calls.reset()
    assert search(sort="createdAt ASC", page_size=2) == ids
    assert server.calls.count() > 5


def test_a_token_can_expire(local, put, client, datastore_id):
    for _ in range(3):
        put()
    token = client.search_image_sets(datastoreId=datastore_id, maxResults=2)["nextToken"]

    def next_page():
        return client.search_image_sets(datastoreId=datastore_id, nextToken=token)["imageSetsMetadataSummaries"]

    assert len(next_page()) == 1
    local.settings.expired_token_rate = 1.0
    with pytest.raises(ClientError, match="nextToken provided is invalid"):
        next_page()
    assert len(client.search_image_sets(datastoreId=datastore_id)["imageSetsMetadataSummaries"]) == 3
    local.settings.update({"expired_token_rate": 0, "token_lifetime": 3600})
    assert len(next_page()) == 1
    local.settings.token_lifetime = 0
    with pytest.raises(ClientError, match="nextToken provided is invalid"):
        next_page()


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves. The index of the service uses it."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr("moto.medicalimaging.models.monotonic", lambda: Clock.now)
    return Clock


def test_a_search_finds_new_image_sets_only_after_the_index_lag(local, put, search, client, clock, datastore_id):
    old = put(created_at=NOON)
    local.settings.index_lag = 30.0
    new = put(created_at=NOON + SECOND)
    assert search() == [old]
    assert client.get_image_set(datastoreId=datastore_id, imageSetId=new)["versionId"] == "1"
    clock.now += 29
    assert search() == [old]
    clock.now += 1
    assert search(sort="createdAt ASC") == [old, new]


def test_a_series_is_found_after_the_index_lag_though_others_come_into_its_study(local, imports, search, clock):
    local.settings.index_lag = 30.0
    found = []
    for number in range(4):
        file = dicom_file(SeriesInstanceUID=f"1.1.{number}", SOPInstanceUID=f"1.1.{number}.1")
        imports.run({"scans/one": file})
        found.append(len(search()))
        clock.now += 20
    assert found == [0, 0, 1, 2]
    clock.now += 10
    (hit, *_) = imports.client.search_image_sets(datastoreId="d" * 32)["imageSetsMetadataSummaries"]
    assert hit["DICOMTags"]["DICOMNumberOfStudyRelatedSeries"] == 4


@pytest.mark.parametrize("is_deleted", [True, False])
def test_an_image_set_that_is_put_again_is_found_after_its_own_index_lag(
    local, put, search, clock, datastore_id, is_deleted
):
    local.settings.index_lag = 30.0
    image_set_id = put()
    if is_deleted:
        local.delete_image_set(datastore_id, image_set_id)
    clock.now += 20
    put(image_set_id=image_set_id)
    clock.now += 20
    assert search() == []
    clock.now += 10
    assert search() == [image_set_id]


def test_a_search_returns_the_old_version_until_the_index_lag_is_over(local, put, client, clock, datastore_id):
    def versions():
        hits = client.search_image_sets(datastoreId=datastore_id)["imageSetsMetadataSummaries"]
        return [hit["version"] for hit in hits]

    image_set_id = put()
    local.settings.index_lag = 30.0
    local.update_image_set(datastore_id, image_set_id)
    clock.now += 10
    local.update_image_set(datastore_id, image_set_id)
    assert versions() == [1]
    clock.now += 20
    assert versions() == [2]
    clock.now += 10
    assert versions() == [3]
    local.update_image_set(datastore_id, image_set_id)
    local.settings.index_lag = 0.0
    local.update_image_set(datastore_id, image_set_id)
    assert versions() == [5]
    clock.now += 60
    assert versions() == [5]


@pytest.mark.parametrize("lags", [(30, 10), (30, 10, 60)])
def test_a_search_never_returns_an_older_version_than_before(local, put, client, clock, datastore_id, lags):
    image_set_id = put()
    for lag in lags:
        local.settings.index_lag = lag
        local.update_image_set(datastore_id, image_set_id)
    for _ in range(2):
        clock.now += 20
        (hit,) = client.search_image_sets(datastoreId=datastore_id)["imageSetsMetadataSummaries"]
        assert hit["version"] == 3


def test_an_image_set_that_is_deleted_during_the_index_lag_is_never_found(local, put, search, clock, datastore_id):
    local.settings.index_lag = 30.0
    gone, stays = put(), put()
    local.delete_image_set(datastore_id, gone)
    clock.now += 30
    assert search() == [stays]


def test_image_sets_can_change_during_a_search(local, put, search, datastore_id):
    ids = [put(created_at=NOON + n * SECOND) for n in range(9)]
    local.settings.change_rate = 1.0
    assert search(sort="createdAt ASC", page_size=3) == ids
    versions = Counter(image_set.version for image_set in local.image_sets(datastore_id))
    assert sum((version - 1) * count for version, count in versions.items()) == 3


def test_image_sets_can_be_deleted_during_a_search(local, put, search, datastore_id):
    ids = [put(created_at=NOON + n * SECOND) for n in range(9)]
    local.settings.vanish_rate = 1.0
    found = search(sort="createdAt ASC", page_size=3)
    left = {image_set.image_set_id for image_set in local.image_sets(datastore_id)}
    assert len(left) == 9 - 3
    assert left <= set(found) <= set(ids)
    local.settings.change_rate = 1.0
    for _ in range(9):
        search()
    assert search() == []


@pytest.fixture
def settings(server, local):
    """Reads or changes the settings over HTTP, and returns the status and the JSON."""
    with urllib3.PoolManager() as pool:

        def ask(method="GET", query="", **body):
            reply = pool.request(method, f"{server.url}{SETTINGS_PATH}{query}", **body)
            return reply.status, reply.json() if "json" in reply.headers["Content-Type"] else None

        yield ask


def test_settings_are_read_and_changed_over_http(local, settings, raw):
    assert settings() == (200, asdict(local.settings))
    status, now = settings("POST", json={"error_rate": 1, "seed": 4})
    assert (status, now["error_rate"], now["seed"]) == (200, 1, 4)
    assert set(statuses(raw, 5)) <= {500, 502, 503, 504}
    settings("POST", json={"error_rate": 0})
    assert statuses(raw, 5) == [200] * 5


def test_each_region_has_settings_of_its_own_over_http(local, settings):
    settings("POST", "?region=eu-west-1", json={"burst": 7})
    assert (backend(region="eu-west-1").settings.burst, local.settings.burst) == (7, 50)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"json": {"eror_rate": 1}}, "there is no setting 'eror_rate'. The settings are between_includes_edges"),
        ({"json": {"error_rate": 2}}, "error_rate=2 must be a number from 0 to 1"),
        ({"json": {"error_rate": "1"}}, "error_rate='1' must be a number from 0 to 1"),
        ({"json": {"burst": 0.5}}, "burst=0.5 must be a whole number from 1"),
        ({"json": {"burst": None}}, "burst=None must be"),
        ({"json": {"latency": True}}, "latency=True must be"),
        ({"json": {"cut_where": "nowhere"}}, "cut_where='nowhere' must be one of"),
        ({"json": {"between_includes_edges": 1}}, "between_includes_edges=1 must be one of"),
        ({"json": {"latency": 1e300}}, "latency=1e+300 must be a number from 0 to 1,000,000,000"),
        ({"json": {"burst": 10**400}}, "burst=1"),
        ({"json": ["seed"]}, "the body must be a JSON object with settings"),
        ({"body": b"[" * 100_000}, "the body is not JSON: maximum recursion"),
        ({"body": b"{"}, "the body is not JSON: Expecting"),
    ],
)
def test_invalid_settings_are_rejected_and_nothing_changes(local, settings, body, message):
    before = asdict(local.settings)
    if "json" in body and isinstance(body["json"], dict):
        body = {"json": {"seed": 9, **body["json"]}}
    status, answer = settings("POST", **body)
    assert status == 400
    assert message in answer["message"]
    assert asdict(local.settings) == before


def test_an_invalid_region_or_method_is_an_error(settings):
    message = "there is no HealthImaging in region mars-1. The regions are us-east-1, us-west-2, "
    message += "ap-southeast-2, eu-west-1, eu-west-2"
    assert settings(query="?region=mars-1") == (400, {"message": message})
    assert settings("DELETE")[0] == 405
