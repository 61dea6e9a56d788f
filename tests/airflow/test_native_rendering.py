"""Templates in real runs: with native rendering, and where what they refer to is not there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor

DATASTORE_ID = "d" * 32
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ELEVEN = NOON - timedelta(hours=1)


def equal(number):
    return {"filters": [{"operator": "EQUAL", "values": [{"DICOMAccessionNumber": number}]}]}


def dag(name, *, native):
    return DAG(name, schedule="@hourly", start_date=NOON, catchup=False, render_template_as_native_obj=native)


def ids(records):
    return [record["imageSetId"] for record in records]


@pytest.fixture
def numbered(store):
    """Two image sets whose accession numbers are digits."""
    return {
        number: store.put_image_set(
            DATASTORE_ID, created_at=ELEVEN, dicom_tags={"DICOMAccessionNumber": number}
        ).image_set_id
        for number in ("4711", "0012")
    }


@pytest.mark.parametrize("number", ["4711", "0012"])
@pytest.mark.parametrize("native", [True, False], ids=["native", "text"])
def test_an_accession_number_of_digits_is_searched_for_as_it_is(native, number, numbered, run_dag):
    with dag(f"accession_{native}_{number}", native=native) as made:

        @task
        def choose():
            return number

        chosen = choose()
        pulled = "{{ ti.xcom_pull(task_ids='choose') | tojson }}" if native else "{{ ti.xcom_pull(task_ids='choose') }}"
        by_output = HealthImagingSearchImageSetsOperator(
            task_id="by_output", datastore_id=DATASTORE_ID, search_criteria=equal(chosen)
        )
        by_template = HealthImagingImageSetSensor(
            task_id="by_template", datastore_id=DATASTORE_ID, search_criteria=equal(pulled)
        )
        chosen >> [by_output, by_template]

    run = run_dag(made, NOON)

    assert ids(run.xcom("by_output")) == ids(run.xcom("by_template")) == [numbered[number]]


def test_a_page_token_that_is_not_there_does_not_start_at_the_beginning_again(store, server, run_dag, failures):
    store.put_image_set(DATASTORE_ID, created_at=ELEVEN)
    with dag("token", native=False) as made:
        HealthImagingSearchImageSetsOperator(
            task_id="find",
            datastore_id=DATASTORE_ID,
            pagination_config={"MaxItems": 1, "StartingToken": "{{ ti.xcom_pull(task_ids='find', key='next_token') }}"},
            retries=2,
            retry_delay=timedelta(0),
            **failures.callbacks,
        )

    run = run_dag(made, NOON)

    assert run.states("find") == ["failed"]
    assert run.task("find").try_number == 1
    assert isinstance(failures[0], InvalidArgumentError)
    assert "pagination_config rendered to 'None'" in str(failures[0])
    assert server.calls.count() == 0


def test_a_proxy_of_an_edge_that_is_not_there_leaves_the_runs_own(store, run_dag):
    with dag("proxy", native=True) as made:
        HealthImagingSearchImageSetsOperator(
            task_id="find", datastore_id=DATASTORE_ID, window_start="{{ prev_start_date_success }}"
        )

    run = run_dag(made, NOON)

    assert run.states("find") == ["success"]
    assert run.xcom("find", "summary")["window"]["start"] == "2026-03-01T11:00:00Z"
