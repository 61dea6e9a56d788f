"""Clients that share a quota share it about equally, use nearly all of it, and are seldom throttled.

Time is virtual. A token bucket and the workers of some clients are simulated call by call, in the same way
in every run.
"""

import heapq
import random
import threading
from functools import partial
from itertools import count, pairwise
from statistics import median

import pytest
from greenlet import getcurrent, greenlet
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_healthimaging.aws.rate_limit import BURST_SECONDS, RateLimiter, backoff_seconds


class Time:
    """A clock that tests set, and a sleep that lets another worker run until the time has come."""

    def __init__(self):
        self.now = 0.0
        self._hub, self._order, self._asleep = getcurrent(), count(), []

    def clock(self):
        return self.now

    def limiter(self):
        return RateLimiter(25, self.clock, self.sleep)

    def start(self, worker, *arguments):
        self._wake_at(self.now, greenlet(partial(worker, *arguments), self._hub))

    def sleep(self, seconds):
        self._wake_at(self.now + seconds, getcurrent())
        self._hub.switch()

    def run(self):
        """Wake one worker after the other until all have ended."""
        while self._asleep:
            self.now, _, worker = heapq.heappop(self._asleep)
            worker.switch()

    def _wake_at(self, moment, worker):
        heapq.heappush(self._asleep, (moment, next(self._order), worker))


class Bucket:
    """A token bucket, as AWS documents its throttling: calls per second, and a burst."""

    def __init__(self, per_second, burst=None):
        self.per_second, self.burst = per_second, burst or 2 * per_second
        self.tokens, self.filled = float(self.burst), 0.0

    def take(self, now):
        self.tokens = min(self.burst, self.tokens + (now - self.filled) * self.per_second)
        self.filled = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Outcome:
    """The calls of a simulation: when they succeeded, by client, and how many were throttled."""

    def __init__(self, clients):
        self.succeeded_at = [[] for _ in range(clients)]
        self.throttled = 0

    @property
    def seconds(self):
        return max(times[-1] for times in self.succeeded_at)

    @property
    def throttled_share(self):
        return self.throttled / (self.throttled + sum(map(len, self.succeeded_at)))

    @property
    def spread(self):
        """The slowest client beside the fastest."""
        return self.seconds / min(times[-1] for times in self.succeeded_at)


