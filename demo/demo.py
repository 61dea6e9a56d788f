"""From DICOM files in S3 to pictures of what they became, by example DAGs in a real Airflow, on pydicom's real files.

Run by ``make demo``. Airflow's home is ``.airflow`` in this repository, made anew each time; nothing else is touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from demo.common import (
    CONTACT_SHEET,
    IMPORT,
    REPOSITORY,
    download,
    fill_inbox,
    last_hour,
    local_service,
    settings,
)
from demo.contact_sheet import write_sheet

HOME = REPOSITORY / ".airflow"


def prepare_airflow(home: Path, url: str) -> None:
    """Give Airflow an empty home, the example DAGs, and the local service at ``url``."""
    home.mkdir()
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        del os.environ[name]  # settings of another Airflow, such as its database
    os.environ.update(
        AIRFLOW_HOME=str(home),
        AIRFLOW__CORE__DAGS_FOLDER=str(REPOSITORY / "example_dags"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        **settings(url),
    )


def airflow(home: Path, *arguments: str) -> None:
    """Run Airflow's command line, its output in a file; show the end of it and stop if it fails."""
    log = home / f"{'-'.join(arguments[:3]).replace('/', '-')}.log"
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
    summary = xcoms(IMPORT)["import"]["summary"]
    console.rule(f"[bold]{IMPORT}")
    console.print(f"scanned    {summary['scanned']} files")
    console.print(f"imported   {summary['imported']} files, as {summary['image_sets']} image sets, one a series")
    console.print(f"failed     {summary['failed']} files {summary['failed_by_type'] or ''}")


def show_copies(console: Any) -> None:
    """Print which window the run searched and why, and what it copied to S3."""
    pushed = xcoms(CONTACT_SHEET)
    summary = pushed["search"]["summary"]
    window = summary["window"]
    console.rule(f"[bold]{CONTACT_SHEET}")
    console.print(f"window     {window['start']} to {window['end']}, the end not included")
    console.print(f"why        {summary['rule']}")
    console.print(f"found      {summary['image_sets']} image sets in {summary['calls']} call(s)")
    for task in pushed["copy"]["summary"]:
        size = f"{task['objects']} objects, {task['bytes'] / 1e6:.1f} MB, in {task['seconds']:.1f} s"
        console.print(f"copied     {task['image_sets']} image sets to {task['output']}: {size}")


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


def run_dags(console: Any, home: Path, hour: datetime) -> None:
    """Run the import of the day before, and then the search of the hour before."""
    console.print("setting up Airflow's database ...")
    airflow(home, "db", "migrate")
    for dag_id, when in ((IMPORT, hour.replace(hour=0)), (CONTACT_SHEET, hour)):
        console.print(f"running {dag_id} for {when.isoformat()} ...")
        airflow(home, "dags", "test", dag_id, when.isoformat())


def show_next(console: Any, home: Path, page: Path) -> None:
    """Print where to look."""
    console.rule("[bold]what to look at next")
    for what, where in (
        ("the first frame of each image set", os.path.relpath(page)),
        ("the copies, as they were in S3", os.path.relpath(home / "s3" / "image-sets")),
        ("what Airflow printed", os.path.relpath(home) + "/*.log"),
        ("how it is done", f"example_dags/{IMPORT}.py, example_dags/{CONTACT_SHEET}.py, docs/export.md"),
        ("the same in Airflow's own pages", "make demo-ui"),
    ):
        console.print(f"{what:<35} {where}")


def main(home: Path) -> None:
    """Set up, run, show."""
    started = time.monotonic()
    from rich.console import Console

    console = Console(highlight=False, width=150)
    hour = last_hour()
    with local_service() as (url, store, bucket):
        prepare_airflow(home, url)
        files = fill_inbox(store, bucket, hour)
        console.print(f"local HealthImaging and S3 at {url}: {files} DICOM files of pydicom are in S3")
        run_dags(console, home, hour)
        show_import(console)
        show_copies(console)
        show_bucket(console, bucket)
        download(bucket, home / "s3")
    page = write_sheet(home / "s3" / "pictures")
    console.print(f"done in {time.monotonic() - started:.0f} s")
    show_next(console, home, page)


if __name__ == "__main__":
    if sys.argv[1:]:
        main(Path(sys.argv[1]).resolve())  # a new folder
    else:
        shutil.rmtree(HOME, ignore_errors=True)
        main(HOME)
