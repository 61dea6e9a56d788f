"""Pictures of Airflow's own pages for the documentation: example DAGs in a real Airflow, in a real browser.

Run by ``make screenshots``. It needs Debian's ``chromium``; what it shows are pydicom's DICOM files.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from playwright.sync_api import Page, sync_playwright

from demo.common import (
    CONTACT_SHEET,
    DATASTORE_ID,
    IMPORT,
    REPOSITORY,
    deployed_airflow,
    end_when_told,
    fill_inbox,
    last_hour,
    local_service,
    run,
)
from tests.deployment import USER

if TYPE_CHECKING:
    from tests.deployment import Deployment

IMAGES = REPOSITORY / "docs" / "images"
HOURLY, TO_S3, BY_NUMBER, ON_ARRIVAL, *_ = EXAMPLES = (
    "healthimaging_hourly",
    "healthimaging_to_s3",
    "healthimaging_by_accession_number",
    "healthimaging_on_arrival",
    IMPORT,
    CONTACT_SHEET,
)
MANY = 12_000
"""Image sets in the hour whose search takes long enough to tell of its progress."""
LATENCY = 0.6
"""Seconds that the local service takes to answer."""
ENVIRONMENT = {
    "AIRFLOW_VAR_SECRET_OF_ORDER": "428",  # an accession number
    "AIRFLOW__API__INSTANCE_NAME": "Airflow",
    # A search that ran before the import would find nothing.
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
}
VIEW = {"width": 1360, "height": 720}


def fill(store: Any, hour: datetime) -> None:
    """Let many image sets arrive in the hour before the last one."""
    for number in range(MANY):
        at = hour - timedelta(hours=2) + timedelta(hours=1) * number / MANY
        store.put_image_set(DATASTORE_ID, created_at=at, dicom_tags={"DICOMSeriesModality": "CT"})
    store.settings.latency = LATENCY


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
        page.keyboard.press(key)
    page.mouse.move(0, 0)
    page.screenshot(path=IMAGES / f"{name}.png", animations="disabled")
    print(f"docs/images/{name}.png: {(IMAGES / f'{name}.png').stat().st_size // 1024} KB")


def take_all(page: Page, deployment: Deployment, store: Any, hour: datetime, clock: Callable[[], datetime]) -> None:
    """Run what is to be seen, and take the pictures."""
    deployment.unpause(IMPORT)
    imported = quote(run(deployment, IMPORT, hour))
    store.clock = clock
    for name in EXAMPLES:
        deployment.unpause(name)
    for _ in range(3):
        store.put_image_set(DATASTORE_ID)
    mapped = quote(run(deployment, HOURLY, hour))
    masked = quote(run(deployment, BY_NUMBER, None))
    logged = quote(run(deployment, TO_S3, hour - timedelta(hours=1)))
    copied = quote(run(deployment, CONTACT_SHEET, hour))
    # "w" wraps the lines of this log and of those after it.
    picture(page, deployment, "import-log", f"/dags/{IMPORT}/runs/{imported}/tasks/import", "files imported", keys="w")
    mapped_copy = f"/dags/{CONTACT_SHEET}/runs/{copied}/tasks/copy/mapped/0"
    picture(page, deployment, "copy-log", mapped_copy, "are complete in")
    picture(page, deployment, "mapped-tasks", f"/dags/{HOURLY}/runs/{mapped}/tasks/process/mapped", "process")
    picture(
        page,
        deployment,
        "rendered-template",
        f"/dags/{BY_NUMBER}/runs/{masked}/tasks/search/rendered_templates",
        "search_criteria",
        height=900,
    )
    picture(page, deployment, "task-log", f"/dags/{TO_S3}/runs/{logged}/tasks/search", "Found 12000 image sets")
    of_the_asset = "SELECT id FROM asset WHERE name = 'healthimaging_arrivals'"
    deployment.wait_for(lambda: deployment.rows("SELECT 1 FROM asset_event"), "an event of the asset", seconds=240)
    asset = deployment.rows(of_the_asset)[0][0]
    picture(page, deployment, "asset-graph", f"/assets/{asset}", ON_ARRIVAL)


def main() -> None:
    """Start everything, and end it."""
    end_when_told()
    chromium = shutil.which("chromium")
    if not chromium:
        raise SystemExit("chromium is not on PATH: apt-get install chromium")
    hour = last_hour()
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with tempfile.TemporaryDirectory() as home, local_service() as (url, store, bucket):
        clock = store.clock
        fill_inbox(store, bucket, hour)
        fill(store, hour)
        with deployed_airflow(url, Path(home), EXAMPLES, **ENVIRONMENT) as deployment, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=options)
            context = browser.new_context(viewport=VIEW, color_scheme="light", timezone_id="UTC")
            login = {"username": USER, "password": USER}
            token = httpx.post(f"{deployment.url}/auth/token", json=login, timeout=60).json()
            context.add_cookies([{"name": "_token", "value": token["access_token"], "url": deployment.url}])
            try:
                take_all(context.new_page(), deployment, store, hour, clock)
            finally:
                browser.close()


if __name__ == "__main__":
    main()
