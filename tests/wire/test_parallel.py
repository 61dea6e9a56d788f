"""The hook with several workers over real HTTP: the same image sets in the same order, and no thread remains."""

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from urllib.parse import parse_qs

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from airflow_provider_healthimaging.aws import client_config
from airflow_provider_healthimaging.aws.rate_limit import install_rate_limiter
from airflow_provider_healthimaging.exceptions import AccessDeniedError, ServiceError
from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.search import parallel
from airflow_provider_healthimaging.search.pages import ScanStats
from airflow_provider_healthimaging.window import TimeWindow

DATASTORE_ID = "d" * 32
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
WINDOW = TimeWindow(NOON, NOON + HOUR)
TIMEOUT_SECONDS = 30
"""After this time, a test fails because something hangs."""


@pytest.fixture(autouse=True)
def cheap_splits(monkeypatch):
    """Make splits so cheap that some hundreds of image sets justify them."""
    for name, value in {
        "SPLIT_COST_HITS": 1,
        "TARGET_SHARE": 50,
        "MIN_HITS_TO_SPLIT": 10,
        "READ_AHEAD_HITS": 150,
        "WARMUP_PAGES": 1,
        "PAGES_PER_SPLIT_CREDIT": 1,
    }.items():
        monkeypatch.setattr(parallel, name, value)


@pytest.fixture(autouse=True)
def no_thread_remains():
    """Fail if a worker's thread is still alive after a test."""
    yield
    assert worker_threads() == []


def worker_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("image-set-worker-")]


def fill(store, moments, time_field="createdAt"):
    """Add an image set at each moment, and return the ids in the order of a search."""
    put = [
        store.put_image_set(
            DATASTORE_ID,
            created_at=moment if time_field == "createdAt" else NOON - 9 * DAY,
            updated_at=moment if time_field == "updatedAt" else NOON + 9 * DAY,
        ).image_set_id
        for moment in moments
    ]
    return [image_set_id for _, image_set_id in sorted(zip(moments, put, strict=True))]


def evenly_spread(number, window=WINDOW):
    return [window.start + window.duration * each / number for each in range(number)]


def search_ids(hook, window=WINDOW, *, workers=4, **more):
    return [
        hit["imageSetId"] for hit in hook.search_image_sets(DATASTORE_ID, window=window, max_workers=workers, **more)
    ]


class RequestWatch:
    """Middleware that records the requests, and may respond in place of the application.

    :param instead: called with the number of each request, from 1, and its page token. It returns a WSGI application
        that responds in place of the other, or ``None``.
    """

    def __init__(self, instead=lambda *_: None):
        self.instead = instead
        self.numbers = count(1)
        self.lock = threading.Lock()
        self.queries = []
        self.running = self.most_running = 0

    def __call__(self, app):
        def answer(environ, start_response):
            (token,) = parse_qs(environ["QUERY_STRING"]).get("nextToken", [None])
            body = environ["wsgi.input"].read()
            environ["wsgi.input"].seek(0)
            with self.lock:
                number = next(self.numbers)
                self.queries.append(body)
                self.running += 1
                self.most_running = max(self.running, self.most_running)
            try:
                return (self.instead(number, token) or app)(environ, start_response)
            finally:
                with self.lock:
                    self.running -= 1

        return answer

    @property
    def splits(self):
        """How many segments were split off."""
        return len(set(self.queries)) - 1


def held_until_split(watch):
    """Hold every request but the first until another worker asks for a segment, which a busy machine may delay."""
    split = threading.Event()

    def instead(number, token):
        if watch.splits:
            split.set()
        if number > 1:
            assert split.wait(TIMEOUT_SECONDS)

    return instead


def failing(code, status):
    def answer(environ, start_response):
        start_response(f"{status} Error", [("x-amzn-ErrorType", code), ("Content-Type", "application/json")])
        return [json.dumps({"message": "No."}).encode()]

    return answer


# Complete results


@pytest.mark.parametrize("time_field", ["createdAt", "updatedAt"])
@pytest.mark.parametrize("edges", [True, False], ids=["edges included", "edges excluded"])
@pytest.mark.parametrize("truncated", [True, False], ids=["bounds truncated", "bounds exact"])
@pytest.mark.parametrize("offset", [timedelta(0), 0.5 * SECOND], ids=["whole seconds", "fractions"])
def test_each_image_set_of_a_window_is_yielded_once_and_in_order(behind, store, time_field, edges, truncated, offset):
    store.settings.between_includes_edges, store.settings.bounds_cut_to_seconds = edges, truncated
    window = TimeWindow(WINDOW.start + offset, WINDOW.end + offset)
    # Image sets in many seconds, and around the edges of the window and of any segment.
    inside = [NOON + second * SECOND + part for second in range(2, 3600, 40) for part in (0 * SECOND, MICROSECOND)]
    equal = [NOON + 1000 * SECOND] * 120
    last = [window.end - MICROSECOND]
    outside = [window.start - MICROSECOND, window.start - SECOND, window.end, window.end + SECOND]
    ids = fill(store, [window.start, *inside, *equal, *last, *outside], time_field)
    watch = RequestWatch()
    watch.instead = held_until_split(watch)
    _, hook = behind(watch)
    assert search_ids(hook, window, time_field=time_field) == ids[2:-2]
    assert watch.splits


