"""The log of a run reads as a story: which window and why, what is searched, how far it is, what was found."""

from __future__ import annotations

import functools
import itertools
import re
from datetime import UTC, datetime, timedelta

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_healthimaging.operators import search as operator
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.search import pages
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor
from airflow_provider_healthimaging.triggers.healthimaging import HealthImagingImageSetTrigger

from .evidence import AIRFLOW_3_0

DATASTORE_ID = "d" * 32
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
WORDS = ("Window", "Waiting", "Searching", "Read", "An earlier attempt", "Not there yet", r"Found \d+")
WINDOW = r"Window \[2026-03-01T11:00:00Z, 2026-03-01T12:00:00Z\), by rule [23]: .*"
SEARCHING = "Searching data store d{32} by createdAt; filters on nothing; match on nothing."


@pytest.fixture
def story(request, run_dag, capfd):
    """``story(make)`` runs the task that ``make()`` makes, and returns the run and what it tells."""

    def told(make, run=run_dag):
        with DAG(request.node.name, schedule="@hourly", start_date=NOON - timedelta(days=1), catchup=False) as dag:
            make()
        done = run(dag, NOON)
        return done, said(capfd)

    return told


def said(capfd):
    """Return the task's own lines; Airflow puts time and level before each, and what it knows of it behind.

    ``dag.test()`` of Airflow 3.0 prints each of them twice in a row.
    """
    printed = re.sub(r"\x1b\[[0-9;]*m", "", "".join(capfd.readouterr()))
    line = re.compile(rf"(?:\] |INFO - )((?:{'|'.join(WORDS)})\b.*?)(?:\s+\[airflow\S*\].*|\s+loc=.*)?$")
    told = [found[1] for each in printed.splitlines() if (found := line.search(each.rstrip()))]
    return [each for each, _ in itertools.groupby(told)] if AIRFLOW_3_0 else told


def tells(lines, *story):
    """Whether the lines are those of the story, each a pattern."""
    return [*map(bool, map(re.fullmatch, story, lines))] == [True] * len(story) and len(lines) == len(story)


def put(store, count, **tags):
    for second in range(count):
        store.put_image_set(DATASTORE_ID, created_at=NOON - timedelta(hours=1) + second * SECOND, dicom_tags=tags)


def find(**arguments):
    return HealthImagingSearchImageSetsOperator(task_id="find", datastore_id=DATASTORE_ID, **arguments)


def test_a_search_tells_window_rule_attributes_and_result_and_no_value(store, story):
    put(store, 2, DICOMPatientId="PAT-4711", DICOMSeriesModality="CT")
    put(store, 1, DICOMPatientId="PAT-4711", DICOMSeriesModality="XA")
    criteria = {"filters": [{"values": [{"DICOMPatientId": "PAT-4711"}], "operator": "EQUAL"}]}

    run, lines = story(lambda: find(search_criteria=criteria, match={"DICOMSeriesModality": "CT"}))

    assert tells(
        lines,
        WINDOW,
        "Searching data store d{32} by createdAt; filters on DICOMPatientId; match on DICOMSeriesModality.",
        r"Found 2 image sets \(read: 3, calls: 1, seconds: [0-9.]+\). Result: XCom.",
    )
    summary = run.xcom("find", "summary")
    assert "PAT-4711" not in f"{lines} {summary}"
    assert summary["rule"] in lines[0]
    assert summary["filters"] == ["DICOMPatientId"]
    assert summary["match"] == ["DICOMSeriesModality"]
    assert (summary["image_sets"], summary["read"], summary["calls"], summary["output"]) == (2, 3, 1, "XCom")


