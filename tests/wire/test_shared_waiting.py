"""Waiting costs what arrives, not what waits: triggers that wait in one data store share their polling.

Time is virtual: an event loop whose clock jumps to the next moment at which something is to be done. The calls are
real.
"""

from __future__ import annotations

import asyncio
import json
import random
import selectors
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import Fernet
from moto.medicalimaging import models
from moto.medicalimaging.quota import TokenBucket

from airflow_provider_healthimaging.exceptions import AccessDeniedError, ServiceError
from airflow_provider_healthimaging.search.request import SearchRequest
from airflow_provider_healthimaging.triggers import feed, recent_hits, search, waiting
from airflow_provider_healthimaging.triggers.healthimaging import (
    HealthImagingDicomImportJobTrigger,
    HealthImagingImageSetTrigger,
)
from airflow_provider_healthimaging.window import TimeWindow, format_utc

DATASTORE_ID = "d" * 32
START = datetime(2026, 1, 1, tzinfo=UTC)
POLL = 30


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that does not wait: its clock moves on by as long as it would have waited."""

    def __init__(self):
        self.now = 0.0
        super().__init__(_NoWaiting(self))

    def time(self):
        return self.now


class _NoWaiting(selectors.DefaultSelector):
    def __init__(self, loop):
        super().__init__()
        self._loop = loop

    def select(self, timeout=None):
        self._loop.now += timeout or 0.0
        return super().select(0)


@pytest.fixture
def loop(store, monkeypatch):
    """The event loop; triggers, data store and quota go by its clock, and nothing runs in a thread."""
    loop = VirtualLoop()

    class Now(datetime):
        @classmethod
        def now(cls, _tz):
            return START + timedelta(seconds=loop.now)

    async def at_once(call):
        return call()

    for module in (waiting, search, recent_hits):
        monkeypatch.setattr(module, "datetime", Now)
    for module in (waiting, feed):
        monkeypatch.setattr(module, "run_blocking", at_once)
    monkeypatch.setattr(models, "monotonic", loop.time)
    monkeypatch.setattr(store, "clock", lambda: Now.now(UTC))
    monkeypatch.setitem(store._quotas._buckets, "SearchImageSets", TokenBucket(loop.time))
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    random.seed(1)
    yield loop
    loop.close()


def waits_for(accession_number, **arguments):
    criteria = {"filters": [{"values": [{"DICOMAccessionNumber": accession_number}], "operator": "EQUAL"}]}
    given = {
        "datastore_id": DATASTORE_ID,
        "window_start": None,
        "window_end": None,
        "time_field": None,
        "search_criteria": json.dumps(criteria),
        "match": "{}",
        "min_image_sets": 1,
        "quiet_period": None,
        "poke_interval": POLL,
        "deadline": format_utc(START + timedelta(hours=3)),
    }
    return HealthImagingImageSetTrigger(**{**given, **arguments})


def wait(loop, triggers, *happenings, until=3600, status="ready", errors=None):
    """Run triggers, let things happen at given seconds, and return when each trigger fired, by its place.

    :param errors: is given the errors of the events.
    """
    errors = [] if errors is None else errors
    woken = {}

    async def run(place, trigger):
        async for event in trigger.run():
            assert event.payload["status"] == status
            woken[place] = loop.now
            errors.append(event.payload.get("error"))

    async def happen(second, action):
        await asyncio.sleep(second)
        action()

    async def all_of_it():
        tasks = [asyncio.ensure_future(happen(*each)) for each in happenings]
        tasks += [asyncio.ensure_future(run(*each)) for each in enumerate(triggers)]
        await asyncio.wait(tasks, timeout=until)
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended

    loop.run_until_complete(all_of_it())
    return woken


def arrives(store, accession_number, **tags):
    return lambda: store.put_image_set(DATASTORE_ID, dicom_tags={"DICOMAccessionNumber": accession_number, **tags})


def test_a_thousand_sensors_stay_far_below_the_quota_and_each_wakes_soon(loop, store, server):
    store.settings.calls_per_second, minutes = 25, 6
    arrivals = [(60 + number * 5, arrives(store, f"A{number}")) for number in range(0, 50, 7)]

    woken = wait(loop, [waits_for(f"A{number}") for number in range(1000)], *arrivals, until=minutes * 60)

    assert server.calls.count(status=429) == 0
    assert server.calls.count() <= 3 * minutes * 60
    assert woken.keys() == set(range(0, 50, 7))
    assert all(second - (60 + number * 5) <= 2 * POLL for number, second in woken.items())


def test_an_image_set_that_was_there_before_is_found_by_each_trigger_itself(loop, store):
    store.put_image_set(DATASTORE_ID, created_at=START - timedelta(days=1), dicom_tags={"DICOMAccessionNumber": "A7"})

    assert wait(loop, [waits_for(f"A{number}") for number in range(10)], until=10 * POLL).keys() == {7}


def test_none_is_missed_though_the_index_lags_and_the_feed_fails(loop, store, monkeypatch):
    store.settings.index_lag = 120
    look = recent_hits.RecentHits.look

    def fail_for_five_minutes(self):
        if 200 <= loop.now < 500:
            raise feed.HealthImagingError("the feed fails")
        return look(self)

    monkeypatch.setattr(recent_hits.RecentHits, "look", fail_for_five_minutes)
    arrivals = {number: 40 * number for number in range(1, 20)}

    woken = wait(
        loop,
        [waits_for(f"A{number}") for number in range(60)],
        *((second, arrives(store, f"A{number}")) for number, second in arrivals.items()),
    )

    assert woken.keys() == arrivals.keys()
    late = {number: woken[number] - max(second + 120, 500) for number, second in arrivals.items()}
    assert max(late.values()) <= 2 * POLL


def test_a_trigger_that_polls_seldom_hears_of_what_the_feed_has_forgotten(loop, store):
    sensors = [waits_for("A0", poke_interval=1200), *(waits_for(f"A{number}") for number in range(1, 30))]

    woken = wait(loop, sensors, (1800, arrives(store, "A0")), until=4500)

    assert woken.keys() == {0}


@pytest.mark.parametrize("blind", ["dead", "empty", "without tags"])
def test_without_a_feed_each_trigger_still_wakes(loop, store, monkeypatch, blind):
    def look(self):
        if blind == "dead":
            raise feed.HealthImagingError("the feed is dead")
        if blind == "without tags":
            self._seen = {"a" * 32: recent_hits._Seen(self.position + 1, START, {"imageSetId": "a" * 32})}
            self.position += 1
        return 1

    monkeypatch.setattr(recent_hits.RecentHits, "look", look)

    woken = wait(loop, [waits_for(f"A{number}") for number in range(30)], (100, arrives(store, "A3")))

    assert woken.keys() == {3}
    assert woken[3] <= 100 + 25 * POLL * 1.2


def test_a_quiet_period_ends_without_news(loop, store):
    sensors = [waits_for("A0", quiet_period=90), *(waits_for(f"A{number}") for number in range(1, 30))]

    woken = wait(loop, sensors, (100, arrives(store, "A0")), (150, arrives(store, "A0")))

    assert woken.keys() == {0}
    assert 150 + 90 <= woken[0] <= 150 + 90 + 2 * POLL


def test_a_trigger_that_waits_for_several_image_sets_hears_of_each(loop, store):
    sensors = [waits_for("A0", min_image_sets=3), *(waits_for(f"A{number}") for number in range(1, 30))]

    woken = wait(loop, sensors, *((second, arrives(store, "A0")) for second in (100, 300, 500)), until=1000)

    assert woken.keys() == {0}
    assert 500 <= woken[0] <= 500 + 2 * POLL


def test_a_poll_that_fails_after_news_is_made_again(loop, store, monkeypatch):
    failures = Counter()
    search_once = HealthImagingImageSetTrigger.search

    def fail_once(self, *arguments):
        failures[self] += 1
        if loop.now > 100 and failures["after the news"] < 1:
            failures["after the news"] += 1
            raise ServiceError("throttled", code="ThrottlingException")
        return search_once(self, *arguments)

    monkeypatch.setattr(HealthImagingImageSetTrigger, "search", fail_once)

    woken = wait(loop, [waits_for("A0"), *(waits_for("B") for _ in range(29))], (100, arrives(store, "A0")))

    assert woken[0] <= 100 + 3 * POLL


def test_if_the_shared_look_is_not_allowed_each_trigger_asks_for_itself(loop, store, monkeypatch):
    def look(self):
        raise AccessDeniedError("not allowed")

    monkeypatch.setattr(recent_hits.RecentHits, "look", look)

    woken = wait(loop, [waits_for(f"A{number}") for number in range(30)], (100, arrives(store, "A3")))

    assert woken.keys() == {3}
    assert woken[3] <= 100 + 2 * POLL


@pytest.mark.parametrize("how", ["fails", "hangs"])
def test_a_wait_that_ends_while_the_shared_look_brings_no_answer_says_so(loop, store, monkeypatch, how):
    async def hang(call):
        await asyncio.sleep(3600) if loop.now > 300 and how == "hangs" else None
        return call()

    def fail_after_a_while(result):
        if loop.now > 300:
            raise ServiceError("down", code="InternalServerException")
        return result

    monkeypatch.setattr(HealthImagingImageSetTrigger, "search", lambda *_: fail_after_a_while(iter(())))
    monkeypatch.setattr(feed, "run_blocking", hang)
    monkeypatch.setattr(recent_hits.RecentHits, "look", lambda _: fail_after_a_while(1))
    monkeypatch.setattr(waiting, "ROUTINE_POLLS", 1000)
    errors = []
    deadline = format_utc(START + timedelta(seconds=400))

    woken = wait(loop, [waits_for(f"A{n}", deadline=deadline) for n in range(30)], status="timeout", errors=errors)

    assert len(woken) == 30
    assert set(errors) - {"down"} == ({"There was no answer in time."} if how == "hangs" else set())


def test_a_wait_that_ends_while_the_shared_look_is_not_allowed_has_only_timed_out(loop, store, monkeypatch):
    def look(self):
        raise AccessDeniedError("not allowed")

    monkeypatch.setattr(recent_hits.RecentHits, "look", look)
    errors = []
    deadline = format_utc(START + timedelta(seconds=feed.COST_SECONDS + 2 * POLL))

    wait(loop, [waits_for(f"A{n}", deadline=deadline) for n in range(30)], status="timeout", errors=errors)

    assert errors == [None] * 30


def test_a_trigger_whose_criteria_cannot_be_decrypted_says_so_at_once(loop, store, monkeypatch):
    foreign = waits_for("A0")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    others = [waits_for(f"A{number}") for number in range(1, 30)]

    woken = wait(loop, [foreign, *others], status="failed")

    assert woken.keys() == {0}
    assert woken[0] <= 2 * POLL


def test_one_sensor_alone_and_a_busy_data_store_cost_no_more_than_a_poll_each(loop, store, server):
    """What arrives costs more pages than three sensors cost searches."""
    for _ in range(300):
        store.put_image_set(DATASTORE_ID, created_at=START - timedelta(seconds=10), dicom_tags={})

    wait(loop, [waits_for(f"A{number}") for number in range(3)], until=600)

    assert server.calls.count() <= 3 * 600 / POLL * 1.3 + 7


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"DICOMAccessionNumber": "A1"}, True),
        ({"DICOMAccessionNumber": "a1 "}, True),
        ({"DICOMAccessionNumber": "A2"}, False),
        ({}, False),
        ({"DICOMAccessionNumber": "A1", "DICOMSeriesModality": "MR"}, True),
    ],
)
def test_news_are_taken_generously(found, expected):
    criteria = {"filters": [{"values": [{"DICOMAccessionNumber": "A1"}], "operator": "EQUAL"}]}
    request = SearchRequest.parse(DATASTORE_ID, time_field=None, search_criteria=criteria)
    assert recent_hits.may_be_found({"imageSetId": "a" * 32, "DICOMTags": found}, request) is expected


@pytest.mark.parametrize(("hour", "expected"), [(11, True), (12, False), (10, False), (None, True)])
def test_news_from_outside_of_the_window_are_none(hour, expected):
    request = SearchRequest.parse(DATASTORE_ID, window=TimeWindow("2026-01-31T11:00:00Z", "2026-01-31T12:00:00Z"))
    created = {} if hour is None else {"createdAt": datetime(2026, 1, 31, hour, tzinfo=UTC)}
    assert recent_hits.may_be_found({"imageSetId": "a" * 32, **created}, request) is expected
    assert recent_hits.may_be_found({"imageSetId": "a" * 32, **created}, request.with_window(None)) is True


def test_many_import_jobs_are_waited_for_with_one_list(loop, store, server, monkeypatch):
    ended = set()
    hook = "airflow_provider_healthimaging.hooks.healthimaging.HealthImagingHook"
    monkeypatch.setattr(
        f"{hook}.list_dicom_import_jobs",
        lambda _, __, job_status: (
            {"jobId": f"{n:032d}"} for n in range(100) if job_status == "IN_PROGRESS" and n not in ended
        ),
    )
    asked = Counter()

    def get(_, __, job_id):
        asked[job_id] += 1
        return {"jobStatus": "COMPLETED" if int(job_id) in ended else "IN_PROGRESS"}

    monkeypatch.setattr(
        "airflow_provider_healthimaging.hooks.healthimaging.HealthImagingHook.get_dicom_import_job", get
    )
    triggers = [
        HealthImagingDicomImportJobTrigger(
            datastore_id=DATASTORE_ID,
            job_id=f"{number:032d}",
            poke_interval=POLL,
            deadline=format_utc(START + timedelta(hours=1)),
        )
        for number in range(100)
    ]

    woken = wait(loop, triggers, (300, lambda: ended.add(5)), until=600)

    assert woken.keys() == {5}
    assert woken[5] <= 300 + 2 * POLL
    assert sum(asked.values()) <= 100 * (1 + 600 / POLL / 20) + 3
