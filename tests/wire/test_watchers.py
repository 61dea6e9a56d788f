"""Watchers: what they announce is lost to nobody, whole when it is repeated, and one search serves all of them."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import airflow
import pytest
from cryptography.fernet import Fernet
from packaging.version import Version

from airflow_provider_healthimaging.exceptions import ConfigurationError
from airflow_provider_healthimaging.triggers import arrivals, shared_poll
from airflow_provider_healthimaging.triggers.healthimaging import HealthImagingNewImageSetsTrigger
from airflow_provider_healthimaging.triggers.watermark import WATERMARK_KEY
from airflow_provider_healthimaging.window import TimeWindow, format_utc, parse_instant
from tests.asset_state import accessors

from .triggerer import Triggerer

pytestmark = pytest.mark.skipif(
    Version(airflow.__version__) < Version("3.3.0.dev0"), reason="Airflow has watchers with state from 3.3 on"
)

DATASTORE_ID = "d" * 32
HOUR = timedelta(hours=1)


class Died(Exception):  # noqa: N818
    """The triggerer's end."""


class State(dict):
    """What an asset's state store keeps; each write may be the last thing that the triggerer does."""

    writes_left = None

    def __setitem__(self, key, value):
        if self.writes_left == 0:
            raise Died
        if self.writes_left is not None:
            self.writes_left -= 1
        super().__setitem__(key, value)

    @property
    def start(self):
        return parse_instant(self[WATERMARK_KEY]["start"], "start")


@pytest.fixture(autouse=True)
def fernet_key(monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())


@pytest.fixture
def states():
    return {}


@pytest.fixture
def state(states):
    return states.setdefault("arrivals", State())


@pytest.fixture
def database():
    return []


@pytest.fixture
def watcher(store, states, monkeypatch):
    """``watcher(name, **arguments)`` returns a trigger as a new triggerer makes it, with the state of its asset."""

    def make(name="arrivals", **arguments):
        given = {"datastore_id": DATASTORE_ID, "start": datetime.now(UTC) - HOUR, "delay": 0, "poke_interval": 0.01}
        trigger = HealthImagingNewImageSetsTrigger(**given | arguments)
        kept = lambda asset: states.setdefault(asset, State())  # noqa: E731
        trigger.asset_state_store = accessors(monkeypatch, kept, name)
        return trigger

    return make


@pytest.fixture
def put(store):
    """``put(ago, **tags)`` lets an image set arrive, so long ago."""

    def arrive(ago=timedelta(0), **tags):
        return store.put_image_set(DATASTORE_ID, created_at=datetime.now(UTC) - ago, dicom_tags=tags).image_set_id

    return arrive


@pytest.fixture
def polled(monkeypatch):
    """How many polls have begun; ``polled.before`` is called at the start of each."""

    class Polled(list):
        before = staticmethod(lambda: None)

    polled, search = Polled(), shared_poll.SharedPoll._search

    def searching(poll, window):
        polled.before()
        polled.append(window)
        return search(poll, window)

    monkeypatch.setattr(shared_poll.SharedPoll, "_search", searching)
    return polled


def equal(attribute, value):
    return {"filters": [{"operator": "EQUAL", "values": [{attribute: value}]}]}


def run(database, watchers, until, **triggerer):
    watchers = watchers if isinstance(watchers, dict) else {"arrivals": watchers}
    with suppress(Died):
        asyncio.run(asyncio.wait_for(Triggerer(database, **triggerer).run(watchers, until), 60))


async def happened(condition):
    while not condition():  # noqa: ASYNC110 - what it waits for has no event
        await asyncio.sleep(0)


def windows(database, name="arrivals"):
    return [TimeWindow(**payload["window"]) for each, payload in database if each == name]


def announced(store, database, name="arrivals"):
    """How often each image set lies in a window that was announced, repetitions counted once."""
    once = set(windows(database, name))
    return Counter({row.image_set_id: sum(row.created_at in each for each in once) for row in rows(store)})


def rows(store):
    return store.image_sets(DATASTORE_ID)


