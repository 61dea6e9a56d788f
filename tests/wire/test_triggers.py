"""Triggers: what they keep is the same on every parse and readable to nobody. test_watchers.py has their events."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from datetime import UTC, datetime, timedelta

import airflow
import pytest
from cryptography.fernet import Fernet
from packaging.version import Version

from airflow_provider_healthimaging.exceptions import ConfigurationError, ConnectionFailedError, InvalidArgumentError
from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.privacy.encryption import unseal
from airflow_provider_healthimaging.triggers import polling
from airflow_provider_healthimaging.triggers import waiting as waiting_trigger
from airflow_provider_healthimaging.triggers.airflow_events import StateStore
from airflow_provider_healthimaging.triggers.healthimaging import (
    HealthImagingImageSetTrigger,
    HealthImagingNewImageSetsTrigger,
)
from airflow_provider_healthimaging.triggers.watermark import WATERMARK_KEY, Watermark
from airflow_provider_healthimaging.window import format_utc
from tests.asset_state import state_store

DATASTORE_ID = "d" * 32
CANARY = "CANARY-4711"
CRITERIA = {"filters": [{"values": [{"DICOMPatientId": CANARY}], "operator": "EQUAL"}]}
ASSET_STATE = Version(airflow.__version__) >= Version("3.3.0.dev0")
needs_asset_state = pytest.mark.skipif(not ASSET_STATE, reason="Airflow has the asset state store from 3.3 on")


@pytest.fixture(autouse=True)
def fernet_key(monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())


def waiting(**arguments):
    given = {
        "datastore_id": DATASTORE_ID,
        "window_start": None,
        "window_end": None,
        "time_field": None,
        "search_criteria": json.dumps(CRITERIA),
        "match": "{}",
        "min_image_sets": 1,
        "quiet_period": None,
        "poke_interval": 0.01,
        "deadline": format_utc(datetime.now(UTC) + timedelta(minutes=5)),
    }
    return HealthImagingImageSetTrigger(**{**given, **arguments})


def revived(trigger):
    """The trigger as another process makes it from what Airflow kept."""
    _, arguments = trigger.serialize()
    return type(trigger)(**json.loads(json.dumps(arguments)))


def test_a_deferred_sensors_trigger_keeps_and_shows_no_criterion(store):
    trigger = waiting()
    assert CANARY not in json.dumps(trigger.serialize())
    assert CANARY not in repr(trigger)
    assert revived(trigger).serialize() == trigger.serialize()


def test_a_trigger_is_revived_after_the_fernet_key_was_rotated(monkeypatch):
    kept = waiting()
    old = os.environ["AIRFLOW__CORE__FERNET_KEY"]
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", f"{Fernet.generate_key().decode()},{old}")
    assert CANARY in unseal(kept.serialize()[1]["search_criteria"])


def test_a_trigger_of_another_fernet_key_says_what_to_do_and_shows_nothing(monkeypatch):
    kept = waiting().serialize()[1]["search_criteria"]
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    with pytest.raises(ConfigurationError, match="fernet_key differs from that of the worker") as caught:
        unseal(kept)
    assert kept not in str(caught.value)


def test_a_trigger_that_was_revived_searches_by_the_same_criteria(store):
    trigger = revived(waiting())
    store.put_image_set(DATASTORE_ID, dicom_tags={"DICOMPatientId": "another"})
    assert asyncio.run(anext(waiting(deadline=format_utc(datetime.now(UTC))).run())).payload["status"] == "timeout"
    store.put_image_set(DATASTORE_ID, dicom_tags={"DICOMPatientId": CANARY})
    assert asyncio.run(anext(trigger.run())).payload["status"] == "ready"


@pytest.mark.parametrize("ends", [{"datastore_id": "e" * 32}, {"deadline": format_utc(datetime.now(UTC))}])
def test_a_deferred_sensors_trigger_fires_once(store, ends):
    async def events():
        return [event async for event in waiting(**ends).run()]

    assert len(asyncio.run(events())) == 1


def test_a_search_without_end_ends_with_the_time_for_it(store, monkeypatch):
    monkeypatch.setattr(waiting_trigger, "LAST_POLL_SECONDS", 0.2)
    store.settings.empty_page_rate = 1.0
    try:
        event = asyncio.run(anext(waiting(deadline=format_utc(datetime.now(UTC) + timedelta(seconds=0.2))).run()))
    finally:
        store.settings.empty_page_rate = 0.0
    assert event.payload["status"] == "timeout"


def test_looks_that_hang_keep_no_other_from_looking(store, monkeypatch):
    store.put_image_set(DATASTORE_ID, dicom_tags={"DICOMPatientId": CANARY})
    hanging, closing = waiting(datastore_id="e" * 32), threading.Event()
    all_hang = threading.Barrier(17, timeout=60)

    def hang():
        all_hang.wait()
        closing.wait(60)

    monkeypatch.setattr(hanging, "_poll", hang)

    async def look():
        waits = [asyncio.ensure_future(anext(hanging.run())) for _ in range(16)]
        try:
            await asyncio.to_thread(all_hang.wait)
            return await anext(waiting().run())
        finally:
            closing.set()
            for each in waits:
                each.cancel()

    assert asyncio.run(look()).payload["status"] == "ready"


def test_a_look_gives_up_sooner_than_a_task_unless_the_user_says_otherwise(store, monkeypatch):
    def client(**more):
        parameters = {"aws_conn_id": "aws_default", "region_name": None, "verify": None, "config": None}
        return polling.get_cached_hook(DATASTORE_ID, **{**parameters, **more}).conn.meta.config

    assert (client().read_timeout, client().retries["total_max_attempts"]) == (20, 4)
    config = client(config={"read_timeout": 50, "retries": {"total_max_attempts": 7}})
    assert (config.read_timeout, config.retries["total_max_attempts"]) == (50, 7)
    config = HealthImagingHook().conn.meta.config
    assert (config.read_timeout, config.retries["total_max_attempts"]) == (60, 10)


def test_a_connection_does_not_wait_for_another_whose_client_takes_long(store, monkeypatch):
    hangs, may_end, build = threading.Event(), threading.Event(), polling._build_hook

    def built(datastore_id, arguments):
        if arguments["region_name"] == "eu-west-1":
            hangs.set()
            assert may_end.wait(60)
        return build(datastore_id, arguments)

    monkeypatch.setattr(polling, "_build_hook", built)
    given = {"aws_conn_id": "aws_default", "verify": None, "config": None}
    slow = threading.Thread(
        target=polling.get_cached_hook, args=(DATASTORE_ID,), kwargs={**given, "region_name": "eu-west-1"}
    )
    slow.start()
    assert hangs.wait(60)
    try:
        assert polling.get_cached_hook(DATASTORE_ID, **given, region_name=None)
        monkeypatch.setattr(polling, "LONGEST_WAIT_FOR_CLIENT", 0.0)
        with pytest.raises(ConnectionFailedError, match="'aws_default' is not made yet"):
            polling.get_cached_hook(DATASTORE_ID, **given, region_name="eu-west-1")
        assert slow.is_alive()
    finally:
        may_end.set()
        slow.join()


def test_what_can_never_succeed_ends_the_wait_at_once(store):
    event = asyncio.run(anext(waiting(datastore_id="e" * 32).run()))
    assert event.payload["status"] == "failed"
    assert "ResourceNotFoundException" in event.payload["error"]


def test_without_a_fernet_key_criteria_are_not_kept_in_clear(monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "")
    with pytest.raises(ConfigurationError, match="fernet_key is empty"):
        waiting()
    assert waiting(search_criteria="{}").serialize()[1]["search_criteria"] == "{}"


@pytest.mark.skipif(ASSET_STATE, reason="for Airflow before 3.3")
def test_on_an_older_airflow_watching_is_an_error_when_the_dag_is_parsed():
    with pytest.raises(ConfigurationError, match=r"since 3\.3\. This is"):
        HealthImagingNewImageSetsTrigger(datastore_id=DATASTORE_ID)


@needs_asset_state
@pytest.mark.parametrize(
    ("kept", "left"),
    [
        ({WATERMARK_KEY: {"start": "2026-01-31T11:00:00Z"}}, {WATERMARK_KEY: {"start": "2026-01-31T12:00:00Z"}}),
        ({WATERMARK_KEY: {"start": "2026-01-31T09:00:00Z"}}, {WATERMARK_KEY: {"start": "2026-01-31T09:00:00Z"}}),
        ({}, {}),
    ],
)
def test_a_watermark_that_somebody_else_has_moved_stays_where_it_is(monkeypatch, kept, left):
    at_eleven = datetime(2026, 1, 31, 11, tzinfo=UTC)
    state = dict(kept)
    watermark = Watermark(StateStore(state_store(monkeypatch, state, "arrivals"), WATERMARK_KEY))
    asyncio.run(watermark.advance(at_eleven, at_eleven + timedelta(hours=1)))
    assert state == left


def test_a_window_needs_the_time_that_it_is_about():
    ends = {"window_start": "2026-01-31T11:00:00Z", "window_end": "2026-01-31T12:00:00Z"}
    with pytest.raises(InvalidArgumentError, match=r"^A window needs a time_field: 'createdAt' or 'updatedAt'\.$"):
        waiting(**ends)
    assert waiting(**ends, time_field="createdAt").time_field == "createdAt"


@needs_asset_state
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"datastore_id": "short"}, "malformed"),
        ({"time_field": None}, "time_field must be"),
        ({"start": "2026-01-01T00:00:00"}, "no time zone"),
        ({"delay": -1}, "delay=-1"),
        ({"search_criteria": {"filters": CRITERIA["filters"] * 3}}, "1 or 2 filters, not 3"),
    ],
)
def test_bad_arguments_are_found_when_the_dag_is_parsed(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        HealthImagingNewImageSetsTrigger(**{"datastore_id": DATASTORE_ID, **arguments})


@needs_asset_state
def test_a_watching_trigger_is_the_same_on_every_parse_and_shows_no_criterion():
    first, second = (
        HealthImagingNewImageSetsTrigger(
            datastore_id=DATASTORE_ID, search_criteria=CRITERIA, delay=timedelta(minutes=1)
        )
        for _ in range(2)
    )
    assert json.dumps(first.serialize()) == json.dumps(second.serialize()) == json.dumps(revived(first).serialize())
    assert CANARY not in json.dumps(first.serialize())
    assert CANARY not in repr(first)


@needs_asset_state
def test_assets_that_share_a_trigger_are_an_error_that_says_what_to_do(store, monkeypatch):
    trigger = HealthImagingNewImageSetsTrigger(datastore_id=DATASTORE_ID)
    trigger.asset_state_store = state_store(monkeypatch, {}, "one", "other")
    with pytest.raises(ConfigurationError, match="Give each watcher other arguments"):
        asyncio.run(anext(trigger.run()))


@needs_asset_state
def test_a_trigger_outside_of_a_watcher_is_an_error_that_says_what_to_do(store):
    with pytest.raises(ConfigurationError, match="Use it in an AssetWatcher"):
        asyncio.run(anext(HealthImagingNewImageSetsTrigger(datastore_id=DATASTORE_ID).run()))


@needs_asset_state
@pytest.mark.parametrize("poke_interval", [0, timedelta(0), -1, "60"])
def test_a_watcher_that_would_poll_without_a_pause_is_refused(poke_interval):
    with pytest.raises(InvalidArgumentError, match="poke_interval="):
        HealthImagingNewImageSetsTrigger(datastore_id=DATASTORE_ID, poke_interval=poke_interval)
