"""The example DAGs that wait: for a study, for an event in SQS, and for what an asset's trigger announces."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import airflow
import boto3
import pytest
from packaging.version import Version

from airflow_provider_healthimaging.local.__main__ import DATASTORE_ID
from airflow_provider_healthimaging.triggers.watermark import WATERMARK_KEY
from tests.asset_state import state_store

EXAMPLES = Path(__file__).parents[2] / "example_dags"
HOUR = timedelta(hours=1)


@pytest.fixture
def example(parse):
    """``example(name)`` returns the DAG of that name, from the file of that name."""
    return lambda name: parse(EXAMPLES / f"{name}.py")[name]


@pytest.fixture
def local(store):
    """The data store that the examples search when nothing else is said."""
    store.create_datastore("local", datastore_id=DATASTORE_ID)
    return store


def test_wait_for_study_reports_the_series_of_one_quiet_study(local, example, run_dag, monkeypatch):
    monkeypatch.setenv("AIRFLOW_VAR_SECRET_ACCESSION_NUMBER", "A-1")
    for number in ("A-1", "A-1", "A-2"):
        local.put_image_set(
            DATASTORE_ID, created_at=datetime.now(UTC) - HOUR, dicom_tags={"DICOMAccessionNumber": number}
        )

    run = run_dag(example("healthimaging_wait_for_study"), datetime.now(UTC))

    assert run.xcom("report") == "The study is complete with 2 series."


def test_eventbridge_hands_on_what_arrived_since_the_last_run_and_then_takes_the_next_event(
    local, server, example, run_dag, monkeypatch
):
    queue = boto3.resource("sqs", endpoint_url=server.url).create_queue(QueueName="arrivals")
    queue.send_message(MessageBody='{"detail-type": "Image Set Created"}')
    monkeypatch.setenv("AIRFLOW_VAR_HEALTHIMAGING_QUEUE_URL", queue.url)
    end = datetime.now(UTC) - timedelta(minutes=2)
    arrived = local.put_image_set(DATASTORE_ID, created_at=end - HOUR / 2)
    local.put_image_set(DATASTORE_ID, created_at=end)
    interval = {"data_interval_start": end - HOUR, "data_interval_end": end}

    run = run_dag(example("healthimaging_eventbridge"), end, run_type="scheduled", **interval)

    assert run.states("next_event") == ["success"]
    assert run.xcom("process", map_index=0) == arrived.image_set_id
    assert run.states("process") == ["success"]


@pytest.mark.skipif(
    Version(airflow.__version__) < Version("3.3.0.dev0"), reason="needs Airflow 3.3's asset state store"
)
def test_on_arrival_searches_the_window_that_the_trigger_announced(local, example, run_dag, register, monkeypatch):
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session

    watermark = datetime.now(UTC) - HOUR
    arrived = local.put_image_set(DATASTORE_ID, created_at=watermark + HOUR / 2)
    dag = example("healthimaging_on_arrival")
    asset = dag.timetable.asset_condition
    trigger = asset.watchers[0].trigger

    with monkeypatch.context() as patch:
        state = {WATERMARK_KEY: {"start": watermark.isoformat()}}
        trigger.asset_state_store = state_store(patch, state, "healthimaging_arrivals")
        event = asyncio.run(anext(trigger.run()))
    register(dag)
    with create_session() as session:
        model = session.query(AssetModel).filter_by(name=asset.name).one()
        consumed = AssetEvent(asset_id=model.id, extra={"from_trigger": True, "payload": event.payload})
        session.add(consumed)
        session.flush()
        session.expunge(consumed)
    run = run_dag(dag, None, run_type="asset_triggered", consumed_asset_events=[consumed])

    assert event.payload["count"] == 1
    assert run.xcom("search", "summary")["window"] == event.payload["window"]
    assert run.xcom("process", map_index=0) == f"{arrived.image_set_id}, version 1"