@pytest.mark.parametrize("asynchronous", [True, False])
@pytest.mark.parametrize("dies_after_writes", range(7))
def test_nothing_is_lost_and_only_whole_windows_repeat_whenever_the_triggerer_dies(
    dies_after_writes, asynchronous, watcher, state, database, store, put, polled, monkeypatch
):
    store_accessors = type(watcher().asset_state_store)
    if not asynchronous:
        # As on Airflow 3.3.0 and 3.3.1.
        monkeypatch.delattr(store_accessors, "aget", raising=False)
        monkeypatch.delattr(store_accessors, "aset", raising=False)
    arriving = iter(range(60))
    polled.before = lambda: put() if next(arriving, None) is not None else None
    start = datetime.now(UTC) - HOUR

    state.writes_left = dies_after_writes
    run(database, watcher(start=start), lambda: len(database) >= 4)
    state.writes_left = None
    enough = len(database) + 4
    run(database, watcher(start=start), lambda: len(database) >= enough)

    once = sorted(set(windows(database)), key=lambda window: window.start)
    assert once[0].start == start
    assert all(one.end == following.start for one, following in pairwise(once))
    times = announced(store, database)
    assert all(times[row.image_set_id] == (row.created_at < once[-1].end) for row in rows(store))
    counts = dict(zip(windows(database), (payload["count"] for _, payload in database), strict=True))
    assert sum(counts.values()) == sum(times.values())


def test_an_event_that_did_not_get_to_the_database_is_repeated_as_it_was(watcher, state, database, put, polled):
    put()
    lost = []
    run(database, watcher(), lambda: bool(lost), stores=lost.append)
    assert (database, state[WATERMARK_KEY]["event"]) == ([], lost[0])
    put()

    run(database, watcher(), lambda: len(database) == 2)

    assert database[0] == ("arrivals", lost[0])
    first, second = windows(database)
    assert first.end == second.start


def test_the_watermark_moves_when_the_event_is_in_the_database_and_not_before(watcher, state, database, put, polled):
    put()
    triggerer = Triggerer(database)
    triggerer.confirms = False
    seen = []

    async def wait_and_see():
        running = asyncio.create_task(
            triggerer.run(
                {"arrivals": watcher()}, lambda: "event" not in state.get(WATERMARK_KEY, {"event"}) and bool(database)
            )
        )
        await happened(lambda: bool(database))
        seen.append(dict(state[WATERMARK_KEY]))
        polls = len(polled)
        await happened(lambda: len(polled) >= polls + 2)
        seen.append(dict(state[WATERMARK_KEY]))
        triggerer.confirms = True
        await running

    asyncio.run(asyncio.wait_for(wait_and_see(), 60))
    (window,) = windows(database)
    assert seen == [{"start": format_utc(window.start), "event": database[0][1]}] * 2
    assert state[WATERMARK_KEY] == {"start": format_utc(window.end)}


def test_the_watermark_does_not_wait_for_the_next_poll(watcher, state, database, put, polled):
    put()
    run(database, watcher(poke_interval=3600), lambda: bool(database) and "event" not in state[WATERMARK_KEY])
    assert (len(polled), state.start) == (1, windows(database)[0].end)


def test_ten_watchers_cost_the_calls_of_one_and_each_gets_exactly_its_own(
    watcher, database, store, server, put, polled
):
    ids = [f"P-{number}" for number in range(9)]
    watchers = {each: watcher(each, search_criteria=equal("DICOMPatientId", each)) for each in ids}
    watchers["CT"] = watcher("CT", match={"DICOMSeriesModality": "CT"})
    put(timedelta(minutes=2), DICOMPatientId="nobody")
    mine = {name: set() for name in watchers}

    def arrive():
        if len(polled) in range(2, 12):
            name = ids[len(polled) % 9]
            mine[name].add(put(DICOMPatientId=name, DICOMSeriesModality="MR"))
            mine["CT"].add(put(DICOMPatientId="P-10", DICOMSeriesModality="CT"))

    polled.before = arrive
    run(database, watchers, lambda: len(polled) == 20)

    assert len(mine["CT"]) == 10
    for name, expected in mine.items():
        times = Counter(
            row.image_set_id for row in rows(store) for each in windows(database, name) if row.created_at in each
        )
        assert all(times[each] == 1 for each in expected)
        assert sum(payload["count"] for each, payload in database if each == name) == len(expected)
    # Each watcher searched once for itself: for the hour before the first poll.
    assert server.calls.count() <= len(polled) + len(watchers)


@pytest.mark.parametrize("tags", [{}, {"DICOMPatientId": "p-1"}, {"DICOMPatientId": "P-1 "}])
def test_what_only_the_service_can_decide_is_left_to_it(tags, watcher, database, put, polled, monkeypatch):
    """The local service compares text exactly; AWS does not say how its own does."""
    search, searched = arrivals.ArrivalWatch._search, []
    monkeypatch.setattr(
        arrivals.ArrivalWatch, "_search", lambda watch, window: searched.append(window) or search(watch, window)
    )
    polled.before = lambda: put(**tags) if len(polled) == 2 else put(DICOMPatientId="P-1") if len(polled) == 5 else None

    run(database, watcher(search_criteria=equal("DICOMPatientId", "P-1")), lambda: len(database) == 1)

    assert database[0][1]["count"] == 1
    # One for the hour before the first poll, one for what could not be decided.
    assert len(searched) == 2


