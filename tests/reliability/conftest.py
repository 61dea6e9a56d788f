"""What cases are played on: one server for all, whose S3 can fail."""

from __future__ import annotations

import signal
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime

import airflow
import boto3
import botocore
import pytest
from cryptography.fernet import Fernet

from airflow_provider_healthimaging.local import LocalServer, airflow_connection, backend
from tests.reliability.cases import SOAK, Case
from tests.reliability.faults import FAULTS
from tests.reliability.play import Outcome, play
from tests.reliability.store import BUCKET, FailingS3, Store
from tests.reporting import report

HANGS = 300
"""Seconds after which a case is said to have no end; it takes less than one, or as long as its sensor waits."""

COLUMNS = ("cases", "searches", "errors", "timeouts", "lost", "repeated", "wrong")
BEGAN = datetime.now(UTC)
TALLY = pytest.StashKey[dict[str, Counter[str]]]()


@pytest.fixture(scope="session")
def failing_s3():
    """The switch by which S3 fails."""
    return FailingS3()


@pytest.fixture(scope="session")
def service(failing_s3):
    """HealthImaging and S3 on one port."""
    with LocalServer(middleware=failing_s3) as running:
        yield running


@contextmanager
def ended_after(seconds):
    """Raise ``TimeoutError`` in what is done within, if it is not done by then."""

    def end(*_):
        raise TimeoutError(f"no end in {seconds} seconds")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def played(service, failing_s3, no_waiting, monkeypatch, pytestconfig):
    """``played(case)`` plays a case on a service that knows nothing of the one before, and counts its outcome."""
    from moto.core.base_backend import BackendDict

    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", airflow_connection(service.url))
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    s3 = boto3.resource("s3", endpoint_url=service.url)
    tally = pytestconfig.stash.setdefault(TALLY, {})

    def run(case: Case) -> Outcome:
        BackendDict.reset()
        bucket = s3.create_bucket(Bucket=BUCKET)
        datastore_id = backend().create_datastore().datastore_id
        with ended_after(HANGS):
            outcome = play(case, Store(failing_s3, bucket, datastore_id))
        counts = tally.setdefault(case.fault, Counter())
        counts.update(cases=1, searches=outcome.whole, errors=outcome.errors, timeouts=outcome.timeouts)
        counts.update(lost=len(outcome.lost), repeated=len(outcome.repeated), wrong=len(outcome.wrong))
        return outcome

    return run


def pytest_terminal_summary(terminalreporter, config):
    """Print what was tried and what came of it, and write it down for docs/reliability.md."""
    tally = config.stash.get(TALLY, {})
    if not tally:
        return
    terminalreporter.section(f"reliability: Airflow {airflow.__version__}, botocore {botocore.__version__}")
    terminalreporter.write_line(f"{'fault':34}" + "".join(f"{column:>10}" for column in COLUMNS))
    for fault in filter(tally.__contains__, FAULTS):
        terminalreporter.write_line(f"{fault:34}" + "".join(f"{tally[fault][column]:>10}" for column in COLUMNS))
    total = sum(tally.values(), Counter())
    terminalreporter.write_line(f"{'together':34}" + "".join(f"{total[column]:>10}" for column in COLUMNS))
    rows = [
        {
            "botocore": botocore.__version__,
            "began": f"{BEGAN:%Y-%m-%d %H:%M}",
            "fault": fault,
            **{c: counts[c] for c in COLUMNS},
        }
        for fault, counts in tally.items()
    ]
    if SOAK:
        report("soak.json", rows, instead_of="began")
    else:
        report("faults.json", rows)
