"""The table of docs/windows.md (schedule, Airflow version, run, window) is what real runs do, row by row."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import airflow
import pytest
from airflow.providers.common.compat.sdk import DAG, Asset
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable
from markdown_it import MarkdownIt
from packaging.version import Version

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator

try:
    from airflow.timetables.trigger import CronPartitionTimetable
except ImportError:
    CronPartitionTimetable = None

from .starting import trigger_by_rest

try:
    from airflow.timetables.assets import AssetOrTimeSchedule
except ImportError:
    from airflow.timetables.datasets import DatasetOrTimeSchedule

    def AssetOrTimeSchedule(timetable, assets):  # noqa: N802 - its name in Airflow 3
        return DatasetOrTimeSchedule(timetable=timetable, datasets=assets)


AIRFLOW = Version(Version(airflow.__version__).base_version)
DATASTORE_ID = "d" * 32
DAY = datetime(2026, 3, 1, tzinfo=UTC)
AT_TWO = DAY + timedelta(hours=14)
AT_TWENTY_PAST = AT_TWO + timedelta(minutes=20)
# What Airflow writes into a run that assets started.
STARTED_BY_ASSETS = (
    ((None,), {"run_type": "asset_triggered"})
    if Version("3") <= AIRFLOW
    else (
        (AT_TWENTY_PAST,),
        {
            "run_type": "dataset_triggered",
            "data_interval_start": AT_TWENTY_PAST,
            "data_interval_end": AT_TWENTY_PAST,
        },
    )
)
NAMES = {
    "CronDataIntervalTimetable": CronDataIntervalTimetable,
    "CronPartitionTimetable": CronPartitionTimetable,
    "timedelta": timedelta,
    "AssetOrTimeSchedule": AssetOrTimeSchedule,
    "HOURLY": CronTriggerTimetable("0 * * * *", timezone="UTC"),
    "SCANS": Asset("s3://bucket/scans"),
}


def rows():
    """Return the table's rows: of each cell its text, as it is in the Markdown."""
    page = (Path(__file__).parents[2] / "docs" / "windows.md").read_text()
    cells, found = None, []
    for token in MarkdownIt().enable("table").parse(page):
        if token.type == "tr_open":
            cells = []
        elif token.type == "inline" and cells is not None:
            cells.append(token.content)
        elif token.type == "tr_close":
            found.append(cells)
            cells = None
    return found[1:]


def promised(row):
    """Return what the row says of this version of Airflow; nothing where it says nothing."""
    cell = row[2 if Version("3") > AIRFLOW else 3]
    since = re.search(r"Airflow ([\d.]+)\)", cell)
    return "" if since and Version(since[1]) > AIRFLOW else cell


# An event's window is tested with the example that is about it.
TESTED = [row for row in rows() if promised(row) and not row[1].startswith("by its events")]


@pytest.mark.parametrize("row", TESTED, ids=lambda row: " ".join(row[:2]))
def test_the_window_of_a_run_is_the_one_in_the_table(
    row, store, run_dag, run_scheduled, clear_and_run, register, failures
):
    schedule, how = row[:2]
    name = f"windows_page_{rows().index(row)}"
    with DAG(name, schedule=eval(schedule.strip("`"), NAMES), start_date=DAY, catchup=False) as dag:
        HealthImagingSearchImageSetsOperator(task_id="find", datastore_id=DATASTORE_ID, **failures.callbacks)

    if how == "scheduled":
        (run,) = run_scheduled(dag, after=AT_TWO - timedelta(microseconds=1), until=AT_TWO)
    elif how.startswith("by its asset"):
        run = run_dag(dag, *STARTED_BY_ASSETS[0], **STARTED_BY_ASSETS[1])
    elif "without a date" in how and Version("3") <= AIRFLOW:
        register(dag)
        run = clear_and_run(dag, trigger_by_rest(dag, name, AT_TWENTY_PAST))
    else:
        # Airflow 2 gives a run without a date the time at which it was started.
        run = run_dag(dag, AT_TWENTY_PAST)

    if "error" in promised(row):
        assert type(failures[0].__cause__ or failures[0]).__name__ == "UndeterminedWindowError"
        return
    start, end, rule = re.fullmatch(r"(\S+) to (\S+) \((rule \d).*\)", promised(row)).groups()
    summary = run.xcom("find", "summary")
    assert [datetime.fromisoformat(summary["window"][edge]) for edge in ("start", "end")] == [
        datetime.combine(DAY, time.fromisoformat(at), UTC) for at in (start, end)
    ]
    assert summary["rule"].startswith(rule)


def test_the_table_is_found():
    assert len(rows()) >= 21
    assert len(TESTED) >= 17