def test_watchers_that_start_at_different_times_each_get_all_of_theirs(watcher, database, store, put, polled):
    for minutes in (50, 30, 10):
        put(timedelta(minutes=minutes))
    now = datetime.now(UTC)
    watchers = {str(ago): watcher(str(ago), start=now - timedelta(minutes=ago)) for ago in (60, 40, 20, 1)}

    run(database, watchers, lambda: len(database) == 3 and len(polled) > 5)

    assert {name: payload["count"] for name, payload in database} == {"60": 3, "40": 2, "20": 1}


def test_a_watcher_that_joins_later_misses_nothing(watcher, database, put, polled):
    polled.before = lambda: put() if len(polled) == 5 else None
    put(timedelta(minutes=30))
    triggerer = Triggerer(database)

    def complete():
        return sum(payload["count"] for name, payload in database if name == "late") == 2

    async def join_later():
        first = asyncio.create_task(triggerer.run({"first": watcher("first")}, complete))
        await happened(lambda: len(polled) >= 8)
        await triggerer.run({"late": watcher("late")}, complete)
        await first

    asyncio.run(asyncio.wait_for(join_later(), 60))
    assert sum(payload["count"] for name, payload in database if name == "first") == 2


def test_more_than_a_poll_reads_is_counted_by_each_watcher(watcher, database, put, polled, monkeypatch):
    monkeypatch.setattr(shared_poll, "MAX_HITS", 60)

    def burst():
        if len(polled) == 2:
            for number in range(150):
                put(DICOMPatientId=f"P-{number % 3}")

    polled.before = burst
    watchers = {name: watcher(name, search_criteria=equal("DICOMPatientId", name)) for name in ("P-0", "P-1")}
    run(database, watchers, lambda: len(database) == 2)

    assert {name: payload["count"] for name, payload in database} == {"P-0": 50, "P-1": 50}


def test_while_the_service_fails_nothing_is_lost_and_the_log_says_why(
    watcher, database, store, put, polled, monkeypatch, logged
):
    def fail():
        monkeypatch.setattr(store.settings, "error_rate", 1.0 if len(polled) in range(2, 5) else 0.0)
        if len(polled) in (1, 3, 6):
            put()

    polled.before = fail
    run(database, watcher(), lambda: sum(payload["count"] for _, payload in database) == 3)

    assert set(announced(store, database).values()) == {1}
    assert "Poll failed; trying again" in logged()


def test_a_search_of_its_own_that_fails_is_made_again(watcher, database, store, put, polled, monkeypatch, logged):
    put(timedelta(minutes=30))
    search, failing = arrivals.ArrivalWatch._search, iter([1.0])

    def fail_once(watch, window):
        monkeypatch.setattr(store.settings, "error_rate", next(failing, 0.0))
        try:
            return search(watch, window)
        finally:
            monkeypatch.setattr(store.settings, "error_rate", 0.0)

    monkeypatch.setattr(arrivals.ArrivalWatch, "_search", fail_once)
    run(database, watcher(), lambda: bool(database))
    assert database[0][1]["count"] == 1
    assert "Search failed; trying again" in logged()


def test_a_clock_that_was_set_back_loses_nothing(watcher, database, store, put, polled, monkeypatch):
    back = iter([0, 0, 700, 700, 0])
    monkeypatch.setattr(shared_poll, "utc_now", lambda: datetime.now(UTC) - timedelta(seconds=next(back, 0)))
    polled.before = lambda: put() if len(polled) in (1, 3) else None
    run(database, watcher(), lambda: sum(payload["count"] for _, payload in database) == 2)
    assert set(announced(store, database).values()) == {1}


def test_a_data_store_that_does_not_exist_is_tried_again(watcher, database, polled):
    run(database, watcher(datastore_id="e" * 32), lambda: len(polled) == 3)
    assert database == []


def test_a_watcher_whose_own_search_takes_long_looks_at_other_polls_meanwhile(
    watcher, database, put, polled, monkeypatch
):
    """Airflow fails a watcher that stays at one poll."""
    put(timedelta(minutes=50))
    monkeypatch.setattr(arrivals, "PATIENCE_SECONDS", 0.0)
    search = arrivals.ArrivalWatch._search
    seen, fifth = [], threading.Event()

    def slow(watch, window):
        assert fifth.wait(60)
        seen.append(len(polled))
        return search(watch, window)

    def before():
        if len(polled) == 3:
            put()
        if len(polled) >= 5:
            fifth.set()

    monkeypatch.setattr(arrivals.ArrivalWatch, "_search", slow)
    polled.before = before
    run(database, watcher(), lambda: sum(payload["count"] for _, payload in database) == 2)

    assert seen[0] >= 5
    one, other = windows(database)
    assert one.end == other.start


