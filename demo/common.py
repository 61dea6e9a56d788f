"""What the demos share: the local service, an Airflow that runs example DAGs on it, and what the DAGs leave in S3."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.deployment import Deployment

REPOSITORY = Path(__file__).resolve().parents[1]
DATASTORE_ID = "demo".ljust(32, "0")
BUCKET = "image-sets"
INBOX = "inbox/"
IMPORT, CONTACT_SHEET = "healthimaging_import_daily", "healthimaging_contact_sheet"


def last_hour() -> datetime:
    """Return the end of the last full hour. A search of it need not wait: its delay of a minute is over."""
    return (datetime.now(UTC) - timedelta(minutes=2)).replace(minute=0, second=0, microsecond=0)


@contextmanager
def local_service() -> Iterator[tuple[str, Any, Any]]:
    """Run HealthImaging with an empty data store, and S3 with an empty bucket; yield URL, backend and bucket."""
    import boto3

    from airflow_provider_healthimaging.local import LocalServer, backend

    os.environ.update(AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing", AWS_DEFAULT_REGION="us-east-1")
    with LocalServer(port=0) as server:
        bucket = boto3.resource("s3", endpoint_url=server.url).Bucket(BUCKET)
        bucket.create()
        store = backend()
        store.create_datastore("demo", datastore_id=DATASTORE_ID)
        yield server.url, store, bucket


def fill_inbox(store: Any, bucket: Any, hour: datetime) -> int:
    """Put pydicom's DICOM files where the import of the day before looks for them; return how many.

    What is imported then arrives in the hour before ``hour``.
    """
    from airflow_provider_healthimaging.local.dicom import pydicom_sample_files

    store.clock = lambda: hour - timedelta(minutes=30)
    day, files = hour - timedelta(days=1), pydicom_sample_files()
    for number, file in enumerate(files):
        bucket.upload_file(str(file), f"{INBOX}{day:%Y-%m-%d}/{number:04}.dcm")
    return len(files)


def download(bucket: Any, folder: Path) -> None:
    """Save what the DAGs wrote to S3, because the local service forgets it at its end."""
    for stored in bucket.objects.all():
        if not stored.key.startswith(INBOX):
            path = folder / stored.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(stored.get()["Body"].read())


def settings(url: str) -> dict[str, str]:
    """Return the environment variables with which example DAGs use the local service at ``url``."""
    from airflow_provider_healthimaging.local import airflow_connection

    return {
        "AIRFLOW_CONN_AWS_DEFAULT": airflow_connection(url),
        "AIRFLOW_VAR_HEALTHIMAGING_BUCKET": BUCKET,
        "AIRFLOW_VAR_HEALTHIMAGING_DATASTORE_ID": DATASTORE_ID,
        "HEALTHIMAGING_DATASTORE_ID": DATASTORE_ID,
        "PYTHONWARNINGS": "ignore",
    }


def end_when_told() -> None:
    """Let an interrupt, a request to end or a closed terminal raise ``KeyboardInterrupt``; then ignore all three."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def end(*_: object) -> None:
        # So that nothing stops the stopping.
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in signals:
        signal.signal(number, end)


@contextmanager
def deployed_airflow(url: str, home: Path, examples: tuple[str, ...], **environment: str) -> Iterator[Deployment]:
    """Run scheduler, triggerer, DAG processor and API server with some examples; nothing of them is left in the end."""
    from tests.deployment import Deployment

    dags = home / "dags"
    dags.mkdir()
    for name in examples:
        shutil.copy(REPOSITORY / "example_dags" / f"{name}.py", dags)
    triggerer = {"triggerer": ("triggerer", "--skip-serve-logs")}
    deployment = Deployment(home, f"sqlite:///{home}/airflow.db", dags, settings(url) | environment, triggerer)
    try:
        deployment.launch()
        yield deployment
    except AssertionError:
        for name, tail in deployment.tails():
            print(f"--- end of {name}.log ---\n{tail}")
        raise
    finally:
        print("stopping Airflow ...", flush=True)
        deployment.stop()


def run(deployment: Deployment, dag_id: str, when: datetime | None) -> str:
    """Run a DAG, or take the run that the scheduler made, and return the run's id once it has succeeded."""
    import httpx

    deployment.wait_for(lambda: deployment.rows("SELECT 1 FROM dag WHERE dag_id = :dag", dag=dag_id), dag_id)
    runs = f"/api/v2/dags/{dag_id}/dagRuns"
    with suppress(httpx.HTTPStatusError):
        deployment.post(runs, logical_date=when and when.isoformat(), conf={})
    of_that_time = {"logical_date_gte": when.isoformat(), "logical_date_lte": when.isoformat()} if when else {}

    def ended() -> Any:
        found = deployment.get(runs, **of_that_time)["dag_runs"]
        return found and found[-1]["state"] in {"success", "failed"} and found[-1]

    last = deployment.wait_for(ended, f"the end of {dag_id}", seconds=240)
    assert last["state"] == "success", dag_id
    return str(last["dag_run_id"])
