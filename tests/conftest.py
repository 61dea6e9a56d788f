"""What all tests share: an Airflow home of their own, and a local HealthImaging and S3 over HTTP."""

from __future__ import annotations

import functools
import gc
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Airflow 3.3 reads the whole folder of DAGs anew before every ``dag.test()``, so there are none in it.
_HOME = tempfile.TemporaryDirectory(prefix="airflow-home-")
_NO_DAGS = Path(_HOME.name, "dags")
_NO_DAGS.mkdir()
os.environ.update(
    AIRFLOW_HOME=_HOME.name,
    AIRFLOW__CORE__DAGS_FOLDER=str(_NO_DAGS),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__LOGGING__LOGGING_LEVEL="INFO",
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_EC2_METADATA_DISABLED="true",
)

# Airflow reads its home when it is imported, so the imports come after.
import airflow.exceptions  # noqa: E402
import boto3  # noqa: E402
import botocore.session  # noqa: E402
import pytest  # noqa: E402
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook  # noqa: E402
from botocore.hooks import EventAliaser  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from airflow_provider_healthimaging.aws import rate_limit, streams, truncated_responses  # noqa: E402
from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook  # noqa: E402
from airflow_provider_healthimaging.local import LocalServer, airflow_connection, backend  # noqa: E402
from airflow_provider_healthimaging.triggers import polling  # noqa: E402

# The same examples in each run, and a busy machine is no reason to fail.
settings.register_profile(
    "steady",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")

DATASTORE_ID = "d" * 32

# What of Airflow, amazon's provider and botocore is used although it will go away, by the text of the warning.
KNOWN_DEPRECATIONS = [
    "Accessing '.*' from the template is deprecated",  # a test shows the whole context, all of Airflow 2's names in it
    "Timer and timing metrics publish in seconds were deprecated",  # Airflow 2.11 says it of its own default
]


def pytest_addoption(parser):
    """Tests that take long check a part of their cases, unless all are asked for."""
    parser.addoption("--whole", action="store_true", help="all cases of the tests that take long: see `whole`")


@pytest.fixture(scope="session")
def whole(pytestconfig):
    """Whether to check all cases, and not only enough to see a promise broken."""
    return pytestconfig.getoption("whole")


@pytest.fixture(scope="session", autouse=True)
def no_search_of_the_stack():
    """Amazon's hook reads the source of every frame for its ``User-Agent``; below pytest, that takes 0.2 seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AwsGenericHook, "_get_caller", lambda *_: "Unknown")
        yield


@pytest.fixture(autouse=True)
def no_secrets_of_earlier_tests():
    """Airflow compiles one expression of all secrets for each new one. A task's process has only its own."""
    for name, module in [*sys.modules.items()]:
        if name.endswith("secrets_masker") and hasattr(module, "_secrets_masker"):
            masker = module._secrets_masker()
            masker.patterns, masker.replacer = set(), None


def pytest_configure(config):
    """Turn the deprecation warnings of Airflow, amazon's provider and botocore into errors.

    Not in pyproject.toml, where a category is imported before Airflow has the home of the tests.
    """
    categories = ("AirflowProviderDeprecationWarning", "RemovedInAirflow3Warning", "RemovedInAirflow4Warning")
    for name in categories:
        if hasattr(airflow.exceptions, name):
            config.addinivalue_line("filterwarnings", f"error::airflow.exceptions.{name}")
    config.addinivalue_line("filterwarnings", r"error::DeprecationWarning:(airflow_provider_healthimaging|boto).*")
    for text in KNOWN_DEPRECATIONS:
        config.addinivalue_line("filterwarnings", f"ignore:{text}:DeprecationWarning")


BUCKET = "image-sets"

# Files that take long, the longest first: a worker that began one of them at the end would leave the others idle.
LONG = (
    *("code_blocks", "no_patient_data", "import_no_patient_data", "every_argument", "every_setting", "sensor"),
    *("every_argument_of_imports", "import_job"),
    *("reliability", "backfill_example", "schedules", "dataset", "import_once", "operator"),
)


def pytest_collection_modifyitems(items):
    """Run the files that take long first."""
    rank = {f"test_{name}.py": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.fixture(scope="session", autouse=True)
def no_search_for_garbage_in_airflow():
    """Python looks through everything that Airflow has loaded, again and again: a seventh of the time of a DAG run."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(scope="session", autouse=True)
def one_loader():
    """Let botocore read its service descriptions and names of events once, and not for every session and client."""
    alias = EventAliaser._alias_event_name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", functools.cache(botocore.session.create_loader))
        known = functools.cache(lambda name: alias(EventAliaser(None), name))
        patch.setattr(EventAliaser, "_alias_event_name", lambda _, name: known(name))
        yield


@pytest.fixture(scope="session")
def server():
    """HealthImaging and S3 on one port of this machine."""
    with LocalServer(port=0) as running:
        yield running


@pytest.fixture(autouse=True)
def new_clients_for_triggers(monkeypatch):
    """Let no trigger find the client of another test, whose server is gone, and end its calls before the next test."""
    monkeypatch.setattr(polling, "_hook_cache", {})
    threads = ThreadPoolExecutor(polling.MAX_POLLS)
    monkeypatch.setattr(polling, "_threads", threads)
    yield
    threads.shutdown(cancel_futures=True)


@pytest.fixture
def no_waiting(monkeypatch):
    """Let retries cost no time: ours, and those of botocore's standard, adaptive and legacy modes."""
    from botocore import retryhandler
    from botocore.retries import standard

    monkeypatch.setattr(truncated_responses, "MAX_BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(rate_limit, "MAX_BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(streams, "MAX_BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", lambda *_: 0.0)
    monkeypatch.setattr(retryhandler, "delay_exponential", lambda *_, **__: 0.0)


@pytest.fixture
def store(server, monkeypatch):
    """The local backend with one empty data store, and Airflow's default AWS connection pointing at it."""
    from moto.core.base_backend import BackendDict

    BackendDict.reset()
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", airflow_connection(server.url, "us-east-1"))
    local = backend()
    local.create_datastore("tests", datastore_id=DATASTORE_ID)
    server.calls.reset()
    return local


@pytest.fixture
def hook(store):
    """A hook on the local service."""
    return HealthImagingHook()


@pytest.fixture(scope="session")
def s3_resource(server):
    """The local S3 as a boto3 resource."""
    return boto3.resource("s3", endpoint_url=server.url)


@pytest.fixture
def bucket(s3_resource, store):
    """An empty S3 bucket on the local service, as a boto3 resource."""
    return s3_resource.create_bucket(Bucket=BUCKET)


@pytest.fixture(scope="session")
def all_text():
    """Return the text of an exception and of everything that it is chained to, suppressed or not."""

    def text(error):
        chain, todo = [], [error]
        while todo:
            each = todo.pop()
            if each is not None and all(each is not known for known in chain):
                chain.append(each)
                todo += [each.__cause__, each.__context__]
        return "\n".join(f"{each}\n{each!r}\n{getattr(each, '__notes__', '')}" for each in chain)

    return text