def test_a_watcher_that_is_stopped_while_it_searches_leaves_no_search(watcher, database, put, polled, monkeypatch):
    put(timedelta(minutes=50))
    monkeypatch.setattr(arrivals, "PATIENCE_SECONDS", 0.0)
    searching, stopped = threading.Event(), threading.Event()

    def slow(watch, window):
        searching.set()
        stopped.wait()

    monkeypatch.setattr(arrivals.ArrivalWatch, "_search", slow)

    async def running_after_the_stop():
        await Triggerer(database).run({"arrivals": watcher()}, searching.is_set)
        await asyncio.sleep(0)
        return [task.get_coro().__name__ for task in asyncio.all_tasks()]

    try:
        assert "run_blocking" not in asyncio.run(running_after_the_stop())
    finally:
        stopped.set()


def test_an_event_of_which_airflow_cannot_say_that_it_is_stored_is_repeated(
    watcher, database, put, polled, monkeypatch
):
    put()
    advance = shared_poll.SharedPoll.advance
    unsure = iter([True])

    async def another_watcher_failed(producer, batch):
        if database and next(unsure, False):
            batch = [each._replace(outcome=dataclasses.replace(each.outcome, failed=1)) for each in batch]
        await advance(producer, batch)

    monkeypatch.setattr(shared_poll.SharedPoll, "advance", another_watcher_failed)
    run(database, watcher(), lambda: len(database) == 2)

    assert database[0] == database[1]


def test_a_watermark_that_is_moved_while_the_watcher_runs_is_where_the_next_window_starts(
    watcher, state, database, put, polled
):
    put(timedelta(minutes=30))
    first, moved = datetime.now(UTC) - timedelta(minutes=40), []

    def move():
        if database and first not in moved:
            moved.append(first)
            state[WATERMARK_KEY] = {"start": format_utc(first)}

    polled.before = move
    run(database, watcher(), lambda: len(database) == 2)

    one, again = windows(database)
    assert again.start == first
    assert (database[0][1]["count"], database[1][1]["count"]) == (1, 1)
    assert one != again


def test_a_watermark_that_is_moved_before_an_event_is_confirmed_stays_moved(watcher, state, database, put, polled):
    put(timedelta(minutes=30))
    first = datetime.now(UTC) - timedelta(minutes=40)

    def stores(payload):
        if len(database) == 0:
            state[WATERMARK_KEY] = {"start": format_utc(first)}
        return True

    run(database, watcher(), lambda: len(database) == 2, stores=stores)
    assert windows(database)[1].start == first


def test_a_watermark_that_is_moved_while_the_watcher_searches_stays_moved(
    watcher, state, database, put, polled, monkeypatch
):
    put(timedelta(minutes=30))
    first = datetime.now(UTC) - timedelta(minutes=40)
    search = arrivals.ArrivalWatch._search

    def moved_meanwhile(watch, window):
        findings = search(watch, window)
        if window.start != first:
            state[WATERMARK_KEY] = {"start": format_utc(first)}
        return findings

    monkeypatch.setattr(arrivals.ArrivalWatch, "_search", moved_meanwhile)
    run(database, watcher(), lambda: bool(database))
    assert windows(database)[0].start == first


def test_what_a_search_found_before_the_watermark_was_moved_says_nothing(
    watcher, state, database, put, polled, monkeypatch
):
    put(timedelta(minutes=90))
    first = datetime.now(UTC) - timedelta(minutes=100)
    monkeypatch.setattr(arrivals, "PATIENCE_SECONDS", 0.0)
    search = arrivals.ArrivalWatch._search
    released = threading.Event()

    def slow(watch, window):
        findings = search(watch, window)
        if window.start != first:
            released.wait(60)
        return findings

    def move():
        if len(polled) == 3:
            state[WATERMARK_KEY] = {"start": format_utc(first)}
        elif len(polled) == 6:
            released.set()

    monkeypatch.setattr(arrivals.ArrivalWatch, "_search", slow)
    polled.before = move
    run(database, watcher(), lambda: bool(database))
    assert (windows(database)[0].start, database[0][1]["count"]) == (first, 1)


