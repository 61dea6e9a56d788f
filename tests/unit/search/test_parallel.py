"""However many readers a window has, its rows come once each and in order, for few calls more, and no thread stays."""

import gc
import random
import sys
import threading
import time
from bisect import bisect_left, bisect_right
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_healthimaging.exceptions import AccessDeniedError, HealthImagingError, RejectedRequestError
from airflow_provider_healthimaging.search import parallel
from airflow_provider_healthimaging.search.pages import Page, ScanStats, deduplicate_hits
from airflow_provider_healthimaging.search.parallel import read_window
from airflow_provider_healthimaging.window import TimeWindow

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
MINUTE = TimeWindow(NOON, NOON + 60 * SECOND)
DAY = TimeWindow(NOON, NOON + timedelta(days=1))
PATIENCE = 30
"""Seconds after which something is taken to hang."""


class Service:
    """Answers from rows in memory, many threads at a time; a token is good for the query it was issued for only.

    :param size: rows on a page.
    :param unit: how fine it sorts and compares.
    :param edges: whether its BETWEEN includes them.
    :param during: called with the number of each call, from 1, and its token, while the call is under way.
    """

    def __init__(self, rows, *, size=50, unit=MICROSECOND, edges=True, during=lambda *_: None):
        self.key = lambda moment: (moment - NOON) // unit
        self.rows = sorted(rows, key=lambda each: self.key(each["createdAt"]))
        self.keys = [self.key(each["createdAt"]) for each in self.rows]
        self.size, self.edges, self.during = size, edges, during
        self.lock = threading.Lock()
        self.tokens = {}
        self.windows = []
        self.threads = set()
        self.inside = self.most_inside = 0

    def __call__(self, window, token):
        with self.lock:
            self.windows.append(window)
            self.threads.add(threading.current_thread())
            self.inside += 1
            self.most_inside = max(self.inside, self.most_inside)
            number = len(self.windows)
        try:
            self.during(number, token)
            return self._page(window.query_bounds(), token)
        finally:
            with self.lock:
                self.inside -= 1

    @property
    def calls(self):
        return len(self.windows)

    @property
    def cuts(self):
        """How many segments were read beside the first, as long as no token is rejected."""
        return len(set(self.windows)) - 1

    def _page(self, bounds, token):
        first, last = self._span(*map(self.key, bounds))
        query, position = self.tokens[token] if token else (bounds, first)
        if query != bounds:
            raise RejectedRequestError("The token is of another query.", code="ValidationException")
        stop = position + self.size
        if stop >= last:
            return Page(self.rows[position:last])
        following = f"{bounds} {stop}"
        self.tokens[following] = bounds, stop
        return Page(self.rows[position:stop], next_token=following)

    def _span(self, lower, upper):
        if self.edges:
            return bisect_left(self.keys, lower), bisect_right(self.keys, upper)
        return bisect_right(self.keys, lower), bisect_left(self.keys, upper)


def row(number, moment, version=1):
    return {"imageSetId": f"{number:032}", "version": version, "createdAt": moment}


def rows_at(moments):
    return [row(number, moment) for number, moment in enumerate(sorted(moments))]


def uniform(number, window=DAY):
    return rows_at(window.start + window.duration * each / number for each in range(number))


def evenly(service_rows, **more):
    return Service(uniform(service_rows), **more)


def hits(service, window=DAY, *, workers=4, stats=None):
    pages = read_window(service, window, "createdAt", workers=workers)
    return deduplicate_hits(
        pages,
        sort_field="createdAt",
        window=window,
        match=lambda _: True,
        order_may_change=False,
        stats=stats or ScanStats(),
    )


def promptly(do):
    """Return what ``do`` returns, or raise what it raises; fail where it hangs."""
    outcome = Future()

    def run():
        try:
            outcome.set_result(do())
        except BaseException as error:  # noqa: BLE001 - raised again where the outcome is asked for
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(PATIENCE)


def found(service, window=DAY, **more):
    return promptly(lambda: list(hits(service, window, **more)))


