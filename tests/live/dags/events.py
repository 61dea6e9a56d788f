"""DAGs that watchers start: one that hands on what arrives, one whose start is measured, one of ten watchers."""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, AssetAny, AssetWatcher

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.triggers.healthimaging import HealthImagingNewImageSetsTrigger

HANDED_ON, MEASURED, SHARED = os.environ["LIVE_EVENT_DATASTORES"].split(",")
WATCHERS = 10


def watched(name: str, **arguments: object) -> Asset:
    return Asset(name, watchers=[AssetWatcher(name=name, trigger=HealthImagingNewImageSetsTrigger(**arguments))])


# No retry has to be waited for: tasks die with the scheduler that runs them.
with DAG(
    "hand_on",
    schedule=[watched("handed_on", datastore_id=HANDED_ON, delay=3, poke_interval=2)],
    default_args={"retries": 9, "retry_delay": timedelta(seconds=1)},
):
    HealthImagingSearchImageSetsOperator(task_id="search", datastore_id=HANDED_ON, delay=0, max_xcom_items=5000)

with DAG("measure", schedule=[watched("measured", datastore_id=MEASURED, delay=30, poke_interval=15)]):
    EmptyOperator(task_id="nothing")

shared = [
    watched(
        f"shared_{number}",
        datastore_id=SHARED,
        search_criteria={"filters": [{"operator": "EQUAL", "values": [{"DICOMAccessionNumber": f"A-{number}"}]}]},
        delay=2,
        poke_interval=2,
        aws_conn_id="aws_shared",
    )
    for number in range(WATCHERS)
]

with DAG("share", schedule=AssetAny(*shared)):
    EmptyOperator(task_id="nothing")
