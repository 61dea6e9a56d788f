"""Outlets: those of which Airflow keeps events get the summary, and no outlet fails a task whose result is there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import airflow
import pytest
from airflow.providers.common.compat.lineage.entities import File
from airflow.providers.common.compat.sdk import DAG, Asset, AssetAlias
from packaging.version import Version

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor
from airflow_provider_healthimaging.task import delivery

AIRFLOW_3 = Version(airflow.__version__) >= Version("3.0.0.dev0")
DATASTORE_ID = "d" * 32
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def operator(**arguments):
    HealthImagingSearchImageSetsOperator(task_id="find", datastore_id=DATASTORE_ID, **arguments)


def sensor(**arguments):
    HealthImagingImageSetSensor(task_id="find", datastore_id=DATASTORE_ID, **arguments)


@pytest.fixture
def dag(request, opened):
    name = request.node.name.replace("[", "-").replace("]", "")
    return opened.enter_context(DAG(name, schedule="@hourly", start_date=NOON, catchup=False))


@pytest.mark.parametrize("s3", [{}, {"s3_uri": "s3://image-sets/"}], ids=["xcom", "s3"])
@pytest.mark.parametrize("make", [operator, sensor])
def test_outlets_that_are_no_assets_are_left_alone_and_assets_beside_them_get_the_summary(
    make, s3, store, bucket, dag, run_dag, asset_events
):
    store.put_image_set(DATASTORE_ID, created_at=NOON - timedelta(minutes=1))
    asset = Asset(f"s3://image-sets/{dag.dag_id}")
    make(outlets=[File(url="s3://image-sets/file"), asset, AssetAlias("an-alias")], **s3)

    run = run_dag(dag, NOON)

    assert run.states("find") == ["success"]
    assert [event.extra for event in asset_events(dag)] == [run.xcom("find", "summary")]
    assert run.xcom("find", "summary")["image_sets"] == 1


@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow has references to assets from 3.0 on")
def test_a_reference_to_an_asset_gets_the_summary(store, dag, register, run_dag, asset_events):
    uri = f"s3://image-sets/{dag.dag_id}"
    with DAG(f"{dag.dag_id}-consumer", schedule=[Asset(uri)], start_date=NOON) as consumer:
        pass
    register(consumer)
    operator(outlets=[Asset.ref(uri=uri)])

    run = run_dag(dag, NOON)

    assert run.states("find") == ["success"]
    assert [event.extra for event in asset_events(dag)] == [run.xcom("find", "summary")]


def test_an_outlet_that_cannot_be_told_does_not_fail_the_task(store, dag, run_dag, monkeypatch):
    tell, told = delivery._tell_outlet, []

    def tell_as_if_airflow_did_not_answer(task, context, outlet, summary):
        told.append(outlet)
        tell(task, {"outlet_events": {}}, outlet, summary)

    monkeypatch.setattr(delivery, "_tell_outlet", tell_as_if_airflow_did_not_answer)
    operator(outlets=[Asset(f"s3://image-sets/{dag.dag_id}")])

    run = run_dag(dag, NOON)

    assert run.states("find") == ["success"]
    assert len(told) == 1
