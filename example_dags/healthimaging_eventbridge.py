"""Use this to start within a minute or two of an EventBridge event in SQS, and to miss no image set.

One run follows the other. Each run searches what arrived since the run before, and then waits for the next event. The
event is only a reason to search again, because events may be late, repeated or lost. If no event comes for half an
hour, the next run searches anyway. The first run searches from ``start_date`` on.
"""

from datetime import datetime

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

from airflow.providers.amazon.aws.sensors.sqs import SqsSensor

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator

with DAG(
    "healthimaging_eventbridge",
    schedule="@continuous",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
):
    search = HealthImagingSearchImageSetsOperator(
        task_id="search",
        datastore_id="{{ var.value.get('healthimaging_datastore_id', 'local' ~ '0' * 27) }}",
    )

    @task
    def process(image_set: dict) -> str:
        """Handle one image set."""
        return image_set["imageSetId"]

    next_event = SqsSensor(
        task_id="next_event",
        sqs_queue="{{ var.value.get('healthimaging_queue_url', '') }}",
        max_messages=10,
        wait_time_seconds=20,
        mode="reschedule",
        poke_interval=10,
        timeout=30 * 60,
        soft_fail=True,
        do_xcom_push=False,
    )

    process.expand(image_set=search.output)
    search >> next_event