def run(accepts, *, clients=1, workers=4, calls=400, latency=0.1, seed=0, limiters=None, time=None):
    """Let the workers of all clients make ``calls`` calls as fast as their limiters allow.

    A throttled call is answered at once, and sent again.

    :param accepts: ``accepts(now)`` says whether the service accepts a call.
    """
    time = time or Time()
    limiters = limiters or [time.limiter() for _ in range(clients)]
    chance, outcome, left = random.Random(seed), Outcome(clients), [calls // clients] * clients
    random.seed(seed)

    def work(client, limiter):
        time.sleep(chance.uniform(0, 0.05))
        while left[client]:
            left[client] -= 1
            call(client, limiter)

    def call(client, limiter):
        for attempt in count(1):
            number = limiter.acquire()
            accepted = accepts(time.now)
            time.sleep(latency * chance.uniform(0.8, 1.2) if accepted else 0.005)
            if accepted:
                limiter.on_success(number)
                outcome.succeeded_at[client].append(time.now)
                return
            outcome.throttled += 1
            backoff = backoff_seconds(attempt)
            limiter.on_throttle(number, backoff)
            time.sleep(backoff)

    for client, limiter in enumerate(limiters):
        for _ in range(workers):
            time.start(work, client, limiter)
    time.run()
    return outcome


def waits(time, limiter, calls):
    """Return how long each of so many calls waits that are sent now."""
    began, times = time.now, []

    def send():
        limiter.acquire()
        times.append(time.now - began)

    for _ in range(calls):
        time.start(send)
    time.run()
    return times


# One client


@given(st.lists(st.sampled_from(["send", "succeed", "pause"]), max_size=200))
def test_no_call_waits_before_the_first_throttled_call(events):
    time = Time()
    limiter = time.limiter()
    for event in events:
        if event == "send":
            assert waits(time, limiter, 1) == [0]
        elif event == "succeed":
            limiter.on_success(0)
        else:
            time.now += 0.01


@pytest.mark.parametrize(
    ("per_second", "workers", "share"), [(25, 4, 0.96), (25, 8, 0.96), (25, 16, 0.92), (10, 4, 0.96), (5, 2, 0.96)]
)
def test_one_client_uses_the_quota_and_is_seldom_throttled(per_second, workers, share):
    runs = [run(Bucket(per_second).take, workers=workers, seed=seed) for seed in range(5)]

    assert median((400 - 2 * per_second) / per_second / each.seconds for each in runs) >= share
    assert median(each.throttled_share for each in runs) <= 0.065


def test_the_time_before_the_first_call_does_not_lower_the_rate():
    def seconds(before):
        time = Time()
        limiters = [time.limiter()]
        time.now = before
        return run(Bucket(50).take, workers=16, calls=600, limiters=limiters, time=time).seconds - before

    assert seconds(1.9) == pytest.approx(seconds(0), rel=0.05)


def test_in_a_long_search_a_smaller_share_of_calls_is_throttled():
    outcome = run(Bucket(25).take, calls=4000)

    assert outcome.throttled_share <= 0.02
    assert (4000 - 50) / 25 / outcome.seconds >= 0.98


def test_quota_that_other_tasks_released_is_used_after_a_while():
    time, bucket = Time(), Bucket(5)
    limiters = [time.limiter()]
    run(bucket.take, calls=100, time=time, limiters=limiters)
    bucket.per_second, bucket.burst = 25, 50

    (succeeded_at,) = run(bucket.take, calls=4000, time=time, limiters=limiters).succeeded_at

    assert succeeded_at[-1] - succeeded_at[-1000] <= 1000 / 25 / 0.95


@pytest.mark.parametrize("pause", [2.5, 5, 29, 3600])
def test_after_a_pause_the_old_rate_is_forgotten(pause):
    time, bucket = Time(), Bucket(25)
    limiters = [time.limiter()]
    assert run(bucket.take, time=time, limiters=limiters).throttled
    time.now += pause

    assert waits(time, limiters[0], 40) == [0] * 40


# Many clients


@pytest.mark.parametrize(("clients", "workers"), [(2, 4), (4, 2), (4, 4), (8, 2)])
def test_clients_that_begin_together_share_the_quota_about_equally(clients, workers):
    runs = [run(Bucket(25).take, clients=clients, workers=workers, seed=seed) for seed in range(9)]

    assert median(350 / 25 / each.seconds for each in runs) >= 0.88
    assert median(each.throttled_share for each in runs) <= 0.09
    assert median(each.spread for each in runs) <= 1.5


def test_one_of_many_clients_is_not_forgotten_in_a_long_backfill():
    outcome = run(Bucket(25).take, clients=8, workers=2, calls=8000)

    assert 7950 / 25 / outcome.seconds >= 0.93
    assert outcome.throttled_share <= 0.1
    assert outcome.spread <= 1.4


@pytest.mark.parametrize("clients", [1, 4])
def test_what_others_leave_of_the_quota_is_used(clients):
    bucket, others = Bucket(25), count(1)
    used = next(others)

    def accepts(now):
        nonlocal used
        while used / 12.5 < now:
            bucket.take(used / 12.5)
            used = next(others)
        return bucket.take(now)

    outcome = run(accepts, clients=clients)

    assert 350 / 12.5 / outcome.seconds >= 0.88


# Throttling that does not depend on the rate


@pytest.mark.parametrize(("workers", "latency"), [(1, 0.1), (4, 0.03), (4, 0.1)])
@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_calls_that_are_throttled_at_random_cost_only_themselves(rate, workers, latency):
    def seconds(seed, rate):
        chance = random.Random(seed)
        return run(lambda _: chance.random() >= rate, workers=workers, latency=latency, seed=seed).seconds

    assert median(seconds(seed, rate) / seconds(seed, 0) for seed in range(15)) <= 1.4


def test_a_client_whose_first_calls_are_throttled_by_chance_is_not_slow():
    calls = count()

    assert run(lambda _: next(calls) > 4).seconds <= run(lambda _: True).seconds * 1.2


def test_a_client_that_was_slowed_down_in_vain_is_fast_again():
    """Calls in a row are throttled by chance, and later ones at random, whatever the rate."""
    chance, calls = random.Random(1), count()

    outcome = run(lambda _: next(calls) not in {100, 101, 102, 103} and chance.random() >= 0.1, calls=4000)

    (times,) = outcome.succeeded_at
    assert times[-1] - times[-2000] <= 2000 * 0.1 / 4 * 1.5


# Threads


def slowed_down(sleep=None):
    """Return a limiter that waits, and its time."""
    time = Time()
    limiter = RateLimiter(25, time.clock, sleep or time.sleep)
    numbers = [limiter.acquire() for _ in range(23)]
    time.now += 1.0
    for number in numbers[:20]:
        limiter.on_success(number)
    for number in numbers[20:]:
        limiter.on_throttle(number)
    return time, limiter


def test_no_two_threads_have_the_same_turn():
    slept, lock = [], threading.Lock()

    def sleep(seconds):
        with lock:
            slept.append(seconds)

    _, limiter = slowed_down(sleep)
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
    apart = [later - earlier for earlier, later in pairwise(sorted(slept))]
    assert apart == pytest.approx([apart[0]] * 199)
    assert apart[0] == pytest.approx((BURST_SECONDS + 1) / 20)


def test_a_waiting_thread_does_not_block_the_reports_of_others():
    """A thread that sleeps until its turn does not hold the lock that other threads need for their responses."""
    asleep, may_continue = threading.Event(), threading.Event()

    def sleep(_):
        asleep.set()
        assert may_continue.wait(30)

    _, limiter = slowed_down(sleep)
    waiting = threading.Thread(target=limiter.acquire, daemon=True)
    waiting.start()
    assert asleep.wait(30)
    reporting = threading.Thread(target=lambda: (limiter.on_success(1), limiter.on_throttle(2)), daemon=True)
    reporting.start()
    reporting.join(30)
    assert not reporting.is_alive()
    may_continue.set()
    waiting.join(30)
    assert not waiting.is_alive()
