"""The hook with several workers over real HTTP: the same image sets in the same order, and no thread that stays."""

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

from airflow_provider_healthimaging.aws import client_config, rate_limit
from airflow_provider_healthimaging.aws.rate_limit import MAX_BACKOFF_SECONDS, install_rate_limiter
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
PATIENCE = 30
"""Seconds after which something is taken to hang."""


@pytest.fixture(autouse=True)
def eager_readers(monkeypatch):
    """Make cuts so cheap that some hundreds of image sets are worth them."""
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
def no_thread_stays():
    """Whatever a test does, nothing of a reader is left behind by it."""
    yield
    assert reading_threads() == []


def reading_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("image-set-worker-")]


def fill(store, moments, time_field="createdAt"):
    """Put an image set at each moment, and return the ids in the order of a search."""
    put = [
        store.put_image_set(
            DATASTORE_ID,
            created_at=moment if time_field == "createdAt" else NOON - 9 * DAY,
            updated_at=moment if time_field == "updatedAt" else NOON + 9 * DAY,
        ).image_set_id
        for moment in moments
    ]
    return [image_set_id for _, image_set_id in sorted(zip(moments, put, strict=True))]


def evenly(number, window=WINDOW):
    return [window.start + window.duration * each / number for each in range(number)]


def found(hook, window=WINDOW, *, workers=4, **more):
    return [
        hit["imageSetId"] for hit in hook.search_image_sets(DATASTORE_ID, window=window, max_workers=workers, **more)
    ]


class Watch:
    """Knows the requests that come by, and may answer instead.

    :param instead: called with the number of each request, from 1, and its page token; returns a function that
        takes the application's place, or ``None``.
    """

    def __init__(self, instead=lambda *_: None):
        self.instead = instead
        self.numbers = count(1)
        self.lock = threading.Lock()
        self.queries = []
        self.inside = self.most_inside = 0

    def __call__(self, app):
        def answer(environ, start_response):
            (token,) = parse_qs(environ["QUERY_STRING"]).get("nextToken", [None])
            body = environ["wsgi.input"].read()
            environ["wsgi.input"].seek(0)
            with self.lock:
                number = next(self.numbers)
                self.queries.append(body)
                self.inside += 1
                self.most_inside = max(self.inside, self.most_inside)
            try:
                return (self.instead(number, token) or app)(environ, start_response)
            finally:
                with self.lock:
                    self.inside -= 1

        return answer

    @property
    def cuts(self):
        """How many parts of the window were asked for beside the whole."""
        return len(set(self.queries)) - 1


def failing(code, status):
    def answer(environ, start_response):
        start_response(f"{status} Error", [("x-amzn-ErrorType", code), ("Content-Type", "application/json")])
        return [json.dumps({"message": "No."}).encode()]

    return answer


# What it finds


@pytest.mark.parametrize("time_field", ["createdAt", "updatedAt"])
@pytest.mark.parametrize("edges", [True, False], ids=["edges included", "edges excluded"])
@pytest.mark.parametrize("cut", [True, False], ids=["bounds cut", "bounds whole"])
@pytest.mark.parametrize("offset", [timedelta(0), 0.5 * SECOND], ids=["whole seconds", "fractions"])
def test_each_image_set_of_a_window_is_found_once_and_in_order(behind, store, time_field, edges, cut, offset):
    store.settings.between_includes_edges, store.settings.bounds_cut_to_seconds = edges, cut
    window = TimeWindow(WINDOW.start + offset, WINDOW.end + offset)
    # A few in each of many seconds, and beside the edges of the window and of any segment.
    inside = [NOON + second * SECOND + part for second in range(2, 3600, 40) for part in (0 * SECOND, MICROSECOND)]
    equal = [NOON + 1000 * SECOND] * 120
    last = [window.end - MICROSECOND]
    beside = [window.start - MICROSECOND, window.start - SECOND, window.end, window.end + SECOND]
    ids = fill(store, [window.start, *inside, *equal, *last, *beside], time_field)
    watch = Watch()
    _, hook = behind(watch)
    assert found(hook, window, time_field=time_field) == ids[2:-2]
    assert watch.cuts