def test_long_reading_tells_image_sets_calls_part_of_the_window_and_rate(store, story, monkeypatch):
    monkeypatch.setattr(pages, "PROGRESS_LOG_SECONDS", 0)
    put(store, 120)

    _, lines = story(lambda: find(max_workers=1))

    assert tells(
        lines,
        WINDOW,
        SEARCHING,
        r"Read 50 image sets in 1 calls, 1% of the window; \d+ image sets/s.",
        r"Read 100 image sets in 2 calls, 3% of the window; \d+ image sets/s.",
        r"Read 120 image sets in 3 calls, 100% of the window; \d+ image sets/s.",
        r"Found 120 image sets \(read: 120, calls: 3, .*",
    )


def test_what_is_told_of_progress_comes_every_ten_seconds():
    assert pages.PROGRESS_LOG_SECONDS == 10


def test_a_retry_that_goes_on_tells_what_was_there(store, bucket, request, run_dag, clear_and_run, capfd, monkeypatch):
    put(store, 5)
    with DAG(request.node.name, schedule="@hourly", start_date=NOON - timedelta(days=1), catchup=False) as dag:
        find(s3_uri="s3://image-sets/", rows_per_file=2)
    with monkeypatch.context() as patch:
        patch.setattr(S3Hook, "load_string", dies_at_the_manifest(S3Hook.load_string))
        first = run_dag(dag, NOON)
    assert first.states("find") == ["failed"]
    said(capfd)

    clear_and_run(dag, first)

    assert tells(
        said(capfd),
        WINDOW,
        SEARCHING,
        "An earlier attempt finished 2 parts. Only the rest of the window is searched.",
        r"Found 5 image sets \(read: \d, calls: 1, .*\). Result: s3://image-sets/window=.*/.",
    )


def dies_at_the_manifest(load):
    def dying(self, text, key, *arguments, **more):
        if key.endswith("_manifest.json"):
            raise OSError("The machine is gone.")
        return load(self, text, key, *arguments, **more)

    return dying


class OneSecondBeforeNoon(datetime):
    """A clock that says first that the window is not over, and then the time."""

    asked = False

    @classmethod
    def now(cls, tz=None):
        before, cls.asked = not cls.asked, True
        return NOON - SECOND if before else datetime.now(tz)


def test_a_search_that_waits_for_its_window_tells_until_when(store, story, monkeypatch):
    monkeypatch.setattr(OneSecondBeforeNoon, "asked", False)
    monkeypatch.setattr(operator, "datetime", OneSecondBeforeNoon)

    _, lines = story(lambda: find(delay=timedelta(0), deferrable=True))

    assert tells(
        [line for line in lines if "for moment" not in line],
        WINDOW,
        r"Waiting until 2026-03-01T12:00:00Z: the window's end and a delay of 0:00:00.",
        WINDOW,
        SEARCHING,
        r"Found 0 image sets \(read: 0, calls: 1, .*\). Result: XCom.",
    )


def test_a_deferred_sensor_tells_what_it_waits_for(store, story, monkeypatch):
    start = datetime.now(UTC) - timedelta(minutes=1)
    arrive = functools.cache(lambda: store.put_image_set(DATASTORE_ID))
    age = functools.cache(lambda image_set_id: store.update_image_set(DATASTORE_ID, image_set_id, updated_at=start))
    look = HealthImagingImageSetTrigger._poll

    def poll(trigger):
        """It arrives before the first search, and was not changed for long before the second."""
        row = arrive()
        status = look(trigger)
        age(row.image_set_id)
        return status

    monkeypatch.setattr(HealthImagingImageSetTrigger, "_poll", poll)

    def wait():
        HealthImagingImageSetSensor(
            task_id="wait",
            datastore_id=DATASTORE_ID,
            window_start=start,
            open_ended=True,
            quiet_period=30 * SECOND,
            poke_interval=0.01,
            timeout=60,
            deferrable=True,
        )

    run, lines = story(wait)

    assert run.states("wait") == ["success"]
    awaited = r"1 image set\(s\) with createdAt in \[.*\), unchanged for 0:00:30, in data store d{32}."
    assert re.fullmatch(f"Not there yet: {awaited}", lines[0])
    assert tells(lines[-3:], r"Window \[.*", "Searching data store .*", r"Found 1 image sets .*")
