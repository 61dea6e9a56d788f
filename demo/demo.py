"""From DICOM files in S3 to pictures of what they became, by example DAGs in a real Airflow, on pydicom's real files.

Run by ``make demo``. Airflow's home is ``.airflow`` in this repository, made anew each time; nothing else is touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
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


def upload(bucket: Any, day: datetime) -> int:
    """Put pydicom's files where the import of a day looks for them; return how many."""
    from airflow_provider_healthimaging.local.dicom import pydicom_sample_files

    files = pydicom_sample_files()
    for number, file in enumerate(files):
        bucket.upload_file(str(file), f"inbox/{day:%Y-%m-%d}/{number:04}.dcm")
    return len(files)


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


def show_import(console: Any) -> None:
    """Print what the import job did, as its report says."""
    summary = xcoms("healthimaging_import_daily")["import"]["summary"]
    console.rule("[bold]healthimaging_import_daily")
    console.print(f"scanned    {summary['scanned']} files")
    console.print(f"imported   {summary['imported']} files, as {summary['image_sets']} image sets, one a series")
    console.print(f"failed     {summary['failed']} files {summary['failed_by_type'] or ''}")


def show_copies(console: Any) -> None:
    """Print which window the run searched and why, and what it copied to S3."""
    pushed = xcoms("healthimaging_contact_sheet")
    summary = pushed["search"]["summary"]
    window = summary["window"]
    console.rule("[bold]healthimaging_contact_sheet")
    console.print(f"window     {window['start']} to {window['end']}, the end not included")
    console.print(f"why        {summary['rule']}")
    console.print(f"found      {summary['image_sets']} image sets in {summary['calls']} call(s)")
    for copied in pushed["copy"]["summary"]:
        console.print(f"copied     {copied}")


def show_bucket(console: Any, bucket: Any) -> None:
    """Print what lies in S3, by the folder and by the end of the name."""
    from rich.table import Table

    sizes: dict[tuple[str, str], list[int]] = {}
    for stored in bucket.objects.all():
        name = stored.key.rpartition("/")[2]
        kind = name if name.startswith("_") else name.partition(".")[2]
        sizes.setdefault((stored.key.partition("/")[0], kind), []).append(stored.size)
    table = Table("folder", "kind", "objects", "bytes")
    for (folder, kind), each in sorted(sizes.items()):
        table.add_row(folder, kind, str(len(each)), f"{sum(each):,}")
    console.print(table)


def main() -> None:
    """Set up, run, show."""
    started = time.monotonic()
    prepare_airflow()
    import boto3
    from rich.console import Console

    from airflow_provider_healthimaging.local import LocalServer, airflow_connection, backend
    from demo.contact_sheet import draw_sheet

    console = Console(highlight=False, width=150)
    # The delay of a minute that the search keeps to its window's end is over by then.
    hour = (datetime.now(UTC) - timedelta(minutes=2)).replace(minute=0, second=0, microsecond=0)
    midnight = hour.replace(hour=0)
    with LocalServer(port=0) as server:
        os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = airflow_connection(server.url)
        bucket = boto3.resource("s3", endpoint_url=server.url).Bucket(BUCKET)
        bucket.create()
        store = backend()
        store.create_datastore("demo", datastore_id=DATASTORE_ID)
        # So that what is imported now arrives in the hour that is searched.
        store.clock = lambda: hour - timedelta(minutes=30)
        files = upload(bucket, midnight - timedelta(days=1))
        console.print(f"local HealthImaging and S3 at {server.url}: {files} DICOM files of pydicom are in S3")
        console.print("setting up Airflow's database ...")
        airflow("db", "migrate")
        for dag_id, when in (("healthimaging_import_daily", midnight), ("healthimaging_contact_sheet", hour)):
            console.print(f"running {dag_id} for {when.isoformat()} ...")
            airflow("dags", "test", dag_id, when.isoformat())
        show_import(console)
        show_copies(console)
        show_bucket(console, bucket)
        pictures = draw_sheet(bucket, HOME / "pictures")
    console.rule()
    console.print(f"the first frame of each image set   {pictures.relative_to(REPOSITORY)}/contact-sheet.png")
    console.print(f"the pictures one by one             {pictures.relative_to(REPOSITORY)}/")
    console.print(f"Airflow's home, logs included       {HOME.relative_to(REPOSITORY)}/")
    console.print("how it is done                      example_dags/healthimaging_contact_sheet.py, docs/export.md")
    console.print(f"done in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