def test_all_workers_call_at_the_same_time(behind, store):
    ids = fill(store, evenly(1500))
    together, waiting = threading.Event(), count(1)

    def instead(number, token):
        # By then, enough was read for as many cuts as there are workers.
        if number > 8 and not together.is_set():
            if next(waiting) == 4:
                together.set()
            together.wait(PATIENCE)

    watch = Watch(instead)
    server, hook = behind(watch)
    stats = ScanStats()
    assert found(hook, stats=stats) == ids
    assert together.is_set()
    assert watch.most_inside == 4
    assert stats.calls == server.calls.count("SearchImageSets", status=200)
    assert (stats.image_sets, stats.read) == (1500, 1500)


def test_a_window_that_is_open_by_its_updates_is_read_by_one_call_after_another(behind, store):
    now = datetime.now(UTC)
    ids = fill(store, evenly(400, TimeWindow(now - HOUR, now)), "updatedAt")
    watch = Watch()
    server, hook = behind(watch)
    assert found(hook, TimeWindow(now - HOUR, now + HOUR), time_field="updatedAt") == ids
    assert watch.most_inside == 1
    assert watch.cuts == 0
    assert server.calls.count() == 8


def test_an_image_set_that_is_updated_while_its_open_window_is_read_is_found_once(behind, store):
    now = datetime.now(UTC)
    ids = fill(store, evenly(120, TimeWindow(now - HOUR, now - HOUR / 2)), "updatedAt")

    def instead(number, token):
        if number == 3:
            store.put_image_set(DATASTORE_ID, image_set_id=ids[0], version=2, created_at=NOON - 9 * DAY, updated_at=now)

    _, hook = behind(Watch(instead))
    assert found(hook, TimeWindow(now - HOUR, now + HOUR), time_field="updatedAt") == [*ids[1:], ids[0]]


def test_one_page_is_one_call_by_however_many_workers(server, hook, store):
    ids = fill(store, evenly(50))
    assert found(hook, workers=8) == ids
    assert server.calls.count() == 1


# What goes wrong on the way


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("rejected", [{1}, {5}, {2, 3, 9}, range(999)], ids=["first", "fifth", "some", "all"])
def test_tokens_that_the_service_takes_no_more_cost_a_call_and_no_image_set(behind, store, workers, rejected):
    ids = fill(store, evenly(1000))
    tokens = count(1)

    def instead(number, token):
        if token and next(tokens) in rejected:
            return failing("ValidationException", 400)
        return None

    server, hook = behind(Watch(instead))
    stats = ScanStats()
    assert found(hook, workers=workers, stats=stats) == ids
    assert server.calls.count(status=400) >= min(len(rejected), 3)
    assert stats.calls == server.calls.count()


@pytest.mark.parametrize("at", [1, 2, 12])
def test_an_error_on_the_way_surfaces_and_ends_all_workers(behind, store, at):
    fill(store, evenly(1500))
    server, hook = behind(Watch(lambda number, _: failing("AccessDeniedException", 403) if number >= at else None))
    with pytest.raises(AccessDeniedError) as caught:
        found(hook)
    assert caught.value.code == "AccessDeniedException"
    assert reading_threads() == []
    calls = server.calls.count()
    assert at <= calls < at + 4
    assert server.calls.count() == calls


