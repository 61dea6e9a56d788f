"""A watcher's look costs the calls for what is new, also if nothing of it matches, and nothing is announced twice."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import airflow
import pytest
from packaging.version import Version

from airflow_provider_healthimaging.triggers import shared_poll
from airflow_provider_healthimaging.triggers.healthimaging import HealthImagingNewImageSetsTrigger
from airflow_provider_healthimaging.window import format_utc
from tests.asset_state import state_store

pytestmark = pytest.mark.skipif(
    Version(airflow.__version__) < Version("3.3.0.dev0"), reason="Airflow has the asset state store from 3.3 on"
)

DATASTORE_ID = "d" * 32
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
A_DAY_OF_OTHERS = 120


FIRST_LOOK = 1
"""The poll that watchers share, and the watcher's own search for the time before it, are two searches."""


@pytest.fixture
def watch(store, server, monkeypatch):
    """``watch(days, **arguments)`` polls once a day until an event, and returns it with the calls of each day.

    ``days`` has for each day what arrives then: modalities, one for each image set.
    """

    def run(days, **arguments):
        trigger = HealthImagingNewImageSetsTrigger(
            datastore_id=DATASTORE_ID, start=START, delay=0, poke_interval=0.001, **arguments
        )
        trigger.asset_state_store = state_store(monkeypatch, {}, "arrivals")
        counted, today = [], iter(range(len(days)))

        def tomorrow():
            day = next(today)
            for second, modality in enumerate(days[day]):
                moment = START + day * DAY + timedelta(seconds=second)
                store.put_image_set(DATASTORE_ID, created_at=moment, dicom_tags={"DICOMSeriesModality": modality})
            counted.append(server.calls.count())
            return START + (day + 1) * DAY

        monkeypatch.setattr(shared_poll, "utc_now", tomorrow)
        event = asyncio.run(anext(trigger.run())).payload
        return event, [after - before for before, after in pairwise([*counted, server.calls.count()])]

    return run


def test_what_does_not_match_is_read_once(watch):
    others = ["MR"] * A_DAY_OF_OTHERS

    event, calls = watch([others, others, others, ["CT"]], match={"DICOMSeriesModality": "CT"})

    assert event["count"] == 1
    assert event["window"] == {"start": format_utc(START + 3 * DAY), "end": format_utc(START + 4 * DAY)}
    assert calls == [calls[1] + FIRST_LOOK, calls[1], calls[1], 1]
    assert calls[1] <= A_DAY_OF_OTHERS / 50 + 1


def test_while_nothing_arrives_the_window_grows_so_that_what_the_index_shows_late_is_found(watch):
    event, calls = watch([[], [], ["CT"]], match={"DICOMSeriesModality": "CT"})

    assert event["window"]["start"] == format_utc(START)
    assert calls == [1 + FIRST_LOOK, 1, 1]


def test_pages_on_which_the_service_finds_nothing_are_read_once(watch, store, monkeypatch):
    """The service may answer a filter with pages that are empty and have a token."""
    others = ["MR"] * A_DAY_OF_OTHERS
    monkeypatch.setattr(store.settings, "empty_page_rate", 0.5)

    event, calls = watch([others, others, others, ["CT"]], match={"DICOMSeriesModality": "CT"})

    assert event["window"]["start"] == format_utc(START + 3 * DAY)
    assert max(calls) < 3 * A_DAY_OF_OTHERS / 50 * 4


def test_what_matches_beside_what_does_not_is_announced_with_all_of_its_window(watch):
    event, _ = watch([["MR", "CT", "MR"]], match={"DICOMSeriesModality": "CT"})

    assert event == {
        "datastore_id": DATASTORE_ID,
        "window": {"start": format_utc(START), "end": format_utc(START + DAY)},
        "count": 1,
    }


def test_what_was_announced_before_is_not_announced_again(watch, store):
    """It is read again, because a search asks for a second more at each end."""
    for _ in range(A_DAY_OF_OTHERS):
        store.put_image_set(DATASTORE_ID, created_at=START - timedelta(milliseconds=1))

    event, _ = watch([[], [], ["CT"]])

    assert (event["count"], event["window"]["start"]) == (1, format_utc(START))
