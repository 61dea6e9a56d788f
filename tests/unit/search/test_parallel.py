"""Any number of workers reads each hit of a window once and in order, for few more calls, and no thread remains."""

import gc
import random
import sys
import threading
from bisect import bisect_left, bisect_right
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_healthimaging.exceptions import AccessDeniedError, HealthImagingError, RejectedRequestError
from airflow_provider_healthimaging.search import parallel
from airflow_provider_healthimaging.search.pages import Page, ScanStats, deduplicate_hits
from airflow_provider_healthimaging.search.parallel import read_window
from airflow_provider_healthimaging.window import TimeWindow
from tests.unit.search.turns import Turns

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
MINUTE = TimeWindow(NOON, NOON + 60 * SECOND)
DAY = TimeWindow(NOON, NOON + timedelta(days=1))
TIMEOUT_SECONDS = 30
"""After this time, a test fails because something hangs."""


class Service:
    """Returns pages of hits in memory, to many threads at a time. It accepts a token for its own query only.

    :param size: hits on a page.
    :param unit: the precision with which it sorts and compares.
    :param edges: whether its BETWEEN includes the edges.
    :param on_call: called with the number of each call, from 1, and its token, while the call is in progress.
    """

    def __init__(self, hits, *, size=50, unit=MICROSECOND, edges=True, on_call=lambda *_: None):
        self.key = lambda moment: (moment - NOON) // unit
        self.hits = sorted(hits, key=lambda each: self.key(each["createdAt"]))
        self.keys = [self.key(each["createdAt"]) for each in self.hits]
        self.size, self.edges, self.on_call = size, edges, on_call
        self.lock = threading.Lock()
        self.tokens = {}
        self.windows = []
        self.threads = set()
        self.running = self.most_running = 0

    def __call__(self, window, token):
        with self.lock:
            self.windows.append(window)
            self.threads.add(threading.current_thread())
            self.running += 1
            self.most_running = max(self.running, self.most_running)
            number = len(self.windows)
        try:
            self.on_call(number, token)
            return self._page(window.query_bounds(), token)
        finally:
            with self.lock:
                self.running -= 1

    @property
    def calls(self):
        return len(self.windows)

    @property
    def splits(self):
        """How many segments were split off. It is exact while no token is rejected."""
        return len(set(self.windows)) - 1

    def _page(self, bounds, token):
        first, last = self._span(*map(self.key, bounds))
        query, position = self.tokens[token] if token else (bounds, first)
        if query != bounds:
            raise RejectedRequestError("The token is of another query.", code="ValidationException")
        stop = position + self.size
        if stop >= last:
            return Page(self.hits[position:last])
        following = f"{bounds} {stop}"
        self.tokens[following] = bounds, stop
        return Page(self.hits[position:stop], next_token=following)

    def _span(self, lower, upper):
        if self.edges:
            return bisect_left(self.keys, lower), bisect_right(self.keys, upper)
        return bisect_right(self.keys, lower), bisect_left(self.keys, upper)


def make_hit(number, moment, version=1):
    return {"imageSetId": f"{number:032}", "version": version, "createdAt": moment}


def hits_at(moments):
    return [make_hit(number, moment) for number, moment in enumerate(sorted(moments))]


def uniform(number, window=DAY):
    return hits_at(window.start + window.duration * each / number for each in range(number))


def evenly_spread(number, **more):
    return Service(uniform(number), **more)


def search(service, window=DAY, *, workers=4, stats=None):
    pages = read_window(service, window, "createdAt", workers=workers)
    return deduplicate_hits(
        pages,
        sort_field="createdAt",
        window=window,
        match=lambda _: True,
        order_may_change=False,
        stats=stats or ScanStats(),
    )


def with_timeout(function):
    """Return what ``function`` returns, or raise what it raises. Fail if it hangs."""
    outcome = Future()

    def run():
        try:
            outcome.set_result(function())
        except BaseException as error:  # noqa: BLE001 - raised again by outcome.result()
            outcome.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        return outcome.result(TIMEOUT_SECONDS)
    finally:
        # The thread holds what it raised, until it has ended.
        thread.join(TIMEOUT_SECONDS)


def search_all(service, window=DAY, **more):
    return with_timeout(lambda: list(search(service, window, **more)))


def in_window(hits, window):
    return [each for each in hits if each["createdAt"] in window]


def worker_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("image-set-worker-")]


