"""What a suite has counted, kept for the tables of docs/reliability.md."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow import __version__ as airflow_version


def report(name: str, rows: list[dict[str, Any]], instead_of: str = "airflow") -> None:
    """Write rows to ``name`` in ``RELIABILITY_REPORT_DIR``, if it is set.

    Rows that are there are replaced if they have the same value of ``instead_of``, and kept otherwise.
    """
    folder = os.environ.get("RELIABILITY_REPORT_DIR")
    if not folder:
        return
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(path.read_text()) if path.exists() else []
    about = {"airflow": airflow_version, "day": f"{datetime.now(UTC):%Y-%m-%d}"}
    new = [{**row, **about} for row in rows]
    replaced = {row[instead_of] for row in new}
    lines = [json.dumps(row) for row in [*(row for row in kept if row[instead_of] not in replaced), *new]]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
