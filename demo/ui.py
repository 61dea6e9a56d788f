"""The demo in Airflow's own pages: ``make demo-ui``. It runs until Ctrl-C, and deletes all of it then."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from demo.common import (
    CONTACT_SHEET,
    IMPORT,
    deployed_airflow,
    download,
    end_when_told,
    fill_inbox,
    last_hour,
    local_service,
    run,
)
from demo.contact_sheet import write_sheet

if TYPE_CHECKING:
    from tests.deployment import Deployment

TO_TRY = ("healthimaging_hourly", "healthimaging_metadata", "healthimaging_to_s3")
ENVIRONMENT = {
    "AIRFLOW__API__INSTANCE_NAME": "HealthImaging demo",
    # No login. The API server listens on 127.0.0.1 only.
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    # A search that ran before the import would find nothing.
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
}
say = partial(print, flush=True)


def unpause(deployment: Deployment, dag_id: str) -> None:
    """Let the scheduler run a DAG."""
    changed = httpx.patch(f"{deployment.url}/api/v2/dags/{dag_id}", json={"is_paused": False})
    changed.raise_for_status()


def wait_for_import(deployment: Deployment) -> str:
    """Wait until the scheduler's run for yesterday has imported the files, and return the run's id."""
    of_import = "SELECT run_id, state FROM task_instance WHERE dag_id = :dag AND task_id = 'import'"

    def ended() -> Any:
        found = deployment.rows(of_import, dag=IMPORT)
        return found and found[0].state in {"success", "failed"} and found[0]

    task = deployment.wait_for(ended, "the import", seconds=240)
    assert task.state == "success", "the import failed"
    return str(task.run_id)


def play(deployment: Deployment, bucket: Any, hour: datetime, home: Path) -> None:
    """Import, search, copy and draw; say where to look."""
    known = "SELECT count(*) AS number FROM dag"
    every = len((IMPORT, CONTACT_SHEET, *TO_TRY))
    deployment.wait_for(lambda: deployment.rows(known)[0].number == every, "the DAGs")
    say(f"\nAirflow is ready: {deployment.url}\nIt needs no login, and only this machine reaches it.\n")
    say(f"running {IMPORT}: the DICOM files of yesterday, from S3 into the data store ...")
    unpause(deployment, IMPORT)
    imported = f"{deployment.url}/dags/{IMPORT}/runs/{quote(wait_for_import(deployment))}/tasks"
    say(f"running {CONTACT_SHEET}: what arrived in the last full hour, to S3, with pictures ...")
    unpause(deployment, CONTACT_SHEET)
    searched = f"{deployment.url}/dags/{CONTACT_SHEET}/runs/{quote(run(deployment, CONTACT_SHEET, hour))}/tasks"
    download(bucket, home / "s3")
    page = write_sheet(home / "s3" / "pictures")
    say("\nWhat to look at next:")
    say(f"  the log of the import job         {imported}/import")
    say(f"  which window was searched, why    {searched}/search")
    say(f"  the copies, one task for each 50  {searched}/copy/mapped")
    say(f"  the first frame of each copy      {page}")
    say(f"  the copies                        {home / 's3' / 'image-sets'}")
    say(f"Trigger these yourself, with the logical date {hour:%Y-%m-%d %H:%M} UTC: {', '.join(TO_TRY)}.")
    say("Press Ctrl-C to stop. This deletes everything, the copies too.")


def main() -> None:
    """Start everything, and end it."""
    end_when_told()
    hour = last_hour()
    with suppress(KeyboardInterrupt), TemporaryDirectory(prefix="healthimaging-demo-") as folder:
        home = Path(folder)
        with local_service() as (url, store, bucket):
            files = fill_inbox(store, bucket, hour)
            say(f"local HealthImaging and S3 at {url}: {files} DICOM files of pydicom are in S3")
            say("starting Airflow ...")
            with deployed_airflow(url, home, (IMPORT, CONTACT_SHEET, *TO_TRY), **ENVIRONMENT) as deployment:
                play(deployment, bucket, hour, home)
                deployment.wait_for(lambda: False, "Ctrl-C", seconds=float("inf"))
    say("stopped")


if __name__ == "__main__":
    main()
