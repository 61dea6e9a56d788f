"""A page that arrives cut short is read again, or the search fails; it is never taken for the end of the result.

Botocore 1.43.117 and later parse a body that ended before its ``Content-Length`` as an empty page without a token.
Earlier versions notice, and retry by themselves. The promise is the same under both.
"""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from airflow_provider_healthimaging.exceptions import ConnectionFailedError, IncompleteResponseError
from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.search.pages import ScanStats
from airflow_provider_healthimaging.window import TimeWindow

DATASTORE_ID = "d" * 32
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = TimeWindow(NOON, NOON + timedelta(hours=1))
FAILS_LOUDLY = (IncompleteResponseError, ConnectionFailedError)


def announced(body, cut, send):
    """The length of the whole is announced, and the connection ends before it."""
    send("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [cut]


def adjusted(body, cut, send):
    """Something on the way announces the length of what it passed on."""
    send("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(cut)))])
    return [cut]


def by_hand(*parts):
    def answer(body, cut, send, environ):
        with suppress(OSError):
            environ["werkzeug.socket"].sendall(b"".join(part(cut) for part in parts))
        raise ConnectionAbortedError

    return answer


STATUS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
# No length is announced; the end of the connection is the end of the body.
closed = by_hand(lambda cut: STATUS + b"\r\n", lambda cut: cut)
# In one chunk, after which the last one is missing.
chunked = by_hand(
    lambda cut: STATUS + b"Transfer-Encoding: chunked\r\n\r\n",
    lambda cut: b"%x\r\n%s\r\n" % (len(cut), cut) if cut else b"",
)
# In one chunk that ends in the middle.
in_a_chunk = by_hand(
    lambda cut: STATUS + b"Transfer-Encoding: chunked\r\n\r\n",
    lambda cut: b"%x\r\n%s" % (len(cut) + 9, cut),
)
WAYS = {"announced": announced, "adjusted": adjusted, "closed": closed, "chunked": chunked, "in a chunk": in_a_chunk}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


class Cutter:
    """Cuts answers to SearchImageSets as told: at which byte, in which way, which page, and how often."""

    def __init__(self, at=0, way=announced, times=1, page=1):
        self.at, self.way, self.times, self.page = at, way, times, page
        self.whole_pages = 0

    def __call__(self, app):
        def answer(environ, start_response):
            started = []
            body = b"".join(app(environ, lambda *args: started.append(args)))
            if self.times and self.whole_pages == self.page - 1:
                self.times -= 1
                cut = body[: self.at]
                if self.way in (announced, adjusted):
                    return self.way(body, cut, start_response)
                return self.way(body, cut, start_response, environ)
            self.whole_pages += 1
            start_response(*started[0])
            return [body]

        return answer

    def again(self, **changes):
        """Begin anew, with ``changes``."""
        self.__init__(**{"at": self.at, "way": self.way, "times": 1, "page": self.page} | changes)


def fill(store, count):
    return {
        store.put_image_set(DATASTORE_ID, created_at=NOON + timedelta(seconds=number)).image_set_id
        for number in range(count)
    }


def found(hook, **more):
    return [hit["imageSetId"] for hit in hook.search_image_sets(DATASTORE_ID, window=HOUR, **more)]


def length_of_answer(server, hook):
    """Return how many bytes a whole answer has, as it comes over the wire."""
    lengths = []
    hook.conn.meta.events.register_first(
        "before-parse.medical-imaging.SearchImageSets",
        lambda response_dict, **_: lengths.append(len(response_dict["body"])),
    )
    found(hook)
    return lengths[0]


@ways
def test_a_page_cut_at_any_byte_is_read_again_and_the_result_is_whole(way, behind, store):
    ids = fill(store, 3)
    cutter = Cutter(times=0)
    server, hook = behind(cutter)
    whole = length_of_answer(server, hook)
    assert whole > 1000
    cuts = {0, 1, 2, whole - 2, whole - 1, *range(0, whole, 97)}
    for at in sorted(cuts):
        server.calls.reset()
        cutter.again(at=at, way=way)
        assert sorted(found(hook)) == sorted(ids), f"cut at byte {at} of {whole}"
        assert server.calls.count("SearchImageSets") == 2, f"cut at byte {at} of {whole}"


@ways
@pytest.mark.parametrize("times", [1, 2, 4])
def test_a_page_is_read_again_as_often_as_it_is_cut_and_every_call_is_counted(way, times, behind, store):
    ids = fill(store, 3)
    server, hook = behind(Cutter(at=700, way=way, times=times))
    stats = ScanStats()
    assert sorted(found(hook, stats=stats)) == sorted(ids)
    assert stats.calls == server.calls.count("SearchImageSets") == times + 1
    assert stats.pages == 1


@ways
@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_cut_on_any_page_ends_nothing(way, page, behind, store):
    ids = fill(store, 120)
    server, hook = behind(Cutter(at=900, way=way, times=2, page=page))
    hits = found(hook)
    assert sorted(hits) == sorted(ids)
    assert server.calls.count("SearchImageSets") == 3 + 2


@ways
@pytest.mark.parametrize("at", [0, 1, 700])
def test_a_page_that_is_always_cut_is_a_failure_and_never_a_short_result(way, at, behind, store):
    fill(store, 120)
    server, hook = behind(Cutter(at=at, way=way, times=10**6, page=2))
    with pytest.raises(FAILS_LOUDLY) as caught:
        found(hook)
    assert caught.value.retryable
    assert server.calls.count("SearchImageSets") == 1 + 10


@ways
@pytest.mark.parametrize(
    ("retries", "attempts"),
    [({"total_max_attempts": 3}, 3), ({"max_attempts": 3}, 4), ({"max_attempts": 0}, 1), ({"mode": "legacy"}, 10)],
)
def test_the_number_of_attempts_is_what_botocore_config_says(way, retries, attempts, behind, store):
    fill(store, 3)
    server, hook = behind(Cutter(at=700, way=way, times=10**6), config=Config(retries=retries))
    with pytest.raises(FAILS_LOUDLY):
        found(hook)
    assert server.calls.count("SearchImageSets") == attempts


def test_the_message_says_how_often_and_where_to_look(behind, store):
    fill(store, 3)
    _, hook = behind(Cutter(at=700, way=adjusted, times=10**6), config=Config(retries={"total_max_attempts": 2}))
    with pytest.raises(IncompleteResponseError, match=r"is truncated, or is not JSON \(2 attempts") as caught:
        found(hook)
    assert "Check for a proxy or a firewall" in str(caught.value)


@ways
def test_the_page_iterator_is_protected_too(way, behind, store):
    ids = fill(store, 120)
    cutter = Cutter(at=900, way=way, times=2, page=2)
    _, hook = behind(cutter)
    pages = list(hook.paginate_image_sets(DATASTORE_ID, pagination_config={"PageSize": 50}))
    assert {hit["imageSetId"] for page in pages for hit in page["imageSetsMetadataSummaries"]} == ids
    assert [len(page["imageSetsMetadataSummaries"]) for page in pages] == [50, 50, 20]
    cutter.again(times=10**6, page=3)
    with pytest.raises((IncompleteResponseError, BotoCoreError)):
        hook.paginate_image_sets(DATASTORE_ID).build_full_result()


@ways
def test_counting_is_protected_too(way, behind, store):
    fill(store, 3)
    _, hook = behind(Cutter(at=900, way=way))
    assert hook.count_image_sets(DATASTORE_ID, window=HOUR, limit=10) == 3


@pytest.mark.parametrize("body", [{}, {"nextToken": None}, {"imageSetsMetadataSummaries": None}])
def test_a_whole_answer_without_image_sets_is_an_empty_page(body, behind, store):
    fill(store, 3)

    def answer(app):
        def empty(environ, start_response):
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(body).encode()]

        return empty

    server, hook = behind(answer)
    assert found(hook) == []
    assert hook.count_image_sets(DATASTORE_ID, window=HOUR) == 0
    assert server.calls.count("SearchImageSets") == 2


ROW = {"imageSetId": "a" * 32, "version": 1, "createdAt": NOON.timestamp(), "updatedAt": NOON.timestamp()}
FOREIGN = {
    "a login page": (200, b"<html>Who are you?</html>"),
    "nothing": (200, b""),
    "no content": (204, b""),
    "another success": (201, b"{}"),
    "a part": (206, json.dumps({"imageSetsMetadataSummaries": [ROW]}).encode()),
    "a message": (200, b'{"message": "Who are you?"}'),
    "an error in disguise": (200, b'{"__type": "InternalServerException"}'),
    "null": (200, b"null"),
    "a list": (200, b"[]"),
    "a number": (200, b"5"),
    "nested without end": (200, b"[" * 100_000),
    "a mark before it": (200, b"\xef\xbb\xbf{}"),
    "UTF-16": (200, json.dumps({"imageSetsMetadataSummaries": [ROW]}).encode("utf-16")),
    "half a character": (200, '{"imageSetsMetadataSummaries": [], "sort": "山"}'.encode()[:-3]),
    "rows in an object": (200, b'{"imageSetsMetadataSummaries": {}}'),
    "rows in a text": (200, b'{"imageSetsMetadataSummaries": ""}'),
    "no row": (200, b'{"imageSetsMetadataSummaries": [null]}'),
    "a row without id": (200, b'{"imageSetsMetadataSummaries": [{"version": 1}]}'),
    "tags in a text": (200, json.dumps({"imageSetsMetadataSummaries": [{**ROW, "DICOMTags": "none"}]}).encode()),
    "a number for an id": (200, b'{"imageSetsMetadataSummaries": [{"imageSetId": 5}]}'),
    "an order in a text": (200, json.dumps({"imageSetsMetadataSummaries": [ROW], "sort": "createdAt"}).encode()),
    "an order in a text, and no row": (200, b'{"sort": "createdAt"}'),
    "a token that is none": (200, b'{"imageSetsMetadataSummaries": [], "nextToken": 5}'),
}
foreign = pytest.mark.parametrize(("status", "body"), FOREIGN.values(), ids=FOREIGN)


class Stranger:
    """Answers in the service's place: the second call, so many times."""

    def __init__(self, status, body, times):
        self.answer, self.times, self.calls = (status, body), times, 0

    def __call__(self, app):
        def answer(environ, start_response):
            self.calls += 1
            if not 2 <= self.calls < 2 + self.times:
                return app(environ, start_response)
            status, body = self.answer
            start_response(f"{status} Fine", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            return [body]

        return answer


@foreign
@pytest.mark.parametrize("workers", [1, 4])
def test_what_is_not_the_services_answer_is_asked_for_again(status, body, workers, behind, store):
    ids = fill(store, 120)
    server, hook = behind(Stranger(status, body, times=2))
    assert sorted(found(hook, max_workers=workers)) == sorted(ids)
    assert server.calls.count("SearchImageSets") == 3 + 2


@foreign
def test_what_is_never_the_services_answer_is_a_failure_and_never_a_short_result(status, body, behind, store):
    fill(store, 120)
    _, hook = behind(Stranger(status, body, times=10**6), config=Config(retries={"total_max_attempts": 3}))
    with pytest.raises(IncompleteResponseError, match=r"3 attempts in a row") as caught:
        found(hook)
    assert caught.value.retryable
    assert "Who are you" not in str(caught.value)


def test_a_name_that_is_cut_inside_a_letter_is_read_again(behind, store):
    store.put_image_set(DATASTORE_ID, created_at=NOON, dicom_tags={"DICOMPatientName": "山田^太郎"})
    name = "山田^太郎".encode()

    class Unescaped(Cutter):
        """Sends letters as they are, as the service does."""

        def __call__(self, app):
            def unescaped(environ, start_response):
                (body,) = app(environ, lambda *_: start_response("200 OK", [("Content-Type", "application/json")]))
                return [json.dumps(json.loads(body), ensure_ascii=False).encode()]

            return super().__call__(unescaped)

    cutter = Unescaped(times=0)
    _, hook = behind(cutter)
    bodies = []
    hook.conn.meta.events.register_first(
        "before-parse.medical-imaging.SearchImageSets", lambda response_dict, **_: bodies.append(response_dict["body"])
    )
    found(hook)
    begins = bodies[0].index(name)
    for way in (announced, adjusted, closed):
        for at in range(begins, begins + len(name)):
            cutter.again(at=at, way=way)
            (hit,) = hook.search_image_sets(DATASTORE_ID, window=HOUR)
            assert hit["DICOMTags"]["DICOMPatientName"] == "山田^太郎"


def test_of_other_operations_botocores_parser_says_itself_what_it_trips_over(behind):
    def app(_):
        def answer(environ, start_response):
            start_response("200 OK", [("Content-Type", "application/json")])
            return [b"\xff"]

        return answer

    _, hook = behind(app)
    with pytest.raises(UnicodeDecodeError):
        hook.conn.list_datastores()


@pytest.mark.parametrize("moment", [1.7e300, "yesterday", {}, NOON.timestamp() * 1000])
def test_a_time_that_is_none_is_the_services_fault_and_not_the_callers(moment, behind, store):
    body = json.dumps({"imageSetsMetadataSummaries": [{**ROW, "createdAt": moment}]}).encode()
    fill(store, 120)
    _, hook = behind(Stranger(200, body, times=1))
    with pytest.raises(IncompleteResponseError, match="invalid timestamp") as caught:
        found(hook)
    assert caught.value.retryable


def test_without_the_protection_the_newest_botocore_loses_the_page_or_an_older_one_retries(behind, store, monkeypatch):
    """What this file is about does happen: the same client without our handler gives less, or notices by itself."""
    ids = fill(store, 3)
    server, hook = behind(Cutter(at=700))
    monkeypatch.setattr(HealthImagingHook, "get_client_type", AwsBaseHook.get_client_type)
    hook.conn.meta.config.inject_host_prefix = False
    pages = list(hook.paginate_image_sets(DATASTORE_ID))
    got = {hit["imageSetId"] for page in pages for hit in page.get("imageSetsMetadataSummaries", [])}
    assert (got, server.calls.count()) in ((set(), 1), (ids, 2))
