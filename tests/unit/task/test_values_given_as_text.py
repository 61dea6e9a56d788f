"""Numbers that are given as text are used as numbers, durations as text are refused, and so are templates that nobody
would render.
"""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta

import airflow
import pytest
from airflow.providers.common.compat.sdk import DAG, task
from packaging.version import Version

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor
from airflow_provider_healthimaging.triggers.healthimaging import (
    HealthImagingImageSetTrigger,
    HealthImagingNewImageSetsTrigger,
)

DATASTORE_ID = "d" * 32
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONTEXT = {"data_interval_start": NOON - HOUR, "data_interval_end": NOON, "ti": None}
WATCHED = Version(airflow.__version__) >= Version("3.3.0.dev0")


def operator(**arguments):
    return HealthImagingSearchImageSetsOperator(
        task_id="find", **{"datastore_id": DATASTORE_ID, "do_xcom_push": False, **arguments}
    )


def sensor(**arguments):
    return HealthImagingImageSetSensor(
        task_id="find", **{"datastore_id": DATASTORE_ID, "do_xcom_push": False, **arguments}
    )


def trigger(**arguments):
    required = {
        "datastore_id": DATASTORE_ID,
        "window_start": None,
        "window_end": None,
        "time_field": None,
        "search_criteria": "{}",
        "match": "{}",
        "min_image_sets": 1,
        "quiet_period": None,
        "poke_interval": 60,
        "deadline": "2026-01-31T12:00:00Z",
    }
    return HealthImagingImageSetTrigger(**{**required, **arguments})


def watcher(**arguments):
    return HealthImagingNewImageSetsTrigger(**{"datastore_id": DATASTORE_ID, **arguments})


@pytest.fixture
def two_image_sets(store):
    for second in range(2):
        store.put_image_set(DATASTORE_ID, created_at=NOON - HOUR + timedelta(seconds=second))


@pytest.mark.parametrize("make", [operator, sensor])
def test_numbers_given_as_text_are_the_numbers_that_are_used(make, two_image_sets):
    more = {"min_image_sets": "2"} if make is sensor else {}
    found = make(max_workers="4", batch_size="2", max_xcom_items="2", rows_per_file="1", **more).execute(CONTEXT)
    assert [len(batch) for batch in found] == [2]


def test_numbers_given_as_text_to_the_hook_are_the_numbers_that_are_used(two_image_sets, hook):
    pages = hook.paginate_image_sets(DATASTORE_ID, pagination_config={"MaxItems": "1", "PageSize": "1"})
    assert len(pages.build_full_result()["imageSetsMetadataSummaries"]) == 1
    assert len(list(hook.search_image_sets(DATASTORE_ID, max_workers="2"))) == 2
    assert hook.count_image_sets(DATASTORE_ID, limit="1") == 1


def test_numbers_given_as_text_to_a_trigger_are_numbers():
    assert trigger(min_image_sets="2").min_image_sets == 2


DURATIONS = [
    (operator, "delay"),
    (operator, "lookback"),
    (sensor, "lookback"),
    (sensor, "quiet_period"),
    (sensor, "poke_interval"),
    (sensor, "timeout"),
    (sensor, "max_wait"),
    (trigger, "quiet_period"),
    (trigger, "poke_interval"),
    *([(watcher, "delay"), (watcher, "poke_interval")] if WATCHED else []),
]


@pytest.mark.parametrize("value", ["60", "PT1M", "1 day", -1, float("nan"), [60], True])
@pytest.mark.parametrize(("make", "name"), DURATIONS)
def test_a_duration_is_refused_at_once_if_it_is_no_timedelta_and_no_number(make, name, value):
    with pytest.raises(InvalidArgumentError, match=f"{name}=.* must be a datetime.timedelta or a number of seconds"):
        make(**{name: value})


@pytest.mark.parametrize("digits", [10, 30, 5000])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (operator, "max_workers"),
        (operator, "batch_size"),
        (operator, "max_xcom_items"),
        (operator, "rows_per_file"),
        (sensor, "min_image_sets"),
        (trigger, "min_image_sets"),
    ],
)
def test_a_number_that_python_itself_cannot_count_to_is_out_of_range(make, name, digits):
    with pytest.raises(InvalidArgumentError, match=f"{name}=.* is out of range. Give a whole number from 1 to"):
        make(**{name: 10**digits})


def not_templates(kind):
    return [name for name in inspect.signature(kind).parameters if name not in {*kind.template_fields, "kwargs"}]


PLAIN = [
    *((operator, name) for name in not_templates(HealthImagingSearchImageSetsOperator)),
    *((sensor, name) for name in not_templates(HealthImagingImageSetSensor)),
    *((sensor, name) for name in ("poke_interval", "timeout", "max_wait", "mode")),
    *((sensor, name) for name in ("soft_fail", "exponential_backoff", "silent_fail", "never_fail")),
]


@pytest.mark.parametrize("value", ["{{ params.value }}", "{% if 1 %}1{% endif %}", {"a": ["{{ b }}"]}])
@pytest.mark.parametrize(("make", "name"), PLAIN)
def test_a_template_in_an_argument_that_is_no_template_field_is_told_when_the_dag_is_parsed(make, name, value):
    with pytest.raises(InvalidArgumentError, match=f"{name} holds a template, .* not a template field"):
        make(**{name: value})


def test_the_output_of_a_task_in_an_argument_that_is_no_template_field_is_told_as_well():
    @task
    def workers():
        return 4

    with DAG("any", schedule=None), pytest.raises(InvalidArgumentError, match="max_workers holds a template"):
        operator(max_workers=workers())


@pytest.mark.skipif(not WATCHED, reason="Airflow has the asset state store from 3.3 on")
@pytest.mark.parametrize("name", ["datastore_id", "time_field", "search_criteria", "match", "start", "region_name"])
def test_a_template_in_a_trigger_of_an_asset_is_told_when_the_dag_is_parsed(name):
    with pytest.raises(InvalidArgumentError, match="Airflow renders no templates of an asset's trigger"):
        watcher(**{name: "{{ var.value.it }}"})


@pytest.mark.parametrize("given", [{"Encryption": "AES256"}, '{"Encryption": "AES256"}', {"Encryption": "{{ x }}"}])
def test_an_argument_that_s3_does_not_know_is_told_when_the_dag_is_parsed(given):
    with pytest.raises(InvalidArgumentError, match="Unknown argument for S3 in s3_extra_args") as caught:
        operator(s3_extra_args=given)
    assert "AES256" not in str(caught.value)


def test_the_text_of_a_template_is_no_argument_of_s3_yet():
    assert operator(s3_extra_args="{{ var.json.s3_arguments }}").s3_extra_args.value == "{{ var.json.s3_arguments }}"
    assert operator(s3_extra_args={"SSEKMSKeyId": "{{ var.value.key }}"}).s3_extra_args.value
