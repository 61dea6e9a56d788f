"""Workers run all steps of all jobs, each once, and hold few jobs open."""

import threading

import pytest

from airflow_provider_healthimaging.export.workers import Workers

HANG_SECONDS = 300
"""What takes so long hangs."""


class Counted:
    """A job with so many steps; ``broken`` says at which it fails: a number, ``"open"`` or ``"finish"``."""

    def __init__(self, log, name, steps, broken=None):
        self.log, self.name, self.steps, self.broken = log, name, steps, broken

    def open(self):
        self.log.append((self.name, "open"))
        if self.broken == "open":
            raise KeyError(self.name)
        return [lambda number=number: self.step(number) for number in range(self.steps)]

    def step(self, number):
        self.log.append((self.name, number))
        if number == self.broken:
            raise KeyError(self.name)

    def finish(self):
        self.log.append((self.name, "finish"))
        if self.broken == "finish":
            raise KeyError(self.name)

    def fail(self, error):
        self.log.append((self.name, "fail"))
        if not isinstance(error, KeyError):
            raise error


def run(jobs, workers):
    Workers(iter(jobs), workers).run(every_seconds=10, report=lambda: None)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_step_runs_once_and_every_job_finishes_after_its_steps(workers):
    log = []
    run([Counted(log, name, steps) for name, steps in (("a", 3), ("b", 0), ("c", 1))], workers)

    assert sorted(log, key=str) == sorted(
        [
            *(("a", each) for each in ("open", 0, 1, 2, "finish")),
            *(("b", each) for each in ("open", "finish")),
            *(("c", each) for each in ("open", 0, "finish")),
        ],
        key=str,
    )
    for name in "abc":
        mine = [what for who, what in log if who == name]
        assert (mine[0], mine[-1]) == ("open", "finish")


@pytest.mark.parametrize("broken", [0, 1, "open", "finish"])
def test_a_job_that_fails_is_told_once_and_the_others_go_on(broken):
    log = []
    run([Counted(log, "a", 2, broken), Counted(log, "b", 2)], 1)
    assert log.count(("a", "fail")) == 1
    assert ("b", "finish") in log
    assert (("a", "finish") in log) is (broken == "finish")


def test_steps_of_a_failed_job_that_have_not_begun_are_dropped():
    log = []
    run([Counted(log, "a", 5, broken=0)], 1)
    assert log == [("a", "open"), ("a", 0), ("a", "fail")]


def test_one_worker_opens_the_next_job_when_no_step_is_left():
    log = []
    run([Counted(log, "a", 2), Counted(log, "b", 1)], 1)
    assert log.index(("a", "finish")) < log.index(("b", "open"))


def test_another_error_ends_everything_and_is_raised():
    log = []
    jobs = [Counted(log, "a", 1), Counted(log, "b", 1)]
    jobs[0].step = lambda number: 1 / 0
    with pytest.raises(ZeroDivisionError):
        run(jobs, 1)
    assert ("b", "open") not in log


def test_an_error_while_jobs_are_read_is_raised():
    def jobs():
        yield Counted([], "a", 1)
        raise OSError("the dataset")

    with pytest.raises(OSError, match="the dataset"):
        Workers(jobs(), 3).run(every_seconds=10, report=lambda: None)


def test_progress_is_reported_while_a_step_takes_long():
    told = threading.Event()
    job = Counted([], "a", 1)
    job.step = lambda number: told.wait(HANG_SECONDS)
    Workers(iter([job]), 2).run(every_seconds=0.01, report=told.set)
    assert told.is_set()


def test_nothing_begins_after_an_interruption():
    log = []
    job = Counted(log, "a", 3)
    begun = threading.Event()

    def step(number):
        log.append(number)
        begun.set()
        assert workers.stopping.wait(HANG_SECONDS)

    job.step = step

    def report():
        assert begun.wait(HANG_SECONDS)
        raise KeyboardInterrupt

    workers = Workers(iter([job]), 1)
    with pytest.raises(KeyboardInterrupt):
        workers.run(every_seconds=0.01, report=report)
    assert workers.stopping.is_set()
    assert log == [("a", "open"), 0]
