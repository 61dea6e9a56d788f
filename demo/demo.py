"""The example DAGs in a real Airflow, on the real DICOM files of pydicom, with what happened printed for a person.

Run by ``make demo``. Airflow's home is ``.airflow`` in this repository, made anew each time; nothing else is touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
HOME = REPOSITORY / ".airflow"
DATASTORE_ID = "demo".ljust(32, "0")
BUCKET = "image-sets"


def prepare_airflow() -> None:
    """Give Airflow an empty home, and the example DAGs."""
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    os.environ.update(
        AIRFLOW_HOME=str(HOME),
        AIRFLOW__CORE__DAGS_FOLDER=str(REPOSITORY / "example_dags"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW_VAR_HEALTHIMAGING_DATASTORE_ID=DATASTORE_ID,
        AIRFLOW_VAR_HEALTHIMAGING_BUCKET=BUCKET,
        AWS_ACCESS_KEY_ID="testing",
        AWS_SECRET_ACCESS_KEY="testing",
        AWS_DEFAULT_REGION="us-east-1",
        PYTHONWARNINGS="ignore",
    )


def load_samples(hour: datetime) -> str:
    """Let pydicom's files arrive one after the other in the hour before ``hour``; say what came."""
    from airflow_provider_healthimaging.local import backend
    from airflow_provider_healthimaging.local.dicom import load_dicom, pydicom_sample_files

    store = backend()
    store.create_datastore("demo", datastore_id=DATASTORE_ID)
    files = pydicom_sample_files()
    read = 0
    for number, file in enumerate(files):
        arrival = hour - timedelta(hours=1) + timedelta(hours=1) * number / len(files)
        read += load_dicom([file], DATASTORE_ID, backend=store, created_at=arrival).files_read
    return f"{read} DICOM files made {len(store.image_sets(DATASTORE_ID))} image sets, one a series"


def airflow(*arguments: str) -> None:
    """Run Airflow's command line, its output in a file; show the end of it and stop if it fails."""
    log = HOME / f"{'-'.join(arguments[:3]).replace('/', '-')}.log"
    with log.open("w") as output:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments], stdout=output, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        print(log.read_text()[-4000:])
        raise SystemExit(f"airflow {' '.join(arguments)} failed; the whole output is in {log}")


def xcoms(dag_id: str) -> dict[str, dict[str, Any]]:
    """Return what the DAG's tasks pushed: by task, by key; of mapped tasks a list."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    pushed: dict[str, dict[str, Any]] = {}
    with create_session() as session:
        for row in session.query(XComModel).filter_by(dag_id=dag_id).order_by(XComModel.map_index):
            value = XComModel.deserialize_value(row)
            if row.map_index < 0:
                pushed.setdefault(row.task_id, {})[row.key] = value
            else:
                pushed.setdefault(row.task_id, {}).setdefault(row.key, []).append(value)
    return pushed


def show_run(console: Any, dag_id: str) -> dict[str, dict[str, Any]]:
    """Print which window a run searched, why, and what it cost."""
    pushed = xcoms(dag_id)
    summary = pushed["search"]["summary"]
    window = summary["window"]
    console.rule(f"[bold]{dag_id}")
    console.print(f"window     {window['start']} to {window['end']}, the end not included")
    console.print(f"why        {summary['rule']}")
    console.print(
        f"found      {summary['image_sets']} image sets in {summary['calls']} call(s), to {summary['output']}"
    )
    return pushed


def show_records(console: Any, pushed: dict[str, dict[str, Any]]) -> None:
    """Print the records, and what the task that was mapped over them returned."""
    from rich.table import Table

    table = Table("image set", "version", "created", "updated", "what the mapped task did")
    results = pushed.get("process", {}).get("return_value", [])
    for record, result in zip(pushed["search"]["return_value"], results, strict=True):
        table.add_row(
            record["imageSetId"],
            str(record["version"]),
            record["createdAt"][11:],
            record["updatedAt"][11:],
            str(result),
        )
    console.print(table)


def show_bucket(console: Any, url: str) -> None:
    """Print what lies in S3, and the first record of it."""
    import boto3
    from pyarrow.parquet import read_table
    from rich.table import Table

    table = Table("key", "bytes")
    first = None
    for stored in boto3.resource("s3", endpoint_url=url).Bucket(BUCKET).objects.all():
        table.add_row(stored.key, str(stored.size))
        if stored.key.endswith("part-00000.parquet"):
            first = read_table(BytesIO(stored.get()["Body"].read())).slice(0, 1).to_pylist()[0]
    console.print(table)
    console.print("first record", first)


def main() -> None:
    """Set up, run, show."""
    started = time.monotonic()
    prepare_airflow()
    import boto3
    from rich.console import Console

    from airflow_provider_healthimaging.local import LocalServer, airflow_connection

    console = Console(highlight=False, width=150)
    # The delay of a minute that the search keeps to its window's end is over by then.
    hour = (datetime.now(UTC) - timedelta(minutes=2)).replace(minute=0, second=0, microsecond=0)
    with LocalServer(port=0) as server:
        os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = airflow_connection(server.url)
        boto3.client("s3", endpoint_url=server.url).create_bucket(Bucket=BUCKET)
        console.print(f"local HealthImaging and S3 at {server.url}: {load_samples(hour)}")
        console.print("setting up Airflow's database ...")
        airflow("db", "migrate")
        for dag_id in ("healthimaging_hourly", "healthimaging_to_s3"):
            console.print(f"running {dag_id} for {hour.isoformat()} ...")
            airflow("dags", "test", dag_id, hour.isoformat())
        show_records(console, show_run(console, "healthimaging_hourly"))
        show_run(console, "healthimaging_to_s3")
        show_bucket(console, server.url)
    console.print(f"done in {time.monotonic() - started:.0f} s; Airflow's home, logs included, is {HOME.name}/")


if __name__ == "__main__":
    main()
