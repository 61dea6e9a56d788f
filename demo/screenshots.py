"""Pictures of Airflow's own pages for the documentation: example DAGs in a real Airflow, in a real browser.

Run by ``make screenshots``. It needs Debian's ``chromium``; what it shows are pydicom's DICOM files.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from playwright.sync_api import Page, sync_playwright

from airflow_provider_healthimaging.local import LocalServer, airflow_connection, backend
from airflow_provider_healthimaging.local.dicom import load_dicom, pydicom_sample_files
from tests.deployment import USER, Deployment, metadata_database

REPOSITORY = Path(__file__).resolve().parents[1]
IMAGES = REPOSITORY / "docs" / "images"
DATASTORE_ID = "demo".ljust(32, "0")
HOURLY, TO_S3, BY_NUMBER, ON_ARRIVAL = EXAMPLES = (
    "healthimaging_hourly",
    "healthimaging_to_s3",
    "healthimaging_by_accession_number",
    "healthimaging_on_arrival",
)
MANY = 12_000
"""Image sets in the hour whose search takes long enough to tell of its progress."""
LATENCY = 0.6
"""Seconds that the local service takes to answer."""
ACCESSION_NUMBER = "428"
VIEW = {"width": 1360, "height": 720}


def fill(hour: datetime) -> Any:
    """Let pydicom's files arrive in the hour before ``hour``, and many image sets in the one before that."""
    store = backend()
    store.create_datastore("demo", datastore_id=DATASTORE_ID)
    load_dicom(pydicom_sample_files(), DATASTORE_ID, backend=store, created_at=hour - timedelta(minutes=30))
    for number in range(MANY):
        at = hour - timedelta(hours=2) + timedelta(hours=1) * number / MANY
        store.put_image_set(DATASTORE_ID, created_at=at, dicom_tags={"DICOMSeriesModality": "CT"})
    store.settings.latency = LATENCY
    return store


@contextmanager
def airflow(url: str, home: Path) -> Iterator[Deployment]:
    """Run Airflow with the examples that are to be seen."""
    dags = home / "dags"
    dags.mkdir()
    for name in EXAMPLES:
        shutil.copy(REPOSITORY / "example_dags" / f"{name}.py", dags)
    environment = {
        "AIRFLOW_CONN_AWS_DEFAULT": airflow_connection(url),
        "AIRFLOW_VAR_HEALTHIMAGING_DATASTORE_ID": DATASTORE_ID,
        "AIRFLOW_VAR_HEALTHIMAGING_BUCKET": "image-sets",
        "AIRFLOW_VAR_SECRET_OF_ORDER": ACCESSION_NUMBER,
        "HEALTHIMAGING_DATASTORE_ID": DATASTORE_ID,
        "AIRFLOW__API__INSTANCE_NAME": "Airflow",
        "PYTHONWARNINGS": "ignore",
    }
    with metadata_database(home) as database:
        triggerer = {"triggerer": ("triggerer", "--skip-serve-logs")}
        deployment = Deployment(home, database, dags, environment, triggerer)
        try:
            deployment.launch()
            yield deployment
        finally:
            deployment.stop()


def run(deployment: Deployment, dag_id: str, when: datetime | None) -> str:
    """Run a DAG, or take the run that the scheduler made, and return the run's id once it has succeeded."""
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


def picture(
    page: Page, deployment: Deployment, name: str, path: str, *words: str, height: int = 0, keys: str = ""
) -> None:
    """Write ``docs/images/<name>.png`` of a page once it shows ``words``, and after ``keys`` were pressed."""
    page.set_viewport_size({**VIEW, "height": height or VIEW["height"]})
    page.goto(deployment.url + path)
    for word in words:
        page.get_by_text(word).first.wait_for(timeout=60_000)
    page.wait_for_load_state("networkidle")
    for key in keys:
        # In a log, "w" wraps lines.
        page.keyboard.press(key)
    page.mouse.move(0, 0)
    page.screenshot(path=IMAGES / f"{name}.png", animations="disabled")
    print(f"docs/images/{name}.png: {(IMAGES / f'{name}.png').stat().st_size // 1024} KB")


def take_all(page: Page, deployment: Deployment, store: Any, hour: datetime) -> None:
    """Run what is to be seen, and take the pictures."""
    for _ in range(3):
        store.put_image_set(DATASTORE_ID)
    mapped = quote(run(deployment, HOURLY, hour))
    masked = quote(run(deployment, BY_NUMBER, None))
    logged = quote(run(deployment, TO_S3, hour - timedelta(hours=1)))
    picture(page, deployment, "mapped-tasks", f"/dags/{HOURLY}/runs/{mapped}/tasks/process/mapped", "process")
    picture(
        page,
        deployment,
        "rendered-template",
        f"/dags/{BY_NUMBER}/runs/{masked}/tasks/search/rendered_templates",
        "search_criteria",
        height=900,
    )
    picture(page, deployment, "task-log", f"/dags/{TO_S3}/runs/{logged}/tasks/search", "handed on through", keys="w")
    of_the_asset = "SELECT id FROM asset WHERE name = 'healthimaging_arrivals'"
    deployment.wait_for(lambda: deployment.rows("SELECT 1 FROM asset_event"), "an event of the asset", seconds=240)
    asset = deployment.rows(of_the_asset)[0][0]
    picture(page, deployment, "asset-graph", f"/assets/{asset}", ON_ARRIVAL)


def main() -> None:
    """Start everything, and end it."""
    # So that being told to end still ends what was started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chromium = shutil.which("chromium")
    if not chromium:
        raise SystemExit("chromium is not on PATH: apt-get install chromium")
    os.environ.update(AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing", AWS_DEFAULT_REGION="us-east-1")
    hour = (datetime.now(UTC) - timedelta(minutes=2)).replace(minute=0, second=0, microsecond=0)
    with tempfile.TemporaryDirectory() as home, LocalServer(port=0) as server:
        import boto3

        boto3.client("s3", endpoint_url=server.url).create_bucket(Bucket="image-sets")
        store = fill(hour)
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        with airflow(server.url, Path(home)) as deployment, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=options)
            context = browser.new_context(viewport=VIEW, color_scheme="light", timezone_id="UTC")
            token = httpx.post(f"{deployment.url}/auth/token", json={"username": USER, "password": USER}).json()
            context.add_cookies([{"name": "_token", "value": token["access_token"], "url": deployment.url}])
            try:
                take_all(context.new_page(), deployment, store, hour)
            finally:
                browser.close()


if __name__ == "__main__":
    main()
