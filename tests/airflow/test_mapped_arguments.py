"""An argument of ``.expand()`` that cannot work fails its mapped task at once, and callbacks are told."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor

DATASTORE_ID = "d" * 32
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SEARCH = {"task_id": "search", "retries": 2, "retry_delay": timedelta(0)}


@pytest.fixture
def dag(request):
    name = re.sub(r"\W", "_", request.node.name)
    return DAG(name, schedule="@hourly", start_date=NOON, catchup=False)


@pytest.mark.parametrize(
    ("kind", "argument", "good", "bad"),
    [
        (HealthImagingSearchImageSetsOperator, "max_workers", 1, 0),
        (HealthImagingSearchImageSetsOperator, "lookback", 0, "{{ params.lookback }}"),
        (HealthImagingSearchImageSetsOperator, "delay", 0, "60"),
        (HealthImagingSearchImageSetsOperator, "on_empty", "succeed", "ignore"),
        (HealthImagingSearchImageSetsOperator, "botocore_config", {}, {"read_timout": 1}),
        (HealthImagingImageSetSensor, "min_image_sets", 1, "one"),
        (HealthImagingImageSetSensor, "poke_interval", 1, -1),
        (HealthImagingImageSetSensor, "timeout", 60, "a day"),
    ],
)
def test_an_argument_of_a_mapped_task_that_cannot_work_fails_it_at_once(
    kind, argument, good, bad, store, dag, run_dag, failures
):
    store.put_image_set(DATASTORE_ID, created_at=NOON - timedelta(minutes=1))
    with dag:
        kind.partial(**SEARCH, datastore_id=DATASTORE_ID, **failures.callbacks).expand(**{argument: [good, bad]})

    run = run_dag(dag, NOON)

    assert run.states("search") == ["success", "failed"]
    assert run.task("search", 1).try_number == 1
    assert failures.retried == []
    (error,) = failures
    assert isinstance(error, InvalidArgumentError)
    assert argument in str(error)


def test_an_unknown_argument_of_a_mapped_task_fails_it_at_once(store, dag, run_dag, failures):
    with dag:
        HealthImagingSearchImageSetsOperator.partial(**SEARCH, **failures.callbacks).expand_kwargs(
            [{"datastore_id": DATASTORE_ID}, {"datastore_id": DATASTORE_ID, "dicom_tag": "x"}]
        )

    run = run_dag(dag, NOON)

    assert run.states("search") == ["success", "failed"]
    assert (run.task("search", 1).try_number, failures.retried) == (1, [])
    assert "has no argument dicom_tag" in str(failures[0])


@pytest.mark.parametrize(
    ("template", "error"),
    [("{{ nope }}", "'nope' is undefined"), ("{{ nope.nope }}", "'nope' is undefined"), ("{{ 1 | }}", "SyntaxError")],
)
@pytest.mark.parametrize("mapped", [True, False])
def test_a_template_that_cannot_be_rendered_fails_a_task_at_once_mapped_or_not(
    template, error, mapped, store, dag, run_dag, failures
):
    common = {**SEARCH, "region_name": template, **failures.callbacks}
    with dag:
        if mapped:
            HealthImagingSearchImageSetsOperator.partial(**common).expand(datastore_id=[DATASTORE_ID])
        else:
            HealthImagingSearchImageSetsOperator(**common, datastore_id=DATASTORE_ID)

    run = run_dag(dag, NOON)

    assert run.states("search") == ["failed"]
    assert run.task("search", 0 if mapped else -1).try_number == 1
    assert [isinstance(each, InvalidArgumentError) for each in (*failures, *failures.retried)] == [True]
    assert "A template of this task cannot be rendered (region_name)" in str(failures[0])
    assert error in str(failures[0])
