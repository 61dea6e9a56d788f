"""A copy that is stopped ends soon, says so, and leaves no thread behind."""

from __future__ import annotations

import signal
import threading
import time
from types import SimpleNamespace

import pytest

from airflow_provider_healthimaging.exceptions import ExportFailedError
from airflow_provider_healthimaging.task import export_task
from airflow_provider_healthimaging.transfers.healthimaging_to_s3 import HealthImagingToS3Operator
from tests.copies import EVERYTHING, S3_URI, copy, load, manifests, objects

SOME = ("CT_small.dcm", "MR_small.dcm", "SC_rgb_rle_2frame.dcm", "rtplan.dcm")


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """Compare the threads before and after."""
    yield
    assert [each.name for each in threading.enumerate() if each.name.startswith("export-")] == []


def operator(given, **arguments):
    return HealthImagingToS3Operator(
        **{"task_id": "copy", "image_sets": given, "s3_uri": S3_URI, "content": EVERYTHING, **arguments}
    )


def execute(task):
    pushed = {}
    ti = SimpleNamespace(map_index=-1, xcom_push=lambda key, value: pushed.update({key: value}))
    try:
        return task.execute({"ti": ti}), pushed
    finally:
        assert threading.current_thread() is threading.main_thread()


@pytest.fixture
def throttled(behind, monkeypatch):
    """Return a service that throttles all calls for frames, and what is set at the first of them."""
    asked, answers = threading.Event(), []

    def middleware(app):
        def answer(environ, start_response):
            if not environ["PATH_INFO"].endswith("/getImageFrame"):
                return app(environ, start_response)
            asked.set()
            answers.append(429)
            start_response(
                "429 no", [("x-amzn-ErrorType", "ThrottlingException"), ("Content-Type", "application/json")]
            )
            time.sleep(0.02)
            return [b"{}"]

        return answer

    server, _ = behind(middleware)
    monkeypatch.setattr(export_task, "PROGRESS_LOG_SECONDS", 0.05)
    return SimpleNamespace(server=server, asked=asked, answers=answers)


MANY = {"botocore_config": {"retries": {"total_max_attempts": 500}}}


def test_on_kill_ends_a_copy_as_a_failure_that_a_retry_continues(store, bucket, throttled):
    task = operator(load(store, *SOME), **MANY)
    killer = threading.Thread(target=lambda: (throttled.asked.wait(30), task.on_kill()))
    killer.start()
    with pytest.raises(ExportFailedError, match="was stopped before its end") as stopped:
        execute(task)
    killer.join()
    assert stopped.value.retryable
    task.on_kill()  # nothing runs any more


def test_on_kill_gives_up_a_file_whose_frames_are_to_be_compared(store, bucket, behind):
    tasks = []

    def middleware(app):
        def answer(environ, start_response):
            if "/instances/" in environ["PATH_INFO"]:
                tasks[0].on_kill()
            return app(environ, start_response)

        return answer

    behind(middleware)
    tasks.append(operator(load(store, "CT_small.dcm"), content=["dicom"], verify="checksum"))
    with pytest.raises(ExportFailedError, match="was stopped"):
        execute(tasks[0])
    assert objects(bucket) == {}


class TimedOut(BaseException):
    """As AirflowTaskTimeout, which is no Exception either."""


@pytest.mark.parametrize("error", [TimedOut, KeyboardInterrupt])
def test_an_interruption_ends_retries_too(store, bucket, throttled, error):
    task = operator(load(store, *SOME), **MANY)

    def interrupt(*_):
        raise error

    before = signal.signal(signal.SIGALRM, interrupt)
    waiter = threading.Thread(target=lambda: (throttled.asked.wait(30), signal.setitimer(signal.ITIMER_REAL, 0.1)))
    waiter.start()
    try:
        with pytest.raises(error):
            execute(task)
    finally:
        waiter.join()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    # Without an interruption, the copy ends after all its attempts.
    assert 0 < len(throttled.answers) < 500


def test_a_hook_makes_calls_again_after_a_copy_has_ended(store, bucket):
    given = load(store, "CT_small.dcm")
    task = operator(given)
    execute(task)
    task.hook.get_image_set_metadata(given[0]["datastoreId"], given[0]["imageSetId"])


def test_a_copy_that_was_stopped_goes_on_where_it_was(store, bucket, behind, monkeypatch):
    given = load(store, *SOME)
    copy(given, content=EVERYTHING)
    undisturbed = objects(bucket)
    bucket.objects.all().delete()
    tasks = []

    def middleware(app):
        def answer(environ, start_response):
            if environ["PATH_INFO"].endswith("/getImageFrame"):
                tasks[0].on_kill()
            return app(environ, start_response)

        return answer

    behind(middleware)
    tasks.append(operator(given, max_workers=1))
    with pytest.raises(ExportFailedError, match="was stopped"):
        execute(tasks[0])
    assert len(manifests(bucket)) < len(given)

    tasks[0] = SimpleNamespace(on_kill=lambda: None)
    copy(given, content=EVERYTHING)
    assert objects(bucket) == undisturbed
