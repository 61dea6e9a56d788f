"""A client that was refused keeps to the rate that the service gives it, and nobody else ever waits.

Time is virtual: a bucket of tokens and a few readers, call by call, the same in every run.
"""

import heapq
import random
import threading
from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_healthimaging.aws.rate_limit import MAX_BACKOFF_SECONDS, THROTTLE_BURST_SECONDS, RateLimiter


class Time:
    """A clock that is set, and sleep that only notes how long it would have been."""

    def __init__(self):
        self.now = 0.0
        self.slept = []

    def clock(self):
        return self.now

    def pace(self):
        return RateLimiter(self.clock, self.slept.append)

    def waited(self, pace):
        """Return how long one call waits for its turn, without letting time pass."""
        self.slept.clear()
        pace.acquire()
        return sum(self.slept)


class Bucket:
    """What AWS documents of its throttling: so many calls a second, and a burst."""

    def __init__(self, per_second, burst):
        self.per_second, self.burst = per_second, burst
        self.tokens, self.filled = float(burst), 0.0

    def take(self, now):
        self.tokens = min(self.burst, self.tokens + (now - self.filled) * self.per_second)
        self.filled = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Outcome:
    """What so many calls came to."""

    def __init__(self):
        self.taken_at, self.refused_at = [], []

    @property
    def refused_share(self):
        return len(self.refused_at) / (len(self.taken_at) + len(self.refused_at))

    @property
    def seconds(self):
        return self.taken_at[-1]


def run(bucket, *, workers=4, calls=400, latency=0.1, seed=0, started=0.0, pace=None, time=None):
    """Let readers make ``calls`` calls, as fast as they are let; a refused one is repeated as the client does."""
    time = time or Time()
    pace = pace or time.pace()
    chance, number, outcome = random.Random(seed), count(), Outcome()
    left = calls - workers
    events = [(started, next(number), "begin", 1) for _ in range(workers)]
    while events:
        time.now, _, what, attempt = heapq.heappop(events)

        def then(after, following, attempt=attempt):
            heapq.heappush(events, (time.now + after, next(number), following, attempt))

        if what == "begin":
            then(time.waited(pace), "arrive")
        elif what == "arrive":
            taken = bucket.take(time.now)
            then(latency * chance.uniform(0.8, 1.2) if taken else 0.005, "taken" if taken else "refused")
        elif what == "taken":
            pace.on_success()
            outcome.taken_at.append(time.now)
            if left > 0:
                left -= 1
                then(0, "begin", 1)
        else:
            pace.on_throttle()
            outcome.refused_at.append(time.now)
            then(chance.uniform(0.5, 1) * min(0.1 * 2 ** (attempt - 1), MAX_BACKOFF_SECONDS), "begin", attempt + 1)
    return outcome


# Before the first refusal


@given(st.lists(st.sampled_from(["wait", "taken", "pause"]), max_size=200))
def test_nothing_waits_before_the_first_refusal(events):
    time = Time()
    pace = time.pace()
    for event in events:
        if event == "wait":
            assert time.waited(pace) == 0
        elif event == "taken":
            pace.on_success()
        else:
            time.now += 0.01


def test_a_quota_that_is_enough_costs_no_time():
    outcome = run(Bucket(1000, 1000))
    assert outcome.refused_at == []
    assert outcome.seconds <= 400 / 4 * 0.12


# At the quota


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("per_second", "burst"), [(25, 50), (25, 25), (10, 20), (30, 10)])
def test_the_quota_is_used_and_hardly_a_call_refused(per_second, burst, seed):
    outcome = run(Bucket(per_second, burst), seed=seed)
    assert outcome.refused_share <= 0.05
    assert (400 - burst) / per_second / outcome.seconds >= 0.95


@pytest.mark.parametrize("workers", [1, 2, 8, 16])
@pytest.mark.parametrize("latency", [0.03, 0.1])
def test_the_quota_is_used_by_any_number_of_readers(workers, latency):
    least = max((400 - 50) / 25, 400 * latency / workers)
    outcome = run(Bucket(25, 50), workers=workers, latency=latency)
    # What is under way at once may be refused at once.
    assert len(outcome.refused_at) <= max(400 * 0.05, 5 * workers)
    assert least / outcome.seconds >= 0.95


def test_a_long_search_is_refused_ever_less():
    outcome = run(Bucket(25, 50), calls=4000)
    assert outcome.refused_share <= 0.02
    assert (4000 - 50) / 25 / outcome.seconds >= 0.98


def test_what_others_no_longer_use_is_used_after_a_while():
    time, bucket = Time(), Bucket(5, 10)
    pace = time.pace()
    run(bucket, calls=100, time=time, pace=pace)
    bucket.per_second, bucket.burst = 25, 50
    began = time.now
    outcome = run(bucket, calls=4000, time=time, pace=pace, started=began)
    assert outcome.taken_at[-1] - outcome.taken_at[-1000] <= 1000 / 25 / 0.95