def in_window(rows, window):
    return [each for each in rows if each["createdAt"] in window]


def reading_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("image-set-worker-")]


@pytest.fixture(autouse=True)
def no_thread_stays():
    """Whatever a test does, nothing of a reader is left behind by it."""
    yield
    assert reading_threads() == []


@contextmanager
def eager_workers(**more):
    """Make cuts so cheap that a few rows are worth them, and the space for waiting rows small."""
    eager = {
        "SPLIT_COST_HITS": 0.1,
        "TARGET_SHARE": 8,
        "MIN_HITS_TO_SPLIT": 1,
        "READ_AHEAD_HITS": 5,
        "WARMUP_PAGES": 1,
        "WARMUP_HITS": 1,
        "PAGES_PER_SPLIT_CREDIT": 0.1,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (eager | more).items():
            patch.setattr(parallel, name, value)
        # Threads take turns a hundred times as often as usual, and so in more different orders.
        usual = sys.getswitchinterval()
        sys.setswitchinterval(usual / 100)
        try:
            yield
        finally:
            sys.setswitchinterval(usual)


with_threads = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
many_or_one = st.integers(1, 8)
units = st.sampled_from([MICROSECOND, SECOND])

# Each distribution, in seconds after noon, is of a window of a minute.
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


# Each row of the window once, in order, and none beside


@with_threads
@given(moments, windows, st.integers(1, 9), many_or_one, units, st.booleans())
def test_each_row_of_a_window_is_given_once_and_in_order_by_any_number_of_readers(
    times, window, size, workers, unit, edges
):
    rows = [row(number, moment) for number, moment in enumerate(times)]
    service = Service(rows, size=size, unit=unit, edges=edges)
    with eager_workers():
        got = found(service, window, workers=workers)
    assert_once_and_in_order(got, in_window(rows, window), service)


@with_threads
@given(moments, st.randoms(use_true_random=False), st.integers(1, 9), many_or_one)
def test_duplicates_at_one_timestamp_collapse_to_the_highest_version_by_any_number_of_readers(
    times, chance, size, workers
):
    # An image set has one createdAt whatever its version.
    times = sorted(times)
    rows = [row(number, moment, version) for number, moment in enumerate(times) for version in (1, 2, 3)]
    rows = [each for each in rows if each["version"] == 1 or chance.random() < 0.4]
    chance.shuffle(rows)
    highest = {}
    for each in rows:
        highest[each["imageSetId"]] = max(each["version"], highest.get(each["imageSetId"], 0))
    service = Service(rows, size=size)
    with eager_workers():
        got = found(service, MINUTE, workers=workers)
    assert [(each["imageSetId"], each["version"]) for each in got] == [
        (each["imageSetId"], highest[each["imageSetId"]]) for each in in_window(rows_at(times), MINUTE)
    ]


@with_threads
@given(moments, st.integers(1, 3), many_or_one, units, st.booleans(), st.sets(st.integers(1, 60)) | st.none())
def test_rejected_tokens_neither_repeat_nor_lose_a_row_of_any_number_of_readers(
    times, more, workers, unit, edges, rejected
):
    def during(number, token):
        if token and (rejected is None or number in rejected):
            raise RejectedRequestError("The token is not valid.", code="ValidationException")

    # Larger than what one second and its neighbours have, so that every search from a second gets beyond it.
    rows = [row(number, moment) for number, moment in enumerate(times)]
    service = Service(rows, size=crowd(times) + more, unit=unit, edges=edges, during=during)
    with eager_workers():
        got = found(service, MINUTE, workers=workers)
    assert_once_and_in_order(got, in_window(rows, MINUTE), service)


def assert_once_and_in_order(got, expected, service):
    assert sorted(each["imageSetId"] for each in got) == sorted(each["imageSetId"] for each in expected)
    order = [service.key(each["createdAt"]) for each in got]
    assert order == sorted(order)


def crowd(times):
    """Return the most rows of three seconds on end."""
    whole = [(each - NOON) // SECOND for each in times]
    return max((sum(first <= each <= first + 2 for each in whole) for first in whole), default=0)


@pytest.mark.parametrize("workers", [2, 4, 8])
def test_the_examples_above_are_cut_as_real_windows_are(workers):
    service = Service(uniform(120, MINUTE), size=5)
    with eager_workers():
        assert found(service, MINUTE, workers=workers) == service.rows
    assert service.cuts >= 3
    assert len(service.threads) >= 2


@pytest.mark.parametrize("workers", [2, 4, 8])
def test_all_readers_read_different_rows_at_the_same_time(workers):
    together = threading.Event()
    waiting = count(1)

    def during(number, token):
        # By then, enough was read for as many cuts as there are parallel.
        if number > 100 and not together.is_set():
            if next(waiting) == workers:
                together.set()
            assert together.wait(PATIENCE)

    service = evenly(20_000, during=during)
    assert found(service, workers=workers) == service.rows
    assert together.is_set()
    assert service.most_inside == workers


# In how many calls


def take_time(number, token):
    """Take as long as a service nearby: with answers at once, the machine's scheduler would decide who reads what."""
    time.sleep(0.002)


@pytest.mark.parametrize("workers", [1, 4, 8])
@pytest.mark.parametrize("number", [0, 1, 50])
def test_what_fits_on_one_page_costs_one_call_and_no_thread(workers, number):
    service = evenly(number)
    pages = read_window(service, DAY, "createdAt", workers=workers)
    assert len(next(pages).hits) == number
    assert reading_threads() == []
    assert next(pages, None) is None
    assert service.threads == {threading.current_thread()}
    assert service.calls == 1


@pytest.mark.parametrize("workers", [4, 8])
def test_a_window_that_is_evenly_full_costs_hardly_more_calls_by_many_readers(workers):
    service, stats = evenly(20_000, during=take_time), ScanStats()
    assert found(service, workers=workers, stats=stats) == service.rows
    assert stats.calls == stats.pages == service.calls <= 1.03 * 20_000 / 50
    assert len(service.threads) > 1


@pytest.mark.parametrize("workers", [4, 8])
@pytest.mark.parametrize("seed", range(6))
def test_bursts_cost_few_calls_more(workers, seed):
    chance = random.Random(seed)
    times = []
    while len(times) < 20_000:
        start, length = chance.random() * 86_000, chance.choice([5, 60, 600, 3600])
        times += [start + chance.random() * length for _ in range(chance.choice([10, 200, 2000]))]
    service = Service(rows_at(NOON + timedelta(seconds=each) for each in times), during=take_time)
    assert found(service, workers=workers) == in_window(service.rows, DAY)
    assert service.calls <= 1.1 * len(times) / 50


def test_three_dense_bursts_in_an_empty_day_cost_few_calls_more():
    chance = random.Random(1)
    starts = [1_000, 30_000, 80_000]
    times = [chance.choice(starts) + chance.random() * 200 for _ in range(20_000)]
    service = Service(rows_at(NOON + timedelta(seconds=each) for each in times), during=take_time)
    assert found(service, workers=8) == service.rows
    assert service.calls <= 1.1 * len(times) / 50


def test_one_reader_asks_for_nothing_ahead_of_need():
    service = evenly(500)
    rows = hits(service, workers=1)
    assert service.calls == 0
    for number, each in enumerate(rows):
        assert each == service.rows[number]
        # The deduplicate_hits holds a group until it has seen the next row.
        assert service.calls == min((number + 1) // 50 + 1, 10)
        assert reading_threads() == []
    assert service.threads == {threading.current_thread()}


@pytest.mark.parametrize("workers", [1, 4])
def test_the_calls_of_rejected_tokens_are_counted(workers):
    def during(number, token):
        if token and number in {2, 30, 77}:
            raise RejectedRequestError("The token is not valid.", code="ValidationException")

    service, stats = evenly(20_000, during=during), ScanStats()
    assert found(service, workers=workers, stats=stats) == service.rows
    assert stats.calls == service.calls


@with_threads
@given(moments, windows, st.integers(1, 9), many_or_one)
def test_what_is_left_of_a_window_only_shrinks_and_is_nothing_at_the_end(times, window, size, workers):
    service = Service([row(number, moment) for number, moment in enumerate(times)], size=size)
    with eager_workers():
        pages = list(read_window(service, window, "createdAt", workers=workers))
    left = [page.remaining for page in pages]
    assert left == sorted(left, reverse=True)
    assert timedelta(0) <= left[0] <= window.end_ceiling() - window.start
    assert left[-1] == timedelta(0)


def test_what_readers_have_read_ahead_is_told_with_each_page():
    service, given_rows, given_calls, ahead = evenly(20_000), 0, 0, []
    for page in read_window(service, DAY, "createdAt", workers=4):
        given_rows, given_calls = given_rows + len(page.hits), given_calls + page.calls
        assert given_calls + page.calls_ahead <= service.calls
        assert given_rows + page.hits_ahead <= 20_000
        ahead.append((page.hits_ahead, page.calls_ahead))
    assert max(ahead) > (1000, 20)
    assert ahead[-1] == (0, 0)
    assert (given_rows, given_calls) == (20_000, service.calls)


# How it ends


@pytest.mark.parametrize("kind", [ValueError, AccessDeniedError, KeyboardInterrupt])
def test_an_error_of_one_reader_ends_the_others_and_surfaces_as_itself(kind):
    problem = kind("No.")
    raised_by = []

    def during(number, token):
        if number == 120:
            raised_by.append(threading.current_thread())
            raise problem
        if number > 120:
            # Under way until the error is known.
            raised_by[0].join(PATIENCE)

    service = evenly(20_000, during=during)
    with pytest.raises(kind) as caught:
        found(service, workers=8)
    assert caught.value is problem
    assert reading_threads() == []
    assert service.calls < 120 + 8


def test_an_error_ends_the_readers_while_nobody_takes_their_rows():
    problem = ValueError("No")
    away = threading.Event()
    raised_by, others = [], []

    def during(number, token):
        # The first reader is not held up: its page is waited for.
        if service.windows[number - 1] != DAY:
            assert away.wait(PATIENCE)
        if not away.is_set():
            return
        with service.lock:
            (others if raised_by else raised_by).append(threading.current_thread())
        if raised_by == [threading.current_thread()]:
            raise problem
        raised_by[0].join(PATIENCE)

    service = evenly(20_000, during=during)
    pages = read_window(service, DAY, "createdAt", workers=4)
    for _ in range(4):
        promptly(lambda: next(pages))
    away.set()
    for thread in reading_threads():
        thread.join(PATIENCE)
    assert reading_threads() == []
    # Each had one call under way at most.
    assert len(others) == len(set(others)) <= 3
    with pytest.raises(ValueError, match="No") as caught:
        promptly(lambda: list(pages))
    assert caught.value is problem


def test_a_rejection_that_a_new_search_does_not_help_against_surfaces_as_itself():
    problem = RejectedRequestError("No.", code="ValidationException")

    def during(number, token):
        if number >= 120:
            raise problem

    with pytest.raises(RejectedRequestError) as caught:
        found(evenly(20_000, during=during))
    assert caught.value is problem
    assert reading_threads() == []


def test_the_first_of_two_errors_surfaces():
    gathered = threading.Barrier(2, timeout=PATIENCE)
    problems = {120: ValueError("120"), 121: ValueError("121")}

    def during(number, token):
        if number in problems:
            gathered.wait()
            raise problems[number]

    with pytest.raises(ValueError, match=r"12[01]") as caught:
        found(evenly(20_000, during=during))
    assert caught.value in problems.values()


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("given_before", [1, 60, 3000])
def test_closing_the_iterator_ends_the_readers(workers, given_before):
    service = evenly(20_000)

    def read_some():
        rows = hits(service, workers=workers)
        got = [next(rows) for _ in range(given_before)]
        rows.close()
        return got, reading_threads(), service.calls

    got, threads, calls = promptly(read_some)
    assert got == service.rows[:given_before]
    assert threads == []
    assert service.calls == calls < 400


def test_closing_the_iterator_waits_for_calls_under_way_and_starts_none():
    under_way, going_on = threading.Event(), threading.Event()

    def during(number, token):
        if number > 50:
            under_way.set()
            assert going_on.wait(PATIENCE)

    service = evenly(20_000, during=during)

    def read_some():
        pages = read_window(service, DAY, "createdAt", workers=4)
        for _ in range(4):
            next(pages)
        assert under_way.wait(PATIENCE)
        threading.Timer(0.05, going_on.set).start()
        pages.close()
        return going_on.is_set(), reading_threads()

    assert promptly(read_some) == (True, [])
    assert service.calls <= 50 + 4


def test_an_error_of_whoever_takes_the_rows_ends_the_readers():
    def read_some():
        for number, _ in enumerate(hits(evenly(20_000))):
            if number == 500:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        promptly(read_some)
    gc.collect()
    assert reading_threads() == []


# What waits


@pytest.mark.parametrize("workers", [2, 4, 8])
def test_rows_wait_within_bounds_while_nobody_takes_them(workers, monkeypatch):
    monkeypatch.setattr(parallel, "READ_AHEAD_HITS", 300)
    taken = []
    full, too_full = threading.Event(), threading.Event()

    def during(number, token):
        asked_for = number * 50 - len(taken)
        # Of a page at each end of a segment only a part waits.
        beside = 2 * 50 * (service.cuts + 1)
        if asked_for >= workers * 300:
            full.set()
        if asked_for > workers * 300 + workers * 50 + beside:
            too_full.set()

    service = evenly(20_000, during=during)

    def read_all():
        for number, page in enumerate(read_window(service, DAY, "createdAt", workers=workers)):
            taken.extend(page.hits)
            if number in {3, 20}:
                assert full.wait(PATIENCE)
                # The time in which a reader without bounds would have read all.
                assert not too_full.wait(0.2)
                full.clear()

    promptly(read_all)
    assert taken == service.rows
    assert not too_full.is_set()


def test_no_space_for_waiting_rows_makes_it_slow_and_not_stuck():
    service = Service(uniform(300, MINUTE), size=7)
    with eager_workers(READ_AHEAD_HITS=0):
        assert found(service, MINUTE, workers=8) == service.rows
    assert service.cuts


def test_a_thread_that_cannot_be_started_is_the_error_and_the_others_end(monkeypatch):
    start = threading.Thread.start

    def limited(thread):
        if thread.name == "image-set-worker-2":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        list(hits(evenly(20_000)))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("image-set-worker")]


@pytest.mark.parametrize("read_ahead", [500, 1000])
def test_with_less_read_ahead_less_is_lost_with_a_reader_that_ends(read_ahead):
    taken, most = [], []

    def during(number, token):
        most.append(number * 50 - len(taken))

    service = evenly(20_000, during=during)

    def read_all():
        for page in read_window(service, DAY, "createdAt", workers=4, read_ahead=read_ahead):
            taken.extend(page.hits)

    promptly(read_all)
    assert taken == service.rows
    # What waits, the pages under way, and of a page at each end of a segment a part.
    assert max(most) <= 4 * read_ahead + 4 * 50 + 2 * 50 * (service.cuts + 1)
    assert service.cuts >= 8


@pytest.mark.parametrize("order", [reversed, lambda rows: random.Random(4).sample(rows, len(rows))])
def test_many_readers_of_a_service_that_does_not_sort_end_with_an_error_that_says_so(order):
    service = evenly(2000)
    service.rows = [*order(service.rows)]
    with pytest.raises(HealthImagingError, match="not sorted by createdAt"):
        promptly(lambda: list(hits(service)))