@pytest.fixture(autouse=True)
def no_thread_remains():
    """Fail if a worker's thread is still alive after a test."""
    yield
    assert worker_threads() == []


@pytest.fixture
def turns(monkeypatch):
    """Let workers take turns, so that the number of calls does not depend on the machine's scheduler."""
    turns = Turns()
    monkeypatch.setattr(parallel, "threading", turns)
    return turns


@contextmanager
def eager_workers(**more):
    """Make splits so cheap that a few hits justify them, and the space for waiting hits small."""
    constants = {
        "SPLIT_COST_HITS": 0.1,
        "TARGET_SHARE": 8,
        "MIN_HITS_TO_SPLIT": 1,
        "READ_AHEAD_HITS": 5,
        "WARMUP_PAGES": 1,
        "WARMUP_HITS": 1,
        "PAGES_PER_SPLIT_CREDIT": 0.1,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (constants | more).items():
            patch.setattr(parallel, name, value)
        # Python switches threads a hundred times as often as usual, so they run in more different orders.
        usual = sys.getswitchinterval()
        sys.setswitchinterval(usual / 100)
        try:
            yield
        finally:
            sys.setswitchinterval(usual)


with_threads = settings(max_examples=150)
worker_counts = st.integers(1, 8)
units = st.sampled_from([MICROSECOND, SECOND])

# Each distribution is in seconds after noon, for a window of a minute.
anywhere = st.lists(st.integers(-2_000_000, 62_000_000).map(lambda each: each / 1e6), max_size=60)
in_one_second = st.lists(st.integers(0, 999_999).map(lambda each: 30 + each / 1e6), max_size=40)
at_the_end = st.lists(st.integers(0, 2_000_000).map(lambda each: 58.5 + each / 1e6), max_size=40)
bursts = st.lists(st.tuples(st.integers(0, 59), st.integers(1, 12)), max_size=6).map(
    lambda drawn: [at + number / 10 for at, size in drawn for number in range(size)]
)
equal = st.lists(st.tuples(st.sampled_from([0, 7.25, 59.999999]), st.integers(1, 20)), max_size=3).map(
    lambda drawn: [at for at, size in drawn for _ in range(size)]
)
near_whole_seconds = st.lists(
    st.tuples(st.integers(-1, 61), st.sampled_from([-1e-6, 0, 1e-6])).map(sum), min_size=20, max_size=60
)
in_every_second = st.integers(1, 4).map(lambda each: [at + part / each for at in range(60) for part in range(each)])
distributions = st.one_of(
    anywhere, in_one_second, at_the_end, bursts, equal, near_whole_seconds, in_every_second, st.just([])
)
moments = distributions.flatmap(st.permutations).map(lambda drawn: [NOON + timedelta(seconds=each) for each in drawn])
windows = st.tuples(
    st.sampled_from([0, 1e-6, 0.5, 0.999999, 7.25, 29]), st.sampled_from([30, 30.5, 59.999999, 60])
).map(lambda drawn: TimeWindow(*(NOON + timedelta(seconds=each) for each in drawn)))


# Each hit of the window once and in order, and no other


@with_threads
@given(moments, windows, st.integers(1, 9), worker_counts, units, st.booleans())
def test_any_number_of_workers_yields_each_hit_of_a_window_once_and_in_order(times, window, size, workers, unit, edges):
    hits = [make_hit(number, moment) for number, moment in enumerate(times)]
    service = Service(hits, size=size, unit=unit, edges=edges)
    with eager_workers():
        got = search_all(service, window, workers=workers)
    assert_once_and_in_order(got, in_window(hits, window), service)


@with_threads
@given(moments, st.randoms(use_true_random=False), st.integers(1, 9), worker_counts)
def test_duplicates_at_one_timestamp_collapse_to_the_highest_version_with_any_number_of_workers(
    times, chance, size, workers
):
    # All versions of an image set have the same createdAt.
    times = sorted(times)
    hits = [make_hit(number, moment, version) for number, moment in enumerate(times) for version in (1, 2, 3)]
    hits = [each for each in hits if each["version"] == 1 or chance.random() < 0.4]
    chance.shuffle(hits)
    highest = {}
    for each in hits:
        highest[each["imageSetId"]] = max(each["version"], highest.get(each["imageSetId"], 0))
    service = Service(hits, size=size)
    with eager_workers():
        got = search_all(service, MINUTE, workers=workers)
    assert [(each["imageSetId"], each["version"]) for each in got] == [
        (each["imageSetId"], highest[each["imageSetId"]]) for each in in_window(hits_at(times), MINUTE)
    ]


@with_threads
@given(moments, st.integers(1, 3), worker_counts, units, st.booleans(), st.sets(st.integers(1, 60)) | st.none())
def test_rejected_tokens_neither_repeat_nor_lose_a_hit_with_any_number_of_workers(
    times, more, workers, unit, edges, rejected
):
    def on_call(number, token):
        if token and (rejected is None or number in rejected):
            raise RejectedRequestError("The token is not valid.", code="ValidationException")

    # A page is larger than the number of hits in one second and its neighbours, so every restart makes progress.
    hits = [make_hit(number, moment) for number, moment in enumerate(times)]
    service = Service(hits, size=most_hits_in_three_seconds(times) + more, unit=unit, edges=edges, on_call=on_call)
    with eager_workers():
        got = search_all(service, MINUTE, workers=workers)
    assert_once_and_in_order(got, in_window(hits, MINUTE), service)


def assert_once_and_in_order(got, expected, service):
    assert sorted(each["imageSetId"] for each in got) == sorted(each["imageSetId"] for each in expected)
    order = [service.key(each["createdAt"]) for each in got]
    assert order == sorted(order)


def most_hits_in_three_seconds(times):
    """Return the most hits in three consecutive seconds."""
    whole = [(each - NOON) // SECOND for each in times]
    return max((sum(first <= each <= first + 2 for each in whole) for first in whole), default=0)


@pytest.mark.parametrize("workers", [2, 4, 8])
def test_the_windows_of_these_tests_are_split(workers, turns):
    service = Service(uniform(120, MINUTE), size=5, on_call=turns.call)
    with eager_workers():
        assert list(search(service, MINUTE, workers=workers)) == service.hits
    assert service.splits >= 3
    assert service.most_running >= 2


@pytest.mark.parametrize("workers", [2, 4, 8])
def test_all_workers_call_at_the_same_time(workers):
    together = threading.Event()
    waiting = count(1)

    def on_call(number, token):
        # After 100 calls, enough was read to allow a split for each worker.
        if number > 100 and not together.is_set():
            if next(waiting) == workers:
                together.set()
            assert together.wait(TIMEOUT_SECONDS)

    service = evenly_spread(20_000, on_call=on_call)
    assert search_all(service, workers=workers) == service.hits
    assert together.is_set()
    assert service.most_running == workers


# The number of calls


@pytest.mark.parametrize("workers", [1, 4, 8])
@pytest.mark.parametrize("number", [0, 1, 50])
def test_one_page_costs_one_call_and_no_thread(workers, number):
    service = evenly_spread(number)
    pages = read_window(service, DAY, "createdAt", workers=workers)
    assert len(next(pages).hits) == number
    assert worker_threads() == []
    assert next(pages, None) is None
    assert service.threads == {threading.current_thread()}
    assert service.calls == 1


@pytest.mark.parametrize("workers", [4, 8])
def test_an_evenly_filled_window_costs_few_more_calls_with_many_workers(workers, turns):
    service, stats = evenly_spread(20_000, on_call=turns.call), ScanStats()
    assert list(search(service, workers=workers, stats=stats)) == service.hits
    assert stats.calls == stats.pages == service.calls <= 1.03 * 20_000 / 50
    # One worker alone takes a unit of time for each call.
    assert turns.now < 1.1 * service.calls / workers


@pytest.mark.parametrize("workers", [4, 8])
@pytest.mark.parametrize("seed", range(6))
def test_bursts_cost_few_more_calls(workers, seed, turns):
    chance = random.Random(seed)
    times = []
    while len(times) < 20_000:
        start, length = chance.random() * 86_000, chance.choice([5, 60, 600, 3600])
        times += [start + chance.random() * length for _ in range(chance.choice([10, 200, 2000]))]
    service = Service(hits_at(NOON + timedelta(seconds=each) for each in times), on_call=turns.call)
    assert list(search(service, workers=workers)) == in_window(service.hits, DAY)
    assert service.calls <= 1.1 * len(times) / 50


def test_three_dense_bursts_in_an_empty_day_cost_few_more_calls(turns):
    chance = random.Random(1)
    starts = [1_000, 30_000, 80_000]
    times = [chance.choice(starts) + chance.random() * 200 for _ in range(20_000)]
    service = Service(hits_at(NOON + timedelta(seconds=each) for each in times), on_call=turns.call)
    assert list(search(service, workers=8)) == service.hits
    assert service.calls <= 1.1 * len(times) / 50


def test_one_worker_fetches_a_page_when_it_is_needed():
    service = evenly_spread(500)
    hits = search(service, workers=1)
    assert service.calls == 0
    for number, each in enumerate(hits):
        assert each == service.hits[number]
        # deduplicate_hits keeps the hits of one second until it sees a hit of the next.
        assert service.calls == min((number + 1) // 50 + 1, 10)
        assert worker_threads() == []
    assert service.threads == {threading.current_thread()}


@pytest.mark.parametrize("workers", [1, 4])
def test_the_calls_of_rejected_tokens_are_counted(workers):
    def on_call(number, token):
        if token and number in {2, 30, 77}:
            raise RejectedRequestError("The token is not valid.", code="ValidationException")

    service, stats = evenly_spread(20_000, on_call=on_call), ScanStats()
    assert search_all(service, workers=workers, stats=stats) == service.hits
    assert stats.calls == service.calls


@with_threads
@given(moments, windows, st.integers(1, 9), worker_counts)
def test_the_remaining_time_never_grows_and_is_zero_at_the_end(times, window, size, workers):
    service = Service([make_hit(number, moment) for number, moment in enumerate(times)], size=size)
    with eager_workers():
        pages = list(read_window(service, window, "createdAt", workers=workers))
    remaining = [page.remaining for page in pages]
    assert remaining == sorted(remaining, reverse=True)
    assert timedelta(0) <= remaining[0] <= window.end_ceiling() - window.start
    assert remaining[-1] == timedelta(0)


def test_each_page_counts_what_workers_have_read_ahead(turns):
    service, yielded_hits, yielded_calls, ahead = evenly_spread(20_000, on_call=turns.call), 0, 0, []
    for page in read_window(service, DAY, "createdAt", workers=4):
        yielded_hits, yielded_calls = yielded_hits + len(page.hits), yielded_calls + page.calls
        assert yielded_calls + page.calls_ahead <= service.calls
        assert yielded_hits + page.hits_ahead <= 20_000
        ahead.append((page.hits_ahead, page.calls_ahead))
    assert max(ahead) > (1000, 20)
    assert ahead[-1] == (0, 0)
    assert (yielded_hits, yielded_calls) == (20_000, service.calls)


# How it ends


@pytest.mark.parametrize("kind", [ValueError, AccessDeniedError, KeyboardInterrupt])
def test_an_error_in_one_worker_ends_the_others_and_is_raised_itself(kind):
    problem = kind("No.")
    raised_by = Future()

    def on_call(number, token):
        if number == 120:
            raised_by.set_result(threading.current_thread())
            raise problem
        if number > 120:
            # This call is in progress until the error is known.
            raised_by.result(TIMEOUT_SECONDS).join(TIMEOUT_SECONDS)

    service = evenly_spread(20_000, on_call=on_call)
    with pytest.raises(kind) as caught:
        search_all(service, workers=8)
    assert caught.value is problem
    assert worker_threads() == []
    assert service.calls < 120 + 8


def test_an_error_ends_the_workers_while_no_page_is_consumed():
    problem = ValueError("No")
    away = threading.Event()
    raised_by, others = [], []

    def on_call(number, token):
        # The worker of the first segment does not wait, because its page is needed.
        if service.windows[number - 1] != DAY:
            assert away.wait(TIMEOUT_SECONDS)
        if not away.is_set():
            return
        with service.lock:
            (others if raised_by else raised_by).append(threading.current_thread())
        if raised_by == [threading.current_thread()]:
            raise problem
        raised_by[0].join(TIMEOUT_SECONDS)

    service = evenly_spread(20_000, on_call=on_call)
    pages = read_window(service, DAY, "createdAt", workers=4)
    for _ in range(4):
        with_timeout(lambda: next(pages))
    away.set()
    for thread in worker_threads():
        thread.join(TIMEOUT_SECONDS)
    assert worker_threads() == []
    # Each worker had at most one call in progress.
    assert len(others) == len(set(others)) <= 3
    with pytest.raises(ValueError, match="No") as caught:
        with_timeout(lambda: list(pages))
    assert caught.value is problem


def test_a_rejected_restart_raises_its_own_error():
    problem = RejectedRequestError("No.", code="ValidationException")

    def on_call(number, token):
        if number >= 120:
            raise problem

    with pytest.raises(RejectedRequestError) as caught:
        search_all(evenly_spread(20_000, on_call=on_call))
    assert caught.value is problem
    assert worker_threads() == []


def test_one_of_two_errors_is_raised():
    gathered = threading.Barrier(2, timeout=TIMEOUT_SECONDS)
    problems = {120: ValueError("120"), 121: ValueError("121")}

    def on_call(number, token):
        if number in problems:
            gathered.wait()
            raise problems[number]

    with pytest.raises(ValueError, match=r"12[01]") as caught:
        search_all(evenly_spread(20_000, on_call=on_call))
    assert caught.value in problems.values()


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("read_before", [1, 60, 3000])
def test_closing_the_iterator_ends_the_workers(workers, read_before):
    service = evenly_spread(20_000)

    def read_some():
        hits = search(service, workers=workers)
        got = [next(hits) for _ in range(read_before)]
        hits.close()
        return got, worker_threads(), service.calls

    got, threads, calls = with_timeout(read_some)
    assert got == service.hits[:read_before]
    assert threads == []
    assert service.calls == calls < 400


def test_closing_the_iterator_waits_for_calls_in_progress_and_starts_no_other(turns):
    service = evenly_spread(20_000, on_call=turns.call)
    pages = read_window(service, DAY, "createdAt", workers=4)
    while turns.in_progress < 3:
        next(pages)
    started = service.calls
    pages.close()
    assert turns.in_progress == 0
    assert service.running == 0
    assert service.calls == started


def test_an_error_in_the_consumer_ends_the_workers():
    def read_some():
        for number, _ in enumerate(search(evenly_spread(20_000))):
            if number == 500:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        with_timeout(read_some)
    gc.collect()
    assert worker_threads() == []


# Pages that wait


@pytest.mark.parametrize("workers", [2, 4, 8])
def test_waiting_hits_stay_within_bounds_while_no_page_is_consumed(workers, monkeypatch, turns):
    monkeypatch.setattr(parallel, "READ_AHEAD_HITS", 300)
    received = []
    service = evenly_spread(20_000, on_call=turns.call)

    for number, page in enumerate(read_window(service, DAY, "createdAt", workers=workers)):
        received.extend(page.hits)
        if number in {3, 20}:
            turns.rest()
            # Of the pages at the two ends of a segment, only some hits wait.
            at_ends = 2 * 50 * (service.splits + 1)
            waiting = service.calls * 50 - len(received)
            assert workers * 300 <= waiting <= workers * 300 + workers * 50 + at_ends

    assert received == service.hits


def test_without_space_for_waiting_hits_the_search_still_ends():
    service = Service(uniform(300, MINUTE), size=7)
    with eager_workers(READ_AHEAD_HITS=0):
        assert search_all(service, MINUTE, workers=8) == service.hits
    assert service.splits


def test_if_a_thread_cannot_be_started_the_error_is_raised_and_the_others_end(monkeypatch):
    start = threading.Thread.start

    def limited(thread):
        if thread.name == "image-set-worker-2":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        list(search(evenly_spread(20_000)))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("image-set-worker")]


@pytest.mark.parametrize("read_ahead", [500, 1000])
def test_read_ahead_bounds_what_workers_have_read_ahead(read_ahead, turns):
    received, most = [], []

    def on_call(number, token):
        most.append(number * 50 - len(received))
        turns.call()

    service = evenly_spread(20_000, on_call=on_call)
    for page in read_window(service, DAY, "createdAt", workers=4, read_ahead=read_ahead):
        received.extend(page.hits)
    assert received == service.hits
    # The hits that wait, the pages in progress, and the other hits of the pages at the two ends of a segment.
    assert max(most) <= 4 * read_ahead + 4 * 50 + 2 * 50 * (service.splits + 1)
    assert service.splits >= 8


@pytest.mark.parametrize("order", [reversed, lambda hits: random.Random(4).sample(hits, len(hits))])
def test_a_service_that_does_not_sort_is_an_error_with_many_workers(order):
    service = evenly_spread(2000)
    service.hits = [*order(service.hits)]
    with pytest.raises(HealthImagingError, match="not sorted by createdAt"):
        with_timeout(lambda: list(search(service)))
