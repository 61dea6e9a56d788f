"""Events exactly once, in a live Airflow: processes are killed, and each image set is handed on, and handed on once."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from datetime import UTC, datetime

import pytest

from airflow_provider_healthimaging.local import backend
from airflow_provider_healthimaging.triggers.watermark import WATERMARK_KEY
from airflow_provider_healthimaging.window import TimeWindow
from tests.reporting import report

from .conftest import EVENT_DATASTORES
from .history import from_json
from .kills import Arriving, Case, Put, handed_on, idle, payloads, play

HANDED_ON, MEASURED, SHARED = EVENT_DATASTORES
WATCHERS = 10
POKE_SECONDS = 2
SLOWEST_START_SECONDS = 60
NEXT_ARRIVAL_SECONDS = 15

QUICK = (Case(seed=1, arrivals=100, seconds=20, bursts=True, triggerer_kills=1, scheduler_kills=1, triggerers=2),)
"""What `make test-live` plays. ``test_live.py`` kills the only triggerer that there is."""

WHOLE = (
    Case(seed=1, arrivals=400, seconds=240, bursts=False, triggerer_kills=8, scheduler_kills=2),
    Case(seed=2, arrivals=400, seconds=240, bursts=True, triggerer_kills=8, scheduler_kills=2),
    Case(seed=3, arrivals=400, seconds=240, bursts=False, triggerer_kills=8, scheduler_kills=2),
    Case(seed=4, arrivals=400, seconds=240, bursts=True, triggerer_kills=8, scheduler_kills=2, triggerers=2),
)


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", WHOLE if metafunc.config.getoption("whole") else QUICK, ids=str)


def watched(airflow, asset):
    """Whether the watcher of an asset has kept a watermark."""
    return airflow.rows(
        "SELECT 1 FROM asset_state_store JOIN asset ON asset.id = asset_state_store.asset_id WHERE asset.name = :asset",
        asset=asset,
    )


@pytest.fixture(scope="module")
def measured(airflow, whole, request):
    """Image sets that arrive one by one, and whose runs' start is measured.

    Nothing else runs meanwhile if all cases are played; else the other tests do, so that the figures say little.
    """
    if not whole:
        # These image sets arrive for test_live.py, which reads afterwards what became of them.
        request.getfixturevalue("arrivals")
    put = Put(backend(), MEASURED)
    airflow.wait_for(lambda: watched(airflow, "measured"), "the first poll of what is measured")
    count, apart = (40, 6.0) if whole else (6, 2.0)
    arriving = Arriving(put, [(number * apart, 1) for number in range(count)])
    arriving.start()
    if whole:
        arriving.join()
        airflow.wait_for(lambda: len(started(airflow, put)) == count, "a run for each arrival")
    yield put, arriving
    arriving.end()


def test_ten_watchers_cost_the_calls_of_one_and_each_gets_exactly_its_own(airflow, shared_service, measured):
    put = Put(backend(), SHARED)
    for number in range(WATCHERS):
        airflow.wait_for(lambda name=f"shared_{number}": watched(airflow, name), f"the watermark of {number}")
    mine: dict[str, list[datetime]] = {f"shared_{number}": [] for number in range(WATCHERS)}
    # The watchers have searched for themselves once, for the time before the first poll that they share.
    began = time.monotonic()
    shared_service.calls.reset()
    for number in range(2 * WATCHERS):
        name = number % WATCHERS
        mine[f"shared_{name}"].append(put.created_at[put(DICOMAccessionNumber=f"A-{name}")])
        put(DICOMAccessionNumber="nobody's")
        # They arrive at different polls.
        time.sleep(POKE_SECONDS / 4)

    def complete():
        return all(sum(each["count"] for each in payloads(airflow, name)) >= len(mine[name]) for name in mine)

    airflow.wait_for(complete, "an event for each watcher")
    calls, seconds = shared_service.calls.count(), time.monotonic() - began
    print(f"{WATCHERS} watchers: {calls} calls in {seconds:.0f} s, one poll in {POKE_SECONDS} s")  # noqa: T201
    assert calls <= seconds / (0.8 * POKE_SECONDS) + 2
    for name, moments in mine.items():
        windows = [TimeWindow(**each["window"]) for each in payloads(airflow, name)]
        assert [sum(moment in window for window in windows) for moment in moments] == [1] * len(moments)
        assert sum(each["count"] for each in payloads(airflow, name)) == len(moments)


def test_a_watermark_that_is_moved_by_airflows_rest_api_is_where_the_watcher_starts_again(airflow):
    (asset,) = airflow.rows("SELECT id FROM asset WHERE name = 'shared_0'")
    before = payloads(airflow, "shared_0")
    start = "2026-01-01T00:00:00Z"

    airflow.put(f"/api/v2/assets/{asset.id}/state-store/{WATERMARK_KEY}", value={"start": start})

    again = airflow.wait_for(lambda: payloads(airflow, "shared_0")[len(before) :], "an event from there on")
    assert again[0]["window"]["start"] == start
    assert again[0]["count"] == sum(each["count"] for each in before)


def test_each_image_set_is_handed_on_and_handed_on_once_whatever_is_killed(airflow, case, second_triggerer, whole):
    airflow.wait_for(lambda: watched(airflow, "handed_on"), "the watcher's first poll")
    put = Put(backend(), HANDED_ON)
    events_before = len(payloads(airflow, "handed_on"))
    if case.triggerers == 2:
        second_triggerer()

    play(airflow, case, put)

    patience, mine, began = 300, set(put.created_at), time.monotonic()

    def complete():
        # Of two events that are stored before the scheduler looks, Airflow leaves the second to the run of the next.
        if time.monotonic() - began > NEXT_ARRIVAL_SECONDS * (1 + len(put.created_at) - len(mine)):
            put()
        return mine <= handed_on(airflow, "hand_on").keys()

    airflow.wait_for(complete, "every image set handed on", patience)
    airflow.wait_for(lambda: idle(airflow, "hand_on", "handed_on"), "every run ended", patience)

    times = handed_on(airflow, "hand_on")
    events = payloads(airflow, "handed_on")[events_before:]
    repeated = len(events) - len({str(each["window"]) for each in events})
    states = Counter(
        row.state
        for row in airflow.rows("SELECT state FROM task_instance WHERE dag_id = 'hand_on' AND task_id = 'search'")
    )
    print(f"{case}: {len(mine)} handed on, {len(events)} events, {repeated} repeated; tasks so far: {dict(states)}")  # noqa: T201
    assert len(mine) == case.arrivals
    assert {each: times[each] for each in mine if times[each] != 1} == {}
    assert not states.keys() - {"success", "skipped"}


def test_from_arrival_to_the_start_of_a_run(airflow, measured, whole):
    put, arriving = measured
    arriving.join()
    airflow.wait_for(lambda: len(started(airflow, put)) == len(put.created_at), "a run for each arrival")
    waits = sorted((started(airflow, put)[each] - when).total_seconds() for each, when in put.created_at.items())
    median, slow = statistics.median(waits), waits[int(0.95 * len(waits))]
    report("arrival_to_run_live.json", [{"arrivals": len(waits), "median_seconds": median, "p95_seconds": slow}])
    print(f"from arrival to run: median {median:.1f} s, 95th percentile {slow:.1f} s, of {len(waits)}")  # noqa: T201
    assert min(waits) > 30, "nothing is announced before the index shows it"
    assert not whole or slow <= SLOWEST_START_SECONDS


def started(airflow, put):
    """Return when the run began that has the window of each image set."""
    runs = airflow.rows(
        "SELECT dag_run.start_date, asset_event.extra FROM dag_run"
        " JOIN dagrun_asset_event ON dagrun_asset_event.dag_run_id = dag_run.id"
        " JOIN asset_event ON asset_event.id = dagrun_asset_event.event_id"
        " WHERE dag_run.dag_id = 'measure' AND dag_run.start_date IS NOT NULL ORDER BY dag_run.id"
    )
    found: dict[str, datetime] = {}
    for run in runs:
        window = TimeWindow(**from_json(run.extra)["payload"]["window"])
        for image_set_id, created_at in put.created_at.items():
            if created_at in window:
                found.setdefault(image_set_id, as_time(run.start_date))
    return found


def as_time(value):
    """Return a time of the database; SQLite gives text, without a zone."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