def test_what_the_index_shows_late_is_found_while_nothing_else_arrives(watcher, database, put, polled):
    polled.before = lambda: put(timedelta(seconds=30)) if len(polled) == 5 else None
    run(database, watcher(), lambda: bool(database))
    assert database[0][1]["count"] == 1


@pytest.mark.parametrize("failed", [0, 1])
def test_an_event_is_stored_only_if_airflow_says_so_of_all_watchers(failed):
    from airflow.triggers.shared_stream import AdvanceItem, AdvanceOutcome

    async def settled():
        poll = shared_poll.Poll()
        producer = shared_poll.SharedPoll(None, None, delay=HOUR, poke_interval=1)
        await producer.advance([AdvanceItem(poll, AdvanceOutcome(acked=1, failed=failed))])
        return await poll.settled

    assert asyncio.run(settled()) is (failed == 0)


def test_a_watcher_whose_watermark_was_deleted_starts_at_the_current_time(watcher, state, database, store, put, polled):
    deleted = []

    def before():
        watermark = state.get(WATERMARK_KEY)
        if len(polled) == 1:
            put()
        elif database and watermark and "event" not in watermark and not deleted:
            deleted.append(state.pop(WATERMARK_KEY))
        elif deleted and watermark and len(rows(store)) == 1:
            put()

    polled.before = before
    run(database, watcher(start=None), lambda: len(database) == 2)

    assert [*announced(store, database).values()] == [1, 1]


@pytest.mark.parametrize("value", ["2026-01-01T00:00:00Z", {"start": "2026-01-01T00:00:00+00:00"}])
def test_a_watermark_may_be_written_as_text(value, watcher, state, database, put, polled):
    put()
    state[WATERMARK_KEY] = value
    run(database, watcher(), lambda: bool(database))
    assert windows(database)[0].start == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("value", ["yesterday", {"begin": 1}, 7, {"start": "2026-01-01T00:00:00"}])
def test_what_is_no_watermark_is_an_error_that_says_what_to_write(value, watcher, state, database):
    state[WATERMARK_KEY] = value
    with pytest.raises(ConfigurationError, match=r"is not a watermark.*Write"):
        run(database, watcher(), lambda: False)


def test_the_log_says_now_and_then_that_a_watcher_is_alive(watcher, database, put, polled, monkeypatch, logged):
    monkeypatch.setattr(arrivals, "PULSE_SECONDS", 0.0)
    put(DICOMPatientName="CANARY")
    run(database, watcher(), lambda: len(polled) > 3 and len(database) == 1)
    log = logged()
    assert f"Watching data store {DATASTORE_ID} for <AssetStateStoreAccessors [name='arrivals']>" in log
    assert "1 polls, 0 failed polls, 1 events with 1 image sets. Searched to" in log
    assert "the watermark is" in log
    assert "CANARY" not in log


def test_the_log_says_once_where_a_watcher_begins(watcher, database, put, polled, logged):
    polled.before = lambda: put(DICOMSeriesModality="MR")
    run(database, watcher(match={"DICOMSeriesModality": "CT"}), lambda: len(polled) == 6)
    assert logged().count(f"Watching data store {DATASTORE_ID} for") == 1


def test_two_triggerers_that_run_the_same_watcher_for_a_moment_announce_the_same_windows(
    watcher, states, database, store, put, polled
):
    arriving = iter(range(30))
    polled.before = lambda: put() if next(arriving, None) is not None else None
    one, other = Triggerer(database), Triggerer(database)

    async def both():
        enough = lambda: len(set(windows(database))) >= 6  # noqa: E731
        start = datetime.now(UTC) - HOUR
        await asyncio.gather(*(each.run({"arrivals": watcher(start=start)}, enough) for each in (one, other)))

    asyncio.run(asyncio.wait_for(both(), 60))
    assert set(announced(store, database).values()) <= {0, 1}


def test_other_polls_are_for_other_connections_time_fields_and_paces(watcher):
    key = watcher().shared_stream_key()
    assert key == watcher(search_criteria=equal("DICOMPatientId", "P"), match={"isPrimary": True}).shared_stream_key()
    assert hash(key) == hash(watcher(start=None).shared_stream_key())
    others = [
        {"datastore_id": "e" * 32},
        {"time_field": "updatedAt"},
        {"aws_conn_id": "other"},
        {"region_name": "eu-west-1"},
        {"verify": False},
        {"botocore_config": {"read_timeout": 5}},
        {"delay": 1},
        {"poke_interval": 1},
    ]
    assert len({key, *(watcher(**each).shared_stream_key() for each in others)}) == len(others) + 1
    assert "P" not in "".join(map(str, watcher(search_criteria=equal("DICOMPatientId", "P")).shared_stream_key()[1:]))