def test_all_workers_call_at_the_same_time(behind, store):
    ids = fill(store, evenly_spread(1500))
    together, waiting = threading.Event(), count(1)

    def instead(number, token):
        # After 8 calls, enough was read to allow a split for each worker.
        if number > 8 and not together.is_set():
            if next(waiting) == 4:
                together.set()
            together.wait(TIMEOUT_SECONDS)

    watch = RequestWatch(instead)
    server, hook = behind(watch)
    stats = ScanStats()
    assert search_ids(hook, stats=stats) == ids
    assert together.is_set()
    assert watch.most_running == 4
    assert stats.calls == server.calls.count("SearchImageSets", status=200)
    assert (stats.image_sets, stats.read) == (1500, 1500)


def test_an_open_window_of_updates_is_read_by_one_worker(behind, store):
    now = datetime.now(UTC)
    ids = fill(store, evenly_spread(400, TimeWindow(now - HOUR, now)), "updatedAt")
    watch = RequestWatch()
    server, hook = behind(watch)
    assert search_ids(hook, TimeWindow(now - HOUR, now + HOUR), time_field="updatedAt") == ids
    assert watch.most_running == 1
    assert watch.splits == 0
    assert server.calls.count() == 8


def test_an_image_set_that_is_updated_during_the_search_is_yielded_once(behind, store):
    now = datetime.now(UTC)
    ids = fill(store, evenly_spread(120, TimeWindow(now - HOUR, now - HOUR / 2)), "updatedAt")

    def instead(number, token):
        if number == 3:
            store.put_image_set(DATASTORE_ID, image_set_id=ids[0], version=2, created_at=NOON - 9 * DAY, updated_at=now)

    _, hook = behind(RequestWatch(instead))
    assert search_ids(hook, TimeWindow(now - HOUR, now + HOUR), time_field="updatedAt") == [*ids[1:], ids[0]]


def test_one_page_costs_one_call_with_many_workers(server, hook, store):
    ids = fill(store, evenly_spread(50))
    assert search_ids(hook, workers=8) == ids
    assert server.calls.count() == 1


# Errors during the search


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("rejected", [{1}, {5}, {2, 3, 9}, range(999)], ids=["first", "fifth", "some", "all"])
def test_rejected_tokens_cost_calls_and_lose_no_image_set(behind, store, workers, rejected):
    ids = fill(store, evenly_spread(1000))
    tokens = count(1)

    def instead(number, token):
        if token and next(tokens) in rejected:
            return failing("ValidationException", 400)
        return None

    server, hook = behind(RequestWatch(instead))
    stats = ScanStats()
    assert search_ids(hook, workers=workers, stats=stats) == ids
    assert server.calls.count(status=400) >= min(len(rejected), 3)
    assert stats.calls == server.calls.count()


@pytest.mark.parametrize("at", [1, 2, 12])
def test_an_error_during_the_search_is_raised_and_ends_all_workers(behind, store, at):
    fill(store, evenly_spread(1500))
    server, hook = behind(
        RequestWatch(lambda number, _: failing("AccessDeniedException", 403) if number >= at else None)
    )
    with pytest.raises(AccessDeniedError) as caught:
        search_ids(hook)
    assert caught.value.code == "AccessDeniedException"
    assert worker_threads() == []
    assert at <= server.calls.count() < at + 4