# What a refusal means


def refused_after(calls, seconds, *, times=1, apart=0.0):
    """Return a pace and its time, after so many calls that the service took and then refusals."""
    time = Time()
    pace = time.pace()
    for _ in range(calls):
        time.now += seconds / calls
        pace.acquire()
        pace.on_success()
    for _ in range(times):
        pace.on_throttle()
        time.now += apart
    time.now -= apart
    return time, pace


def test_a_refusal_makes_calls_wait():
    time, pace = refused_after(20, 1.0)
    assert time.waited(pace) == pytest.approx(0.1, rel=0.1)
    assert time.waited(pace) == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize("times", [2, 4, 16])
def test_refusals_of_calls_that_were_under_way_together_are_one(times):
    once, pace_once = refused_after(20, 1.0)
    often, pace_often = refused_after(20, 1.0, times=times, apart=THROTTLE_BURST_SECONDS / times * 0.99)
    once.now = often.now
    assert often.waited(pace_often) == once.waited(pace_once)
    assert often.waited(pace_often) == once.waited(pace_once)


def test_a_refusal_later_than_that_is_another():
    once, pace_once = refused_after(20, 1.0)
    twice, pace_twice = refused_after(20, 1.0, times=2, apart=THROTTLE_BURST_SECONDS * 1.01)
    once.now = twice.now
    first, second = ((each.waited(pace), each.waited(pace)) for each, pace in ((once, pace_once), (twice, pace_twice)))
    assert second[1] - second[0] > 1.5 * (first[1] - first[0])


def test_the_rate_between_two_refusals_is_the_rate_kept():
    time, pace = refused_after(20, 1.0)
    for _ in range(60):
        time.now += 0.1
        pace.on_success()
    pace.on_throttle()
    time.now += 1.0
    first = time.waited(pace)
    assert time.waited(pace) - first == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("minutes", [10, 60, 24 * 60])
def test_after_a_long_time_without_calls_the_old_rate_holds_nothing_back(minutes):
    time, bucket = Time(), Bucket(25, 50)
    pace = time.pace()
    assert run(bucket, time=time, pace=pace).refused_at
    time.now += minutes * 60
    assert [round(time.waited(pace), 1) for _ in range(40)] == [0.0] * 40


# Turns


def test_no_two_threads_have_the_same_turn():
    slept, lock = [], threading.Lock()

    def sleep(seconds):
        with lock:
            slept.append(seconds)

    time = Time()
    pace = RateLimiter(time.clock, sleep)
    for _ in range(20):
        time.now += 0.05
        pace.on_success()
    pace.on_throttle()
    everyone = threading.Barrier(8, timeout=30)

    def call():
        everyone.wait()
        for _ in range(25):
            pace.acquire()

    threads = [threading.Thread(target=call, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(slept) == 200
    # Half of the twenty calls a second there were.
    apart = [later - earlier for earlier, later in pairwise(sorted(slept))]
    assert apart == pytest.approx([apart[0]] * 199)
    assert apart[0] == pytest.approx(0.1, rel=0.1)


def test_who_waits_keeps_nobody_from_reporting():
    """A thread that sleeps until its turn holds no lock that an answer of another would need."""
    time = Time()
    asleep, go_on = threading.Event(), threading.Event()

    def sleep(seconds):
        asleep.set()
        assert go_on.wait(30)

    pace = RateLimiter(time.clock, sleep)
    time.now += 1
    pace.on_success()
    pace.on_throttle()
    waiting = threading.Thread(target=pace.acquire, daemon=True)
    waiting.start()
    assert asleep.wait(30)
    reporting = threading.Thread(target=lambda: (pace.on_success(), pace.on_throttle()), daemon=True)
    reporting.start()
    reporting.join(30)
    assert not reporting.is_alive()
    go_on.set()
    waiting.join(30)
    assert not waiting.is_alive()


# After calls that were few, or none


@pytest.mark.parametrize("before", [0, 1, 25])
@pytest.mark.parametrize("apart", [10, 300, 3600])
def test_one_refusal_after_few_calls_or_none_is_waited_for_a_second_at_most(before, apart):
    time = Time()
    pace = time.pace()
    for _ in range(before):
        time.now += apart
        pace.acquire()
        pace.on_success()
    time.now += apart
    pace.acquire()
    pace.on_throttle()
    assert time.waited(pace) <= 1


@pytest.mark.parametrize("pause", [2.5, 5, 10, 20, 29, 300])
def test_a_pause_does_not_make_what_comes_after_it_slower(pause):
    time, bucket = Time(), Bucket(25, 50)
    pace = time.pace()
    run(bucket, calls=150, time=time, pace=pace)
    began = time.now + pause
    after = run(bucket, calls=1000, time=time, pace=pace, started=began)
    filled = min(50, pause * 25)
    assert after.seconds - began <= (1000 - filled) / 25 / 0.95
    assert after.refused_share <= 0.05
