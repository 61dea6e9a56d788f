"""Under each condition, operator, sensor and trigger fail at once or retry, as the error rules say."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from cryptography.fernet import Fernet

from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor
from airflow_provider_healthimaging.triggers import polling
from airflow_provider_healthimaging.triggers.healthimaging import HealthImagingImageSetTrigger
from airflow_provider_healthimaging.window import format_utc
from tests.reporting import report

from .conditions import CONDITIONS, World

DATASTORE_ID = "d" * 32
CANARY = "CANARY-4711"
CRITERIA = {"filters": [{"values": [{"DICOMPatientId": CANARY}], "operator": "EQUAL"}]}
WINDOW = {"window_start": "2026-03-01T11:00:00Z", "window_end": "2026-03-01T12:00:00Z"}
OUTCOMES = {}
ids = pytest.mark.parametrize("condition", CONDITIONS, ids=lambda each: f"{each.group}: {each.name}")


@pytest.fixture
def new_world(store, bucket, server, tmp_path):
    """``new_world(name)`` makes a world without a condition, as a context."""
    store.put_image_set(
        DATASTORE_ID, created_at=datetime(2026, 3, 1, 11, 30, tzinfo=UTC), dicom_tags={"DICOMPatientId": CANARY}
    )

    @contextmanager
    def make(name):
        folder = tmp_path / name
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
            patch.setattr(polling, "_hook_cache", {})
            world = World(patch, folder, server.url)
            with world.servers:
                yield world

    return make


@pytest.fixture
def world(new_world):
    with new_world("only") as made:
        yield made


def task(task_class, **arguments):
    """Return a task whose arguments are checked when it runs, as rendered arguments are."""
    task = task_class(
        task_id="search", do_xcom_push=False, **{"datastore_id": DATASTORE_ID, "search_criteria": CRITERIA, **WINDOW}
    )
    for name, value in arguments.items():
        setattr(task, name, type(getattr(task, name))(value) if name in {"search_criteria", "match"} else value)
    return task


def run(task_class, **arguments):
    task(task_class, **arguments).execute({"ti": SimpleNamespace(map_index=0)})


def test_the_task_succeeds_without_a_condition(world):
    run(HealthImagingSearchImageSetsOperator)
    run(HealthImagingSearchImageSetsOperator, s3_uri="s3://image-sets/arrivals/")


def check_operator(world, all_text, condition):
    condition.arrange(world)
    OUTCOMES[condition] = False

    with pytest.raises(HealthImagingError) as caught:
        run(HealthImagingSearchImageSetsOperator, **condition.arguments)

    text = all_text(caught.value)
    assert isinstance(caught.value, AirflowFailException) is not condition.retry, text
    assert condition.says in str(caught.value)
    assert str(caught.value).endswith((".", ").", "]")), "a message is sentences"
    assert CANARY not in text
    assert "ClientError" not in text
    OUTCOMES[condition] = True


@ids
def test_operator_fails_at_once_or_lets_airflow_retry(world, all_text, condition):
    check_operator(world, all_text, condition)


# One condition of each group and outcome: all of them go through the hook.
SAMPLE = {(each.group, each.retry): each for each in CONDITIONS if each.group not in {"S3", "arguments"}}.values()


@pytest.mark.parametrize("condition", SAMPLE, ids=lambda each: f"{each.group}: {each.name}")
def test_sensor_and_trigger_wait_on_or_fail_as_the_operator_does(world, condition):
    condition.arrange(world)
    sensor = task(HealthImagingImageSetSensor)
    trigger = HealthImagingImageSetTrigger(
        datastore_id=DATASTORE_ID,
        **WINDOW,
        time_field="createdAt",
        search_criteria="{}",
        match="{}",
        min_image_sets=1,
        quiet_period=None,
        poke_interval=0.01,
        deadline=format_utc(datetime.now(UTC) + timedelta(seconds=0 if condition.retry else 60)),
    )

    event = asyncio.run(anext(trigger.run())).payload

    if condition.retry:
        assert sensor.poke({"ti": SimpleNamespace(map_index=0)}) is False
        assert event["status"] == "timeout"
    else:
        with pytest.raises(AirflowFailException) as caught:
            sensor.execute({"ti": SimpleNamespace(map_index=0)})
        assert condition.says in str(caught.value)
        assert event["status"] == "failed"
        assert condition.says in event["error"]


def test_the_outcomes_are_reported_by_group(new_world, all_text):
    """docs/reliability.md shows this table. Conditions that no test before has checked are checked here."""
    for number, condition in enumerate(CONDITIONS):
        if condition not in OUTCOMES:
            with new_world(str(number)) as world:
                check_operator(world, all_text, condition)
    groups = dict.fromkeys(condition.group for condition in CONDITIONS)
    report(
        "errors.json",
        [
            {
                "conditions": group,
                "rows": sum(condition.group == group for condition in CONDITIONS),
                "checked": sum(condition.group == group for condition in OUTCOMES),
                "wrong": sum(condition.group == group and not right for condition, right in OUTCOMES.items()),
                "retried": sum(condition.group == group and condition.retry for condition in OUTCOMES),
            }
            for group in groups
        ],
    )
    assert not [condition.name for condition, right in OUTCOMES.items() if not right]
