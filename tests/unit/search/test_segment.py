"""A segment yields each of its hits once, in order, and restarts if the service rejects a page token."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_healthimaging.exceptions import (
    AccessDeniedError,
    HealthImagingError,
    RejectedRequestError,
    ServiceError,
)
from airflow_provider_healthimaging.search.pages import Page, ScanStats, deduplicate_hits
from airflow_provider_healthimaging.search.parallel import read_window
from airflow_provider_healthimaging.search.segment import Segment, tokens_rejected_error
from airflow_provider_healthimaging.window import TimeWindow

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
MINUTE = TimeWindow(NOON, NOON + 60 * SECOND)


def make_hit(image_set_id, at):
    return {"imageSetId": str(image_set_id), "version": 1, "createdAt": NOON + timedelta(seconds=at)}


class Service:
    """Returns pages of hits in memory. It accepts a token only for the query that it issued it for.

    :param rejects: numbers of the calls with rejected tokens. The first call is number 0.
    :param unit: the precision with which it sorts and compares.
    :param edges: whether its BETWEEN includes the edges.
    """

    def __init__(self, hits, *, size=3, rejects=(), unit=MICROSECOND, edges=True):
        self.key = lambda moment: (moment - NOON) // unit
        self.hits = sorted(hits, key=lambda each: self.key(each["createdAt"]))
        self.size, self.rejects, self.edges = size, rejects, edges
        self.tokens = {}
        self.requests = []

    def __call__(self, window, token):
        self.requests.append((window, token))
        assert len(self.requests) < 500, "the search does not end"
        bounds = window.query_bounds()
        query, position = self.tokens.get(token, (bounds, 0))
        if token is not None and (query != bounds or len(self.requests) - 1 in self.rejects):
            raise RejectedRequestError("The token is not valid.", code="ValidationException")
        lower, upper = map(self.key, bounds)
        hits = [
            each for each in self.hits if lower < self.key(each["createdAt"]) < upper or self._on_an_edge(each, bounds)
        ]
        stop = position + self.size
        if stop >= len(hits):
            return Page(hits[position:])
        following = f"token {len(self.requests)}"
        self.tokens[following] = bounds, stop
        return Page(hits[position:stop], next_token=following)

    def _on_an_edge(self, each, bounds):
        return self.edges and self.key(each["createdAt"]) in map(self.key, bounds)


class AllCalls:
    """A set that contains the number of each call."""

    def __contains__(self, number):
        return True


def read(segment, fetch):
    """Yield the hits of a segment, page by page."""
    while not segment.done:
        yield from segment.accept(segment.fetch(fetch)).hits


def ids(hits):
    return [each["imageSetId"] for each in hits]


def search_ids(service, window=MINUTE):
    return ids(read(Segment(window, "createdAt"), service))


def most_hits_in_three_seconds(hits):
    """Return the most hits in three consecutive seconds. A larger page reaches beyond its first second."""
    seconds = [(each["createdAt"] - NOON) // SECOND for each in hits]
    return max((sum(first <= each <= first + 2 for each in seconds) for first in seconds), default=0)


seconds = st.integers(-2_000_000, 62_000_000).map(lambda each: each / 1e6)
on_the_edges = st.sampled_from([-1, -1e-6, 0, 1e-6, 1, 29.999999, 30, 30.000001, 59, 59.999999, 60, 60.000001, 61])
crowded = st.integers(28, 40).map(lambda each: each / 4)
some_hits = st.lists(seconds | on_the_edges | crowded, max_size=30).map(
    lambda drawn: [make_hit(number, at) for number, at in enumerate(drawn)]
)
calls = st.sets(st.integers(1, 40)) | st.just(AllCalls())
units = st.sampled_from([MICROSECOND, SECOND])


# Each hit once


@given(some_hits, st.integers(1, 7), units, st.booleans())
def test_each_hit_of_the_window_is_yielded_once_in_the_order_of_the_service(hits, size, unit, edges):
    service = Service(hits, size=size, unit=unit, edges=edges)
    assert search_ids(service) == ids(each for each in service.hits if each["createdAt"] in MINUTE)


@given(some_hits, st.integers(1, 59), st.integers(0, 5), st.integers(1, 7), units, st.booleans())
def test_both_parts_of_a_split_segment_yield_each_hit_once(hits, at, before, size, unit, edges):
    service = Service(hits, size=size, unit=unit, edges=edges)
    segment = Segment(MINUTE, "createdAt")
    got = []
    for _ in range(before):
        if not segment.done:
            got += segment.accept(segment.fetch(service)).hits
    moment = max(NOON + at * SECOND, segment.position.replace(microsecond=0) + SECOND)
    if segment.done or moment >= segment.end:
        return
    rest = segment.split_at(moment)
    got += [*read(segment, service), *read(rest, service)]
    assert ids(got) == ids(each for each in service.hits if each["createdAt"] in MINUTE)


def test_a_page_fetched_before_a_split_yields_no_hit_of_the_later_part():
    service = Service([make_hit(number, number) for number in range(0, 60, 10)])
    segment = Segment(MINUTE, "createdAt")
    page = segment.fetch(service)
    rest = segment.split_at(NOON + 20 * SECOND)
    assert ids(segment.accept(page).hits) == ["0", "10"]
    assert segment.done
    assert ids(read(rest, service)) == ["20", "30", "40", "50"]


HITS_AROUND_THE_END = [make_hit("a", 59), make_hit("b", 60), make_hit("c", 60.5), make_hit("d", 61)]


def test_no_page_is_fetched_after_a_hit_at_or_behind_a_split():
    service = Service(HITS_AROUND_THE_END, size=2)
    segment = Segment(TimeWindow(NOON, NOON + 99 * SECOND), "createdAt")
    rest = segment.split_at(MINUTE.end)
    assert ids(read(segment, service)) == ["a"]
    assert len(service.requests) == 1
    assert ids(read(rest, service)) == ["b", "c", "d"]


def test_a_window_is_read_to_the_last_page_of_the_service():
    service = Service(HITS_AROUND_THE_END, size=2)
    assert search_ids(service) == ["a"]
    assert len(service.requests) == 2


# A service that does not sort, or that repeats hits


class UnsortedService:
    """Returns hits in the order that they have in memory, and repeats the last ``overlap`` hits of each page.

    Its tokens are positions. With ``starts_again``, the first page comes again after the last one.
    """

    def __init__(self, hits, *, size=3, overlap=0, starts_again=False):
        self.hits, self.size, self.step, self.starts_again = hits, size, size - overlap, starts_again
        self.calls = 0

    def __call__(self, window, token):
        self.calls += 1
        assert self.calls < 5000, "the search does not end"
        lower, upper = window.query_bounds()
        hits = [each for each in self.hits if lower <= each["createdAt"] <= upper]
        position = int(token or 0)
        is_last = position + self.size >= len(hits)
        following = None
        if not is_last or self.starts_again:
            # The width depends on the position, so that tokens for the same page can have different texts.
            following = f"{0 if is_last else position + self.step:0{position + 9}}"
        return Page(hits[position : position + self.size], next_token=following)


@given(
    st.lists(st.integers(-3, 64).map(lambda each: each / 2) | st.sampled_from([0, 59.9, 60, 60.5]), max_size=30),
    st.sampled_from([sorted, list, reversed]),
    st.integers(1, 5),
    st.integers(0, 4),
)
def test_in_any_order_each_hit_is_yielded_once_or_an_error_says_that_they_are_not_sorted(moments, order, size, overlap):
    hits = [make_hit(number, at) for number, at in enumerate(order(moments))]
    expected = [each["imageSetId"] for each in hits if each["createdAt"] in MINUTE]
    service, problem, got = UnsortedService(hits, size=size + overlap, overlap=overlap), "", []
    pages = read_window(service, MINUTE, "createdAt", workers=1)
    result = deduplicate_hits(
        pages, sort_field="createdAt", window=MINUTE, match=lambda _: True, order_may_change=False, stats=ScanStats()
    )
    try:
        got = ids(result)
    except HealthImagingError as error:
        problem = str(error)
    if problem:
        assert order is not sorted or overlap
        assert "not sorted by createdAt" in problem
    else:
        assert sorted(got) == sorted(expected)


def test_pages_that_overlap_by_seconds_are_an_error():
    hits = [make_hit(number, number) for number in range(38)]
    with pytest.raises(HealthImagingError, match="not sorted by createdAt"):
        search_ids(UnsortedService(hits, size=10, overlap=3))


def test_an_unsorted_page_is_an_error_also_if_it_is_the_only_one():
    with pytest.raises(HealthImagingError, match="not sorted by createdAt"):
        search_ids(UnsortedService([make_hit(number, at) for number, at in enumerate([60.5, 3, 1, 59])], size=9))


def test_pages_that_start_again_after_the_last_one_are_an_error():
    hits = [make_hit(number, number) for number in range(9)]
    service = UnsortedService(hits, starts_again=True)
    with pytest.raises(HealthImagingError, match=r"not sorted by createdAt|the same page token twice"):
        search_ids(service)
    assert service.calls < 99


def test_empty_pages_do_not_end_a_segment():
    pages = iter(
        [Page([], next_token="1"), Page([make_hit("a", 1)], next_token="2"), Page([], next_token="3"), Page([])]
    )
    assert search_ids(lambda *_: next(pages)) == ["a"]
    assert next(pages, None) is None


# Rejected tokens


@given(some_hits, st.integers(1, 3), calls, units, st.booleans())
def test_rejected_tokens_neither_repeat_nor_lose_a_hit(hits, more, rejects, unit, edges):
    # A page is larger than the number of hits in one second and its neighbours, so every restart makes progress.
    service = Service(hits, size=most_hits_in_three_seconds(hits) + more, rejects=rejects, unit=unit, edges=edges)
    assert sorted(search_ids(service)) == sorted(ids(each for each in hits if each["createdAt"] in MINUTE))


@given(some_hits, st.integers(1, 4), calls, units, st.booleans())
def test_the_hits_before_an_error_are_the_first_ones_each_once(hits, size, rejects, unit, edges):
    service = Service(hits, size=size, rejects=rejects, unit=unit, edges=edges)
    expected = ids(each for each in service.hits if each["createdAt"] in MINUTE)
    got = []
    try:
        got.extend(each["imageSetId"] for each in read(Segment(MINUTE, "createdAt"), service))
    except ServiceError:
        assert got == expected[: len(got)]
    else:
        assert got == expected


def test_a_version_created_meanwhile_is_yielded_after_a_restart():
    newer = make_hit("a", 5) | {"version": 2}
    pages = iter(
        [
            Page([make_hit("z", 0), make_hit("a", 5)], next_token="t"),
            None,
            Page([make_hit("a", 5), newer, make_hit("b", 9)]),
        ]
    )

    def fetch(*_):
        page = next(pages)
        if page is None:
            raise RejectedRequestError("The token is not valid.", code="ValidationException")
        return page

    versions = [(each["imageSetId"], each["version"]) for each in read(Segment(MINUTE, "createdAt"), fetch)]
    assert versions == [("z", 1), ("a", 1), ("a", 2), ("b", 1)]


@pytest.mark.parametrize("rejects", [{1}, {2}, {1, 3}, {1, 3, 6}])
def test_hits_with_one_timestamp_on_two_pages_are_each_yielded_once(rejects):
    hits = [make_hit("a", 0), *(make_hit(name, 7.25) for name in "bcdef"), make_hit("g", 7.5), make_hit("h", 30)]
    assert search_ids(Service(hits, size=4, rejects=rejects)) == list("abcdefgh")


def test_a_restart_begins_at_the_last_second_read_and_without_a_token():
    service = Service([make_hit(number, number + 0.5) for number in range(8)], rejects={2})
    assert search_ids(service) == [str(number) for number in range(8)]
    assert service.requests[2][1] is not None
    assert service.requests[3] == (TimeWindow(NOON + 5 * SECOND, MINUTE.end), None)


@pytest.mark.parametrize("last", [60, 61])
def test_a_token_that_is_rejected_behind_the_end_of_the_window_needs_no_restart(last):
    requests = []

    def reject(window, token):
        requests.append((window, token))
        raise RejectedRequestError("The token is not valid.", code="ValidationException")

    segment = Segment(MINUTE, "createdAt")
    segment.accept(Page([make_hit("a", 59), make_hit("b", last)], next_token="next"))
    assert not segment.done
    assert segment.accept(segment.fetch(reject)).hits == []
    assert segment.done
    assert len(requests) == 1


def test_a_restart_of_a_split_segment_ends_at_the_split():
    service = Service([make_hit(number, number) for number in range(20)], rejects={1})
    segment = Segment(MINUTE, "createdAt")
    first = segment.accept(segment.fetch(service)).hits
    segment.split_at(NOON + 9 * SECOND)
    assert ids([*first, *read(segment, service)]) == [str(number) for number in range(9)]
    assert service.requests[2][0] == TimeWindow(NOON + 2 * SECOND, NOON + 9 * SECOND)


def test_a_restart_does_not_widen_a_window_that_begins_within_a_second():
    window = TimeWindow(NOON + 0.5 * SECOND, MINUTE.end)
    hits = [
        make_hit("before", 0.25),
        make_hit("a", 0.5),
        make_hit("b", 0.75),
        make_hit("c", 0.75),
        make_hit("d", 0.875),
        make_hit("e", 9),
    ]
    assert search_ids(Service(hits, size=5, rejects={1}), window) == list("abcde")


def test_the_search_continues_if_a_token_is_accepted_after_restarts():
    hits = [make_hit(number, 7) for number in range(9)]
    # Each restart returns the known page, and a token that is rejected.
    assert search_ids(Service(hits, rejects={*range(1, 20, 2)})) == [str(number) for number in range(9)]


def test_tokens_that_are_always_rejected_are_a_retryable_error():
    service = Service([make_hit(number, 7) for number in range(9)], rejects=AllCalls())
    with pytest.raises(ServiceError, match="page tokens that it had just returned") as caught:
        search_ids(service)
    assert caught.value.retryable
    assert not isinstance(caught.value, RejectedRequestError)
    assert caught.value.__context__ is None
    assert [token is None for _, token in service.requests] == [True, False] * 11


def test_restarts_with_progress_are_not_limited():
    service = Service([make_hit(number, number) for number in range(40)], rejects=AllCalls())
    assert search_ids(service) == [str(number) for number in range(40)]


def test_a_request_without_a_token_is_not_repeated_if_it_is_rejected():
    rejected = RejectedRequestError("No.", code="ValidationException")
    requests = []

    def fetch(*query):
        requests.append(query)
        raise rejected

    with pytest.raises(RejectedRequestError) as caught:
        Segment(MINUTE, "createdAt").fetch(fetch)
    assert caught.value is rejected
    assert requests == [(MINUTE, None)]


def test_a_rejected_restart_raises_its_own_error():
    service = Service([make_hit(number, number) for number in range(9)], rejects={1})
    last = RejectedRequestError("No.", code="ValidationException")
    numbers = count()

    def fetch(window, token):
        if next(numbers) == 2:
            raise last
        return service(window, token)

    with pytest.raises(RejectedRequestError) as caught:
        search_ids(fetch)
    assert caught.value is last
    assert next(numbers) == 3


def test_only_a_rejected_request_leads_to_a_restart():
    service = Service([make_hit(number, number) for number in range(9)])
    denied = AccessDeniedError("No.", code="AccessDeniedException")

    def fetch(window, token):
        if token:
            raise denied
        return service(window, token)

    with pytest.raises(AccessDeniedError) as caught:
        search_ids(fetch)
    assert caught.value is denied
    assert len(service.requests) == 1


def test_a_rejected_call_is_counted_with_the_page_of_the_restart():
    service = Service([make_hit(number, number) for number in range(9)], rejects={2})
    segment = Segment(MINUTE, "createdAt")
    pages = []
    while not segment.done:
        pages.append(segment.accept(segment.fetch(service)))
    assert [page.calls for page in pages] == [1, 1, 2, 1]
    assert sum(page.calls for page in pages) == len(service.requests)


# Errors of the service, and the measured density


def test_a_repeated_token_is_an_error_and_not_an_endless_search():
    pages = iter([Page([make_hit(number, number)], next_token="again") for number in range(9)])
    with pytest.raises(HealthImagingError, match="the same page token twice"):
        search_ids(lambda *_: next(pages))
    assert len(list(pages)) == 7


def test_a_hit_without_the_timestamp_is_an_error():
    hits = [make_hit("a", 1), {"imageSetId": "b" * 32, "version": 1, "DICOMTags": {"DICOMPatientName": "CANARY"}}]
    with pytest.raises(HealthImagingError, match=r"b{32} without createdAt") as caught:
        search_ids(lambda *_: Page(hits))
    assert "CANARY" not in str(caught.value)


def test_a_later_part_starts_with_the_density_of_the_earlier_one_and_measures_from_the_split():
    service = iter([Page([make_hit(second, second) for second in range(4)], next_token="t"), Page([make_hit(9, 40)])])
    segment = Segment(MINUTE, "createdAt")
    segment.accept(segment.fetch(lambda *_: next(service)))
    rest = segment.split_at(NOON + 20 * SECOND)
    inherited = rest.hits_per_second
    rest.accept(rest.fetch(lambda *_: next(service)))

    assert inherited == segment.hits_per_second == pytest.approx(4 / 3)
    # One hit in the twenty seconds after the split.
    assert rest.hits_per_second == pytest.approx(1 / 20)


def test_the_error_about_rejected_tokens_says_what_happened_and_what_to_do():
    error = tokens_rejected_error("ValidationException")

    assert str(error) == (
        "HealthImaging answered ValidationException to page tokens that it had just returned, so the result would be "
        "incomplete. They may have expired. Retry. If the error stays, search shorter windows, and report it to AWS."
    )
    assert error.code == "ValidationException"


def test_an_unread_segment_is_not_done_and_estimates_no_hits():
    segment = Segment(MINUTE, "createdAt")
    assert segment.done is False
    assert segment.hits_left == 0


def density_after(*pages):
    """Return the density that a segment measures on pages with hits at these seconds."""
    segment = Segment(MINUTE, "createdAt")
    for page in pages:
        segment.accept(Page([make_hit(second, second) for second in page], next_token="t"))
    return segment.hits_per_second


def test_the_density_is_measured_from_the_first_hit():
    assert density_after([30, 31, 32, 33]) == pytest.approx(4 / 3)


def test_a_later_page_has_more_weight_than_an_earlier_one():
    assert density_after([0, 1, 2, 3], [10, 13]) == pytest.approx((4 * 0.9 + 2) / (3 * 0.9 + 10))


def test_less_than_a_second_counts_as_one_second_for_the_density():
    assert density_after([0, 0.1, 0.2, 0.3]) == 4


def test_a_single_hit_behind_a_split_ends_the_segment_despite_a_token():
    segment = Segment(TimeWindow(NOON, NOON + 99 * SECOND), "createdAt")
    segment.split_at(MINUTE.end)
    assert segment.accept(Page([make_hit("late", 60)], next_token="t")).hits == []
    assert segment.done


def test_ten_restarts_are_tried_before_rejected_tokens_are_an_error():
    windows = []

    def fetch(window, token):
        if token is not None:
            raise RejectedRequestError("The token is not valid.", code="ValidationException")
        windows.append(window)
        return Page([], next_token=f"token {len(windows)}")

    with pytest.raises(ServiceError) as caught:
        list(read(Segment(MINUTE, "createdAt"), fetch))
    assert len(windows) == 1 + 10
    assert caught.value.code == "ValidationException"


def test_the_error_about_a_repeated_token_says_what_happened_and_what_to_do():
    with pytest.raises(HealthImagingError) as caught:
        list(read(Segment(MINUTE, "createdAt"), lambda *_: Page([], next_token="t")))
    assert str(caught.value) == (
        "HealthImaging returned the same page token twice, so the search would never end. Report this to AWS."
    )


def test_a_restart_does_not_repeat_a_hit_at_a_whole_second():
    hits = [make_hit("a", 5), make_hit("b", 5.3), make_hit("c", 6), make_hit("d", 7)]
    assert search_ids(Service(hits, size=1, rejects={2})) == list("abcd")
