"""A worker that is killed between the call and the end finds its import job again: one job, and the same records."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from itertools import count
from threading import Event
from types import SimpleNamespace

import pytest
from moto.core.base_backend import BackendDict

from airflow_provider_healthimaging.local import airflow_connection, backend
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingStartDicomImportJobOperator
from tests.dicom_files import ROLE, upload

DATASTORE_ID = "d" * 32
IMAGE_SETS, MOMENTS, SEED = 2, 20, 4711


def attempt(number):
    """Make one attempt, as a worker that knows nothing of the attempts before, and return its records."""
    operator = HealthImagingStartDicomImportJobOperator(
        task_id="import",
        datastore_id=DATASTORE_ID,
        input_s3_uri="s3://image-sets/inbox/",
        output_s3_uri="s3://image-sets/reports/",
        data_access_role_arn=ROLE,
        waiter_delay=0.02,
        waiter_max_attempts=100_000,
        do_xcom_push=False,
    )
    ti = SimpleNamespace(dag_id="nightly", run_id="r", task_id="import", map_index=-1, try_number=number)
    return operator.execute({"ti": ti})


def doomed(url):
    """Make the first attempt in a process of its own."""
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = airflow_connection(url)
    attempt(1)


@pytest.fixture(scope="module")
def processes():
    """Processes that have what a worker has imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["airflow_provider_healthimaging.operators.healthimaging", __name__])
    return context


class Killer:
    """A middleware that kills a process at a certain request, before or after the service has done what it asks for."""

    def __init__(self, app):
        self.app = app
        self.process, self.fatal, self.after = None, 0, False
        self.requests, self.seen = count(1), 0

    def aim(self, process, fatal, after):
        self.last, self.seen = self.seen, 0
        self.process, self.fatal, self.after, self.requests = process, fatal, after, count(1)
        self.started = Event()

    def __call__(self, environ, start_response):
        self.seen = number = next(self.requests)
        if number != self.fatal:
            return self.app(environ, start_response)
        if self.after:
            self.app(environ, lambda *_: None)
        self.started.wait()
        os.kill(self.process.pid, signal.SIGKILL)
        raise ConnectionError


@pytest.fixture
def killer(behind, processes):
    """Return a function that makes the first attempt, killed at a request, and gives its exit code and its requests."""
    made = []

    def middleware(app):
        made.append(Killer(app))
        return made[0]

    server, _ = behind(middleware)

    def run(fatal=0, *, after=False):
        process = processes.Process(target=doomed, args=(server.url,))
        made[0].aim(process, fatal, after)
        process.start()
        made[0].started.set()
        process.join()
        made[0].aim(None, 0, after=False)
        return SimpleNamespace(code=process.exitcode, requests=made[0].last)

    run.server = server
    return run


def test_a_worker_killed_at_any_moment_and_run_again_has_one_job_and_the_same_records(killer, store, bucket, whole):
    def again():
        """An empty data store, and an input."""
        import boto3

        BackendDict.reset()
        local = backend()
        local.create_datastore("tests", datastore_id=DATASTORE_ID)
        local.settings.import_duration = 0.3
        local.settings.import_output_lag = 0.1
        upload(boto3.resource("s3", endpoint_url=killer.server.url).create_bucket(Bucket="image-sets"))
        return local

    again()
    undisturbed = killer()
    assert undisturbed.code == 0
    chosen = random.Random(SEED)

    for _ in range(MOMENTS if whole else 4):
        local = again()
        moment, after = chosen.randint(1, undisturbed.requests), chosen.random() < 0.5
        # The number of polls depends on the clock: an attempt that made fewer requests is killed at the last of them.
        while (ended := killer(moment, after=after)).code == 0:
            assert ended.requests < moment
            local, moment = again(), ended.requests
        assert ended.code == -signal.SIGKILL
        records = attempt(2)

        assert len(local.import_jobs._jobs) == 1, f"killed at request {moment}, after={after}"
        assert [record["version"] for record in records] == [1] * IMAGE_SETS
        assert {record["imageSetId"] for record in records} == {
            image_set.image_set_id for image_set in local.image_sets(DATASTORE_ID)
        }