@pytest.mark.parametrize("at", [2, 7, 8])
def test_a_truncated_page_is_read_again(behind, store, monkeypatch, at):
    ids = fill(store, evenly_spread(600))
    watch = RequestWatch()

    def middleware(app):
        def answer(environ, start_response):
            responses = []
            (body,) = app(environ, lambda *response: responses.append(response))
            status, headers = responses[0][:2]
            start_response(status, [*(each for each in headers if each[0] != "Content-Length")])
            # The server sends the length of the truncated body. So only the JSON shows that it is truncated.
            return [body[: len(body) // 2] if next(answers) == at else body]

        return watch(answer)

    answers = count(1)
    _, hook = behind(middleware)
    assert search_ids(hook) == ids
    assert next(answers) > 13


def test_a_call_without_a_response_is_retried(behind, store):
    ids = fill(store, evenly_spread(600))

    def instead(number, _):
        if number in {2, 6, 7}:
            raise ConnectionAbortedError

    server, hook = behind(RequestWatch(instead))
    assert search_ids(hook) == ids
    assert server.calls.count(status=200) == server.calls.count() - 3


def test_closing_the_iterator_ends_the_workers(hook, server, store):
    ids = fill(store, evenly_spread(1500))
    hits = hook.search_image_sets(DATASTORE_ID, window=WINDOW, max_workers=4)
    assert [next(hits)["imageSetId"] for _ in range(120)] == ids[:120]
    assert worker_threads()
    frame = hits.gi_frame  # a debugger may hold it
    hits.close()
    assert worker_threads() == []
    assert server.calls.count() < 40
    assert frame


# At the quota


@contextmanager
def quota(store, calls_per_second, burst):
    store.settings.calls_per_second, store.settings.burst = calls_per_second, burst
    yield
    store.settings.calls_per_second = None


def client(server, **retries):
    """Return a plain boto3 client with a rate limiter."""
    config = Config(inject_host_prefix=False, retries=retries, max_pool_connections=client_config.MAX_CONNECTIONS)
    made = boto3.client("medical-imaging", endpoint_url=server.url, region_name="us-east-1", config=config)
    install_rate_limiter(made)
    return made


@pytest.fixture
def limiter_calls(monkeypatch):
    """Record the calls to all rate limiters."""
    calls = []
    for name in ("acquire", "on_success", "on_throttle"):
        monkeypatch.setattr(
            f"airflow_provider_healthimaging.aws.rate_limit.RateLimiter.{name}",
            lambda *_, name=name: calls.append(name),
        )
    return calls


@pytest.mark.parametrize("workers", [1, 4])
def test_throttled_calls_are_retried_and_the_result_is_complete(behind, store, workers):
    ids = fill(store, evenly_spread(1000))
    server, hook = behind(
        RequestWatch(lambda number, _: failing("ThrottlingException", 429) if number in {2, 3, 7, 12} else None)
    )
    stats = ScanStats()
    assert search_ids(hook, workers=workers, stats=stats) == ids
    assert server.calls.count(status=429) == 4
    assert stats.calls == server.calls.count()


@pytest.mark.parametrize("mode", ["standard", "legacy"])
@pytest.mark.parametrize("attempts", [1, 2, 4])
def test_a_call_that_is_always_throttled_has_all_attempts_of_the_client(server, store, limiter_calls, mode, attempts):
    calls = client(server, mode=mode, total_max_attempts=attempts)
    with quota(store, 0, 0), pytest.raises(ClientError) as caught:
        calls.search_image_sets(datastoreId=DATASTORE_ID)
    assert caught.value.response["Error"]["Code"] == "ThrottlingException"
    assert server.calls.count() == server.calls.count(status=429) == attempts
    assert limiter_calls == ["acquire", "on_throttle"] * attempts


def test_the_error_of_a_search_that_is_always_throttled_names_the_quota(server, store):
    hook = HealthImagingHook(config=Config(retries={"total_max_attempts": 3}))
    with quota(store, 0, 0), pytest.raises(ServiceError, match="quota") as caught:
        search_ids(hook)
    assert caught.value.code == "ThrottlingException"
    assert caught.value.retryable
    assert server.calls.count() == 3


def test_an_error_about_throttling_ends_all_workers(server, store):
    fill(store, evenly_spread(1500))
    hook = HealthImagingHook(config=Config(retries={"total_max_attempts": 2}))
    with quota(store, 0, 12), pytest.raises(ServiceError) as caught:
        search_ids(hook)
    assert caught.value.code == "ThrottlingException"
    assert worker_threads() == []


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("standard", ["acquire", "on_throttle", "acquire", "on_success"]),
        ("legacy", ["acquire", "on_throttle", "acquire", "on_success"]),
        ("adaptive", []),
    ],
)
def test_a_client_has_a_rate_limiter_unless_its_retry_mode_is_adaptive(behind, store, limiter_calls, mode, expected):
    server, hook = behind(
        RequestWatch(lambda number, _: failing("ThrottlingException", 429) if number == 1 else None),
        config=Config(retries={"mode": mode}),
    )
    assert search_ids(hook) == []
    assert server.calls.count() == 2
    assert limiter_calls == expected


def test_other_operations_and_other_errors_do_not_use_the_rate_limiter(behind, store, limiter_calls):
    _, hook = behind(RequestWatch(lambda number, _: failing("InternalServerException", 500) if number == 1 else None))
    hook.conn.list_datastores()
    assert limiter_calls == []
    assert search_ids(hook) == []
    assert limiter_calls == ["acquire", "on_success"]
