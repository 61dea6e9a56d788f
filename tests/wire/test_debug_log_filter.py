"""At DEBUG, botocore's lines about this package's client stay out of the log, and everybody else's stay in it."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime

import boto3
import pytest
from botocore.client import BaseClient

from airflow_provider_healthimaging.exceptions import ConfigurationError
from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.window import TimeWindow

DATASTORE_ID = "d" * 32
WANTED, FOUND = "CANARY-SEARCHED-4711", "CANARY^ANSWERED^0815"
CRITERIA = {"filters": [{"values": [{"DICOMPatientId": WANTED}], "operator": "EQUAL"}]}
ALLOWED = "AIRFLOW__HEALTHIMAGING__LOG_BOTOCORE_DEBUG"
DAY = TimeWindow("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z")


@pytest.fixture
def lines(caplog, store):
    """All that is logged, from DEBUG on, by whatever logger: its text with exceptions."""
    for minute in range(3):
        store.put_image_set(
            DATASTORE_ID,
            created_at=datetime(2026, 3, 1, 12, minute, tzinfo=UTC),
            dicom_tags={"DICOMPatientId": WANTED, "DICOMPatientName": FOUND},
        )
    caplog.set_level(logging.DEBUG)
    return lambda: caplog.text


def asked_by_search(hook):
    return list(hook.search_image_sets(DATASTORE_ID, window=DAY, search_criteria=CRITERIA, max_workers=4))


def asked_by_paginator(hook):
    return list(hook.paginate_image_sets(DATASTORE_ID, CRITERIA))


def asked_by_the_client_itself(hook):
    return hook.conn.search_image_sets(datastoreId=DATASTORE_ID, searchCriteria=CRITERIA)


def asked_in_another_thread(hook):
    thread = threading.Thread(target=asked_by_the_client_itself, args=(hook,))
    thread.start()
    thread.join()
    return True


ASKED = [asked_by_search, asked_by_paginator, asked_by_the_client_itself, asked_in_another_thread]


@pytest.mark.parametrize("asked", ASKED)
def test_neither_what_is_searched_nor_what_is_found_is_logged_at_debug(hook, lines, asked):
    assert asked(hook)

    assert WANTED not in lines()
    assert FOUND not in lines()
    assert "DEBUG lines of botocore about calls to HealthImaging are dropped" in lines()


@pytest.mark.parametrize("asked", ASKED)
def test_both_are_logged_at_debug_where_the_configuration_allows_it(hook, lines, asked, monkeypatch):
    monkeypatch.setenv(ALLOWED, "True")

    assert asked(hook)

    assert WANTED in lines()
    assert FOUND in lines()
    assert "are dropped" not in lines()


def test_the_client_of_dicomweb_is_filtered_unless_the_configuration_allows_the_lines(server, monkeypatch):
    def classes():
        return [each.__name__ for each in type(HealthImagingHook().dicomweb).__mro__]

    assert "_DebugLogFilterMixin" in classes()
    monkeypatch.setenv(ALLOWED, "True")
    assert "_DebugLogFilterMixin" not in classes()


def test_another_client_logs_as_ever_before_between_and_after_the_calls_held_back(hook, lines, server, bucket):
    other = boto3.client("s3", endpoint_url=server.url)
    for key in ("before", "between", "after"):
        other.put_object(Bucket=bucket.name, Key=key, Metadata={"note": f"OTHER-{key}"})
        asked_by_search(hook)

    for key in ("before", "between", "after"):
        assert f"OTHER-{key}" in lines()
    assert WANTED not in lines()


def test_another_client_of_the_same_service_logs_as_ever(hook, lines, server):
    asked_by_search(hook)
    plain = boto3.Session().client("medical-imaging", endpoint_url=server.url, config=hook.conn.meta.config)
    plain.search_image_sets(datastoreId=DATASTORE_ID, searchCriteria=CRITERIA)

    assert WANTED in lines()
    assert FOUND in lines()


def test_another_client_logs_while_a_call_held_back_is_under_way(lines, server, bucket, behind):
    other = boto3.client("s3", endpoint_url=server.url)
    under_way = []

    def meanwhile(app):
        def answer(environ, start_response):
            if environ["PATH_INFO"].endswith("/searchImageSets"):
                thread = threading.Thread(
                    target=other.put_object,
                    kwargs={"Bucket": bucket.name, "Key": "meanwhile", "Metadata": {"note": "OTHER-meanwhile"}},
                )
                thread.start()
                thread.join()
                under_way.append(environ)
            return app(environ, start_response)

        return answer

    _, hook = behind(meanwhile)
    assert asked_by_search(hook)

    assert under_way
    assert "OTHER-meanwhile" in lines()
    assert WANTED not in lines()


def test_warnings_are_not_held_back(hook, lines):
    def speak(**_):
        logging.getLogger("botocore.endpoint").warning("a warning")
        logging.getLogger("botocore.endpoint").debug("a detail")

    hook.conn.meta.events.register("before-send.medical-imaging.SearchImageSets", speak)
    asked_by_the_client_itself(hook)

    assert "a warning" in lines()
    assert "a detail" not in lines()


@pytest.mark.parametrize("status", ["400 Bad Request", "500 Internal Server Error"])
def test_what_fails_is_not_logged_at_debug_either(lines, behind, status):
    def refuse(app):
        def answer(environ, start_response):
            body = environ["wsgi.input"].read()
            start_response(status, [("x-amzn-ErrorType", "ValidationException"), ("Content-Type", "application/json")])
            return [body]

        return answer

    _, hook = behind(refuse)
    with pytest.raises(Exception, match="ValidationException"):
        asked_by_search(hook)

    assert WANTED not in lines()


def test_a_client_from_a_hook_that_is_used_for_something_else_is_not_held_back(lines, server, store, bucket):
    client = HealthImagingHook().get_session().client("s3", endpoint_url=server.url)
    client.put_object(Bucket=bucket.name, Key="k", Metadata={"note": "OTHER"})

    assert "OTHER" in lines()


def test_no_client_is_made_if_botocore_makes_its_calls_in_another_way(hook, monkeypatch):
    monkeypatch.delattr(BaseClient, "_make_api_call")
    with pytest.raises(ConfigurationError, match="Use a version that the provider supports"):
        hook.get_conn()
