"""What the wire tests share: a service that can be made to fail, and retries that cost no time."""

import logging
from contextlib import ExitStack

import botocore
import pytest
from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import DAG
from cryptography.fernet import Fernet

from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.local import LocalServer, airflow_connection
from airflow_provider_healthimaging.search.rendered import shown

from .wrong_values import CANARY, PRIVATE


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


@pytest.fixture
def fernet_key(monkeypatch):
    """Let Airflow have a key, with which deferred tasks keep what may be patient data."""
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())


@pytest.fixture(scope="module", params=[False, True], ids=["text", "native"])
def environment(request):
    """Jinja as Airflow sets it up for a DAG."""
    dag = DAG("every_argument", schedule=None, render_template_as_native_obj=request.param)
    return dag.get_template_env()


@pytest.fixture
def only_our_errors(all_text):
    """``only_our_errors(name, value, call)`` makes the call, and collects what must not be; it fails at the end."""
    raw = []

    def check(name, value, call):
        try:
            return call()
        except HealthImagingError as error:
            text = all_text(error)
            if not str(error) or (name in PRIVATE and (CANARY in text or error.__cause__ or error.__context__)):
                raw.append(f"{name}={shown(value)}: shown or chained: {text}")
        except BaseException as error:  # noqa: BLE001 - that is what is looked for
            raw.append(f"{name}={shown(value)}: {error!r:.300}")
        return None

    yield check
    assert raw == []
