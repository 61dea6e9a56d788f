"""A run that somebody starts by hand, without a date, searches the schedule's last complete period."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import airflow
import pytest
from airflow.providers.common.compat.sdk import DAG
from packaging.version import Version

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor

from .starting import trigger_by_command_line, trigger_by_rest

pytestmark = pytest.mark.skipif(
    Version(airflow.__version__) < Version("3.0.0.dev0"), reason="Airflow 2 gives every run a date"
)

DATASTORE_ID = "d" * 32
DAY = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TWENTY_PAST_TWO = DAY + timedelta(hours=14, minutes=20)


@pytest.fixture
def hourly(request, register):
    """An hourly DAG that Airflow knows, with an operator and a sensor."""
    with DAG(request.node.name, schedule="@hourly", start_date=DAY, catchup=False) as dag:
        HealthImagingSearchImageSetsOperator(task_id="find", datastore_id=DATASTORE_ID, delay=0)
        HealthImagingImageSetSensor(task_id="wait", datastore_id=DATASTORE_ID)
    register(dag)
    return dag


def the_hour_before(moment):
    end = moment.replace(minute=0, second=0, microsecond=0)
    return end - HOUR, end


def window(run, task_id="find"):
    searched = run.xcom(task_id, "summary")["window"]
    return datetime.fromisoformat(searched["start"]), datetime.fromisoformat(searched["end"])


def test_a_run_that_the_command_line_starts_searches_the_last_complete_period(store, hourly, clear_and_run):
    before = the_hour_before(datetime.now(UTC))
    triggered = trigger_by_command_line(hourly, "by_hand")
    for start in {before[0], the_hour_before(datetime.now(UTC))[0]}:
        store.put_image_set(DATASTORE_ID, created_at=start)

    run = clear_and_run(hourly, triggered)

    assert window(run) == window(run, "wait")
    # The hour may end while the run is started.
    assert window(run) in (before, the_hour_before(datetime.now(UTC)))


def test_a_task_that_the_command_line_tests_searches_the_last_complete_period(store, hourly, capfd):
    from airflow.cli.cli_parser import get_parser
    from airflow.cli.commands.task_command import task_test

    before = the_hour_before(datetime.now(UTC))
    task_test(get_parser().parse_args(["tasks", "test", hourly.dag_id, "find"]), dag=hourly)

    start, end, rule = re.search(r"Window \[(\S+), (\S+)\), by (rule \d)", "".join(capfd.readouterr())).groups()
    searched = datetime.fromisoformat(start), datetime.fromisoformat(end)
    assert searched in (before, the_hour_before(datetime.now(UTC)))
    assert rule == "rule 6"


def test_a_run_that_rest_starts_searches_the_same_window_again_when_it_is_cleared(store, hourly, clear_and_run):
    store.put_image_set(DATASTORE_ID, created_at=the_hour_before(TWENTY_PAST_TWO)[0])

    first = clear_and_run(hourly, trigger_by_rest(hourly, "by_rest", TWENTY_PAST_TWO))
    again = clear_and_run(hourly, first)

    assert again.task("find").try_number == 2
    assert window(first) == window(again) == window(again, "wait") == the_hour_before(TWENTY_PAST_TWO)
    assert again.xcom("find") == first.xcom("find") == again.xcom("wait") != []
