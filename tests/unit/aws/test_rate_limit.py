"""A client that was throttled keeps to the rate of the service. Before a throttled call, no call waits.

Time is virtual. A token bucket and a few workers are simulated call by call, in the same way in every run.
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
    """A clock that tests set, and a sleep that only records its duration."""

    def __init__(self):
        self.now = 0.0
        self.slept = []

    def clock(self):
        return self.now

    def limiter(self):
        return RateLimiter(self.clock, self.slept.append)

    def waiting_time(self, limiter):
        """Return how long one call waits for its turn. The clock does not move."""
        self.slept.clear()
        limiter.acquire()
        return sum(self.slept)


class Bucket:
    """A token bucket, as AWS documents its throttling: calls per second, and a burst."""

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
    """The times of the calls of a simulation."""

    def __init__(self):
        self.succeeded_at, self.throttled_at = [], []

    @property
    def throttled_share(self):
        return len(self.throttled_at) / (len(self.succeeded_at) + len(self.throttled_at))

    @property
    def seconds(self):
        return self.succeeded_at[-1]


def run(bucket, *, workers=4, calls=400, latency=0.1, seed=0, started=0.0, limiter=None, time=None):
    """Let workers make ``calls`` calls as fast as the limiter allows, and retry throttled calls as the client does."""
    time = time or Time()
    limiter = limiter or time.limiter()
    chance, number, outcome = random.Random(seed), count(), Outcome()
    left = calls - workers
    events = [(started, next(number), "begin", 1) for _ in range(workers)]
    while events:
        time.now, _, event, attempt = heapq.heappop(events)

        def schedule(delay, following, attempt=attempt):
            heapq.heappush(events, (time.now + delay, next(number), following, attempt))

        if event == "begin":
            schedule(time.waiting_time(limiter), "arrive")
        elif event == "arrive":
            accepted = bucket.take(time.now)
            schedule(latency * chance.uniform(0.8, 1.2) if accepted else 0.005, "succeed" if accepted else "throttle")
        elif event == "succeed":
            limiter.on_success()
            outcome.succeeded_at.append(time.now)
            if left > 0:
                left -= 1
                schedule(0, "begin", 1)
        else:
            limiter.on_throttle()
            outcome.throttled_at.append(time.now)
            backoff = chance.uniform(0.5, 1) * min(0.1 * 2 ** (attempt - 1), MAX_BACKOFF_SECONDS)
            schedule(backoff, "begin", attempt + 1)
    return outcome


# Before the first throttled call


@given(st.lists(st.sampled_from(["acquire", "success", "pause"]), max_size=200))
def test_no_call_waits_before_the_first_throttled_call(events):
    time = Time()
    limiter = time.limiter()
    for event in events:
        if event == "acquire":
            assert time.waiting_time(limiter) == 0
        elif event == "success":
            limiter.on_success()
        else:
            time.now += 0.01


def test_with_a_sufficient_quota_no_call_waits():
    outcome = run(Bucket(1000, 1000))
    assert outcome.throttled_at == []
    assert outcome.seconds <= 400 / 4 * 0.12


# At the quota


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("per_second", "burst"), [(25, 50), (25, 25), (10, 20), (30, 10)])
def test_the_quota_is_used_and_few_calls_are_throttled(per_second, burst, seed):
    outcome = run(Bucket(per_second, burst), seed=seed)
    assert outcome.throttled_share <= 0.05
    assert (400 - burst) / per_second / outcome.seconds >= 0.95


@pytest.mark.parametrize("workers", [1, 2, 8, 16])
@pytest.mark.parametrize("latency", [0.03, 0.1])
def test_the_quota_is_used_by_any_number_of_workers(workers, latency):
    least = max((400 - 50) / 25, 400 * latency / workers)
    outcome = run(Bucket(25, 50), workers=workers, latency=latency)
    # Calls that are in progress together may be throttled together.
    assert len(outcome.throttled_at) <= max(400 * 0.05, 5 * workers)
    assert least / outcome.seconds >= 0.95


def test_in_a_long_search_a_smaller_share_of_calls_is_throttled():
    outcome = run(Bucket(25, 50), calls=4000)
    assert outcome.throttled_share <= 0.02
    assert (4000 - 50) / 25 / outcome.seconds >= 0.98


def test_quota_that_other_tasks_released_is_used_after_a_while():
    time, bucket = Time(), Bucket(5, 10)
    limiter = time.limiter()
    run(bucket, calls=100, time=time, limiter=limiter)
    bucket.per_second, bucket.burst = 25, 50
    started_at = time.now
    outcome = run(bucket, calls=4000, time=time, limiter=limiter, started=started_at)
    assert outcome.succeeded_at[-1] - outcome.succeeded_at[-1000] <= 1000 / 25 / 0.95


# The effect of a throttled call


def throttled_after(calls, seconds, *, times=1, apart=0.0):
    """Return a limiter and its time, after ``calls`` successful calls and then ``times`` throttled ones."""
    time = Time()
    limiter = time.limiter()
    for _ in range(calls):
        time.now += seconds / calls
        limiter.acquire()
        limiter.on_success()
    for _ in range(times):
        limiter.on_throttle()
        time.now += apart
    time.now -= apart
    return time, limiter


def test_a_throttled_call_makes_the_next_calls_wait():
    time, limiter = throttled_after(20, 1.0)
    assert time.waiting_time(limiter) == pytest.approx(0.1, rel=0.1)
    assert time.waiting_time(limiter) == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize("times", [2, 4, 16])
def test_throttled_calls_that_were_in_progress_together_count_once(times):
    once, limiter_once = throttled_after(20, 1.0)
    often, limiter_often = throttled_after(20, 1.0, times=times, apart=THROTTLE_BURST_SECONDS / times * 0.99)
    once.now = often.now
    assert often.waiting_time(limiter_often) == once.waiting_time(limiter_once)
    assert often.waiting_time(limiter_often) == once.waiting_time(limiter_once)


def test_a_later_throttled_call_counts_again():
    once, limiter_once = throttled_after(20, 1.0)
    twice, limiter_twice = throttled_after(20, 1.0, times=2, apart=THROTTLE_BURST_SECONDS * 1.01)
    once.now = twice.now
    first, second = (
        (each.waiting_time(limiter), each.waiting_time(limiter))
        for each, limiter in ((once, limiter_once), (twice, limiter_twice))
    )
    assert second[1] - second[0] > 1.5 * (first[1] - first[0])


def test_the_rate_between_two_throttled_calls_is_kept():
    time, limiter = throttled_after(20, 1.0)
    for _ in range(60):
        time.now += 0.1
        limiter.on_success()
    limiter.on_throttle()
    time.now += 1.0
    first = time.waiting_time(limiter)
    assert time.waiting_time(limiter) - first == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("minutes", [10, 60, 24 * 60])
def test_after_a_long_time_without_calls_the_old_rate_is_forgotten(minutes):
    time, bucket = Time(), Bucket(25, 50)
    limiter = time.limiter()
    assert run(bucket, time=time, limiter=limiter).throttled_at
    time.now += minutes * 60
    assert [round(time.waiting_time(limiter), 1) for _ in range(40)] == [0.0] * 40


# Threads


def test_no_two_threads_have_the_same_turn():
    slept, lock = [], threading.Lock()

    def sleep(seconds):
        with lock:
            slept.append(seconds)

    time = Time()
    limiter = RateLimiter(time.clock, sleep)
    for _ in range(20):
        time.now += 0.05
        limiter.on_success()
    limiter.on_throttle()
    all_ready = threading.Barrier(8, timeout=30)

    def call():
        all_ready.wait()
        for _ in range(25):
            limiter.acquire()

    threads = [threading.Thread(target=call, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(slept) == 200
    # The rate is half of the twenty calls per second before.
    apart = [later - earlier for earlier, later in pairwise(sorted(slept))]
    assert apart == pytest.approx([apart[0]] * 199)
    assert apart[0] == pytest.approx(0.1, rel=0.1)


def test_a_waiting_thread_does_not_block_the_reports_of_others():
    """A thread that sleeps until its turn does not hold the lock that other threads need for their responses."""
    time = Time()
    asleep, may_continue = threading.Event(), threading.Event()

    def sleep(seconds):
        asleep.set()
        assert may_continue.wait(30)

    limiter = RateLimiter(time.clock, sleep)
    time.now += 1
    limiter.on_success()
    limiter.on_throttle()
    waiting = threading.Thread(target=limiter.acquire, daemon=True)
    waiting.start()
    assert asleep.wait(30)
    reporting = threading.Thread(target=lambda: (limiter.on_success(), limiter.on_throttle()), daemon=True)
    reporting.start()
    reporting.join(30)
    assert not reporting.is_alive()
    may_continue.set()
    waiting.join(30)
    assert not waiting.is_alive()


# After few calls, or after a pause


@pytest.mark.parametrize("before", [0, 1, 25])
@pytest.mark.parametrize("apart", [10, 300, 3600])
def test_one_throttled_call_after_few_calls_causes_a_wait_of_at_most_a_second(before, apart):
    time = Time()
    limiter = time.limiter()
    for _ in range(before):
        time.now += apart
        limiter.acquire()
        limiter.on_success()
    time.now += apart
    limiter.acquire()
    limiter.on_throttle()
    assert time.waiting_time(limiter) <= 1


@pytest.mark.parametrize("pause", [2.5, 5, 10, 20, 29, 300])
def test_a_pause_does_not_slow_down_the_calls_after_it(pause):
    time, bucket = Time(), Bucket(25, 50)
    limiter = time.limiter()
    run(bucket, calls=150, time=time, limiter=limiter)
    started_at = time.now + pause
    after = run(bucket, calls=1000, time=time, limiter=limiter, started=started_at)
    filled = min(50, pause * 25)
    assert after.seconds - started_at <= (1000 - filled) / 25 / 0.95
    assert after.throttled_share <= 0.05
