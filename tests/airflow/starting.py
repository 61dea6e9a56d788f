"""Runs that people start: with Airflow's command line, and with its REST API, as the web interface does, too."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any

from .conftest import Run


def trigger_by_command_line(dag: Any, run_id: str) -> Run:
    """Start a run with ``airflow dags trigger``, without a date."""
    from airflow.cli.cli_parser import get_parser

    arguments = get_parser().parse_args(["dags", "trigger", dag.dag_id, "--run-id", run_id, "--output", "json"])
    arguments.func(arguments)
    return Run(dag.dag_id, run_id, None, "queued", {}, {})


def trigger_by_rest(dag: Any, run_id: str, run_after: datetime) -> Run:
    """Start a run with ``POST /api/v2/dags/.../dagRuns``, with ``logical_date: null``."""
    body = {"dag_run_id": run_id, "logical_date": None, "run_after": run_after.isoformat()}
    answer = _rest_api().post(f"/api/v2/dags/{dag.dag_id}/dagRuns", json=body)
    assert answer.status_code == 200, answer.text
    return Run(dag.dag_id, run_id, None, "queued", {}, {})


@cache
def _rest_api() -> Any:
    """Return a client of Airflow's own web application, which runs in this process."""
    from airflow.api_fastapi.app import create_app
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi.testclient import TestClient

    app = create_app(apps="core")
    token = app.state.auth_manager.generate_jwt(SimpleAuthManagerUser(username="admin", role="ADMIN"))
    return TestClient(app, headers={"Authorization": f"Bearer {token}"})
