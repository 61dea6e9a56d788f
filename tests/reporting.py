"""What a suite has counted, kept for the tables of docs/reliability.md."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from airflow import __version__ as airflow_version


def report(name: str, rows: list[dict[str, Any]]) -> None:
    """Write rows to ``name`` in ``RELIABILITY_REPORT_DIR``, beside those of other versions of Airflow, if it is set."""
    folder = os.environ.get("RELIABILITY_REPORT_DIR")
    if not folder:
        return
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(path.read_text()) if path.exists() else []
    others = [row for row in kept if row["airflow"] != airflow_version]
    path.write_text(json.dumps([*others, *({**row, "airflow": airflow_version} for row in rows)], indent=2) + "\n")
