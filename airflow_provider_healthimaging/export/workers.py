"""Runs jobs that consist of many steps with a fixed number of threads, which all jobs share.

A worker takes a step of a job that has begun, and begins another job only if there is none. So at most as many jobs are
open as there are workers, and memory does not grow with the number of jobs.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from airflow_provider_healthimaging.exceptions import ExportFailedError

Step = Callable[[], None]


class Job(Protocol):
    """Something that is done when all of its steps are."""

    def open(self) -> Sequence[Step]:
        """Begin, and return the steps. They may run at the same time."""

    def finish(self) -> None:
        """End the job; called once after the last step, if no step failed."""

    def fail(self, error: Exception) -> None:
        """Note the error that ended the job; called once. Steps that have not begun are dropped.

        What this raises ends all jobs.
        """


class _OpenJob:
    """A job, and how many of its steps are left."""

    __slots__ = ("failed", "job", "left")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.left = 0
        self.failed = False


class Workers:
    """Threads that run jobs.

    :param jobs: read one at a time, when a worker is free.
    :param max_workers: the number of threads.
    """

    def __init__(self, jobs: Iterator[Job], max_workers: int) -> None:
        """Prepare; :meth:`run` starts the threads."""
        self._jobs = jobs
        self._max_workers = max_workers
        self._ready: deque[tuple[_OpenJob, Step]] = deque()
        self._changed = threading.Condition()
        self._active = 0
        self._error: BaseException | None = None
        self.stopping = threading.Event()

    def run(self, *, every_seconds: float, report: Callable[[], None]) -> None:
        """Run all jobs, and call ``report`` from this thread now and then.

        When this is interrupted, no step begins any more, and the steps that run end first. A long one looks at
        ``stopping``.
        """
        threads = [
            threading.Thread(target=self._work, name=f"export-{number}", daemon=True)
            for number in range(self._max_workers)
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(every_seconds)
                    if thread.is_alive():
                        report()
        finally:
            self._stop()
            for thread in threads:
                if thread.is_alive():
                    thread.join()
        if self._error:
            raise self._error

    def stop(self) -> None:
        """End early; :meth:`run` raises then. A signal handler may call this.

        The steps that run end first.
        """
        self._stop(
            ExportFailedError("The task was stopped before its end. Clear it, and it continues with what is missing.")
        )

    def _stop(self, error: BaseException | None = None) -> None:
        self.stopping.set()
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            while (work := self._next()) is not None:
                self._do(*work)
        except BaseException as error:  # noqa: BLE001 - the thread that called run() raises it
            self._stop(error)

    def _next(self) -> tuple[_OpenJob, Step | None] | None:
        """Wait for something to do. ``None`` means that there is nothing more."""
        with self._changed:
            while not self.stopping.is_set():
                if self._ready:
                    self._active += 1
                    return self._ready.popleft()
                job = next(self._jobs, None)
                if job is not None:
                    self._active += 1
                    return _OpenJob(job), None
                if not self._active:
                    self._changed.notify_all()
                    return None
                self._changed.wait()
        return None

    def _do(self, opened: _OpenJob, step: Step | None) -> None:
        steps: Sequence[Step] = ()
        try:
            if step is None:
                steps = opened.job.open()
            elif not opened.failed:
                step()
        except Exception as error:  # noqa: BLE001 - the job says which errors are its own
            self._fail(opened, error)
        with self._changed:
            opened.left += len(steps) - (step is not None)
            is_last = not opened.left and not opened.failed
            self._ready.extend((opened, each) for each in steps)
            if len(steps) > 1:
                self._changed.notify_all()
        if is_last:
            try:
                opened.job.finish()
            except Exception as error:  # noqa: BLE001 - as above
                self._fail(opened, error)
        with self._changed:
            self._active -= 1
            if not self._active:
                self._changed.notify_all()

    def _fail(self, opened: _OpenJob, error: Exception) -> None:
        with self._changed:
            is_first, opened.failed = not opened.failed, True
        if is_first:
            opened.job.fail(error)
