"""A watermark is moved by a task, as docs/events.md says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import airflow
import pytest
from packaging.version import Version

from airflow_provider_healthimaging.triggers.watermark import WATERMARK_KEY

pytestmark = pytest.mark.skipif(
    Version(airflow.__version__) < Version("3.3.0.dev0"), reason="Airflow has the asset state store from 3.3 on"
)

PAGE = Path(__file__).parents[2] / "docs" / "events.md"


def test_the_task_on_the_page_writes_what_the_watcher_reads(tmp_path, parse, register, run_dag):
    from airflow.models.asset_state_store import AssetStateStoreModel
    from airflow.utils.session import create_session

    blocks = re.findall(r'```python title="Airflow 3.3"\n(.*?)```', PAGE.read_text(), re.DOTALL)
    dags = {}
    for number, block in enumerate(blocks):
        (tmp_path / f"page_{number}.py").write_text(block)
        dags |= parse(tmp_path / f"page_{number}.py")
    for dag in dags.values():
        register(dag)

    run = run_dag(dags["start_again"], None)

    assert run.state == "success"
    with create_session() as session:
        kept = session.query(AssetStateStoreModel).filter_by(key=WATERMARK_KEY).all()
        # Tests of the same process may have left the watermarks of other assets.
        assert {"start": "2026-01-01T00:00:00Z"} in [json.loads(each.value) for each in kept]
