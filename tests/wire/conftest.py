"""What the wire tests share: a service that can be made to fail, and retries that cost no time."""

import logging
from contextlib import ExitStack

import botocore
import pytest
from airflow import __version__ as airflow_version

from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.local import LocalServer, airflow_connection


def pytest_report_collectionfinish():
    """Say which botocore the results are about: what it sends and how it reads differ by version."""
    return f"wire tests: botocore {botocore.__version__}, Airflow {airflow_version}"


@pytest.fixture(autouse=True)
def no_retry_takes_time(no_waiting):
    """Let retries cost no time in all of these tests."""


@pytest.fixture
def behind(store, monkeypatch):
    """Return a function that puts a middleware before the service, and gives its server and a hook on it."""
    with ExitStack() as servers:

        def start(middleware, **hook_arguments):
            server = servers.enter_context(LocalServer(middleware=middleware))
            monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", airflow_connection(server.url, "us-east-1"))
            return server, HealthImagingHook(**hook_arguments)

        yield start


@pytest.fixture
def logged(caplog, capfd, monkeypatch):
    """Return a function that gives all that was logged at INFO: Airflow 3 writes, Airflow 2 uses Python's logging."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(logging.getLogger("airflow.task"), "propagate", True)
    return lambda: caplog.text + "".join(capfd.readouterr())