@pytest.mark.parametrize("at", [2, 7, 8])
def test_a_page_that_is_cut_short_on_the_way_is_read_again(behind, store, monkeypatch, at):
    ids = fill(store, evenly(600))
    watch = Watch()

    def middleware(app):
        def answer(environ, start_response):
            told = []
            (body,) = app(environ, lambda *status: told.append(status))
            status, headers = told[0][:2]
            start_response(status, [*(each for each in headers if each[0] != "Content-Length")])
            # The length is announced by the server, from what is left: nobody can tell but by the JSON.
            return [body[: len(body) // 2] if next(answers) == at else body]

        return watch(answer)

    answers = count(1)
    _, hook = behind(middleware)
    assert found(hook) == ids
    assert next(answers) > 13


def test_a_connection_that_ends_without_an_answer_is_tried_again(behind, store):
    ids = fill(store, evenly(600))

    def instead(number, _):
        if number in {2, 6, 7}:
            raise ConnectionAbortedError

    server, hook = behind(Watch(instead))
    assert found(hook) == ids
    assert server.calls.count(status=200) == server.calls.count() - 3


def test_closing_the_iterator_ends_the_workers(hook, server, store):
    ids = fill(store, evenly(1500))
    hits = hook.search_image_sets(DATASTORE_ID, window=WINDOW, max_workers=4)
    assert [next(hits)["imageSetId"] for _ in range(120)] == ids[:120]
    assert reading_threads()
    kept_by_a_debugger = hits.gi_frame
    hits.close()
    assert reading_threads() == []
    assert server.calls.count() < 40
    assert kept_by_a_debugger


# At the quota


@contextmanager
def quota(store, calls_per_second, burst):
    store.settings.calls_per_second, store.settings.burst = calls_per_second, burst
    yield
    store.settings.calls_per_second = None


def client(server, **retries):
    """Return a client that keeps pace, of plain boto3."""
    config = Config(inject_host_prefix=False, retries=retries, max_pool_connections=client_config.MAX_CONNECTIONS)
    made = boto3.client("medical-imaging", endpoint_url=server.url, region_name="us-east-1", config=config)
    install_rate_limiter(made)
    return made


@pytest.fixture
def paces(monkeypatch):
    """Note what is told to any pace."""
    told = []
    for name in ("acquire", "on_success", "on_throttle"):
        monkeypatch.setattr(
            f"airflow_provider_healthimaging.aws.rate_limit.RateLimiter.{name}", lambda _, name=name: told.append(name)
        )
    return told


@pytest.fixture
def waits_before_refused_calls(monkeypatch):
    """Let them take their time after all: without them, ten attempts are over before a slow bucket has refilled."""
    monkeypatch.setattr(rate_limit, "MAX_BACKOFF_SECONDS", MAX_BACKOFF_SECONDS)


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.usefixtures("waits_before_refused_calls")
def test_refused_calls_are_repeated_and_the_result_is_whole(server, hook, store, workers):
    ids = fill(store, evenly(1000))
    stats = ScanStats()
    with quota(store, 10, 3):
        assert found(hook, workers=workers, stats=stats) == ids
    assert server.calls.count(status=429) >= 1
    assert stats.calls == server.calls.count()


@pytest.mark.parametrize("mode", ["standard", "legacy"])
@pytest.mark.parametrize("attempts", [1, 2, 4])
def test_a_call_that_is_refused_every_time_is_sent_as_often_as_the_client_may(server, store, paces, mode, attempts):
    calls = client(server, mode=mode, total_max_attempts=attempts)
    with quota(store, 0, 0), pytest.raises(ClientError) as caught:
        calls.search_image_sets(datastoreId=DATASTORE_ID)
    assert caught.value.response["Error"]["Code"] == "ThrottlingException"
    assert server.calls.count() == server.calls.count(status=429) == attempts
    assert paces == ["acquire", "on_throttle"] * attempts


def test_a_search_that_is_refused_every_time_says_that_the_quota_is_used_up(server, store):
    hook = HealthImagingHook(config=Config(retries={"total_max_attempts": 3}))
    with quota(store, 0, 0), pytest.raises(ServiceError, match="quota") as caught:
        found(hook)
    assert caught.value.code == "ThrottlingException"
    assert caught.value.retryable
    assert server.calls.count() == 3


def test_a_refusal_of_all_workers_surfaces_and_ends_them(server, store):
    fill(store, evenly(1500))
    hook = HealthImagingHook(config=Config(retries={"total_max_attempts": 2}))
    with quota(store, 0, 12), pytest.raises(ServiceError) as caught:
        found(hook)
    assert caught.value.code == "ThrottlingException"
    assert reading_threads() == []


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("standard", ["acquire", "on_throttle", "acquire", "on_success"]),
        ("legacy", ["acquire", "on_throttle", "acquire", "on_success"]),
        ("adaptive", []),
    ],
)
def test_a_client_keeps_pace_unless_its_mode_does_so_itself(behind, store, paces, mode, expected):
    server, hook = behind(
        Watch(lambda number, _: failing("ThrottlingException", 429) if number == 1 else None),
        config=Config(retries={"mode": mode}),
    )
    assert found(hook) == []
    assert server.calls.count() == 2
    assert paces == expected


def test_other_operations_and_other_errors_are_no_matter_of_pace(behind, store, paces):
    _, hook = behind(Watch(lambda number, _: failing("InternalServerException", 500) if number == 1 else None))
    hook.conn.list_datastores()
    assert paces == []
    assert found(hook) == []
    assert paces == ["acquire", "on_success"]
