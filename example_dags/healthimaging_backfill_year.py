"""Use this to catch up on a year: weekly windows, one mapped task for each, and one dataset in the end.

Create the pool first. It keeps the searches of all workers together within the account's quota of calls: ``airflow
pools set healthimaging 4 "calls of SearchImageSets at a time"``; docs/scaling.md says how many slots it needs. The
year and the number of windows are parameters of the run. The Airflow Variables ``healthimaging_datastore_id`` and
``healthimaging_bucket`` name the data store and the bucket. Their defaults are what ``python -m
airflow_provider_healthimaging.local serve --bucket image-sets`` creates.
"""

from datetime import UTC, datetime

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from airflow_provider_healthimaging.manifest import join_manifests
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.window import TimeWindow

WORKERS = 2
S3_URI = "s3://{{ var.value.get('healthimaging_bucket', 'image-sets') }}/backfill/"

with DAG(
    "healthimaging_backfill_year",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    params={"year": 2025, "windows": 52},
    max_active_runs=1,
    default_args={"retries": 3},
):

    @task
    def windows(year: str, number: str) -> list[dict[str, str]]:
        """Split the year into windows that touch."""
        whole = TimeWindow(datetime(int(year), 1, 1, tzinfo=UTC), datetime(int(year) + 1, 1, 1, tzinfo=UTC))
        return [{f"window_{edge}": at for edge, at in each.to_dict().items()} for each in whole.split(int(number))]

    search = HealthImagingSearchImageSetsOperator.partial(
        task_id="search",
        datastore_id="{{ var.value.get('healthimaging_datastore_id', 'local' ~ '0' * 27) }}",
        s3_uri=S3_URI,
        max_workers=WORKERS,
        pool="healthimaging",
        pool_slots=WORKERS,
        map_index_template="{{ task.window_start }}",
    ).expand_kwargs(windows("{{ params.year }}", "{{ params.windows }}"))

    @task
    def join(datasets: list[dict], s3_uri: str) -> dict:
        """Write one manifest that lists the parts of all windows."""
        return join_manifests(S3Hook(), [dataset["manifest"] for dataset in datasets], s3_uri)

    join(search.output, S3_URI)
