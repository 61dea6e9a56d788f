"""A segment gives each of its rows once, in order, and goes on where the service no longer takes a token."""

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


def row(image_set_id, at):
    return {"imageSetId": str(image_set_id), "version": 1, "createdAt": NOON + timedelta(seconds=at)}


class Service:
    """Answers from rows in memory, and takes a token only where it issued it for the same query.

    :param rejects: numbers of the calls whose token is rejected, the first call being 0.
    :param unit: how fine it sorts and compares.
    """

    def __init__(self, rows, *, size=3, rejects=(), unit=MICROSECOND, edges=True):
        self.key = lambda moment: (moment - NOON) // unit
        self.rows = sorted(rows, key=lambda each: self.key(each["createdAt"]))
        self.size, self.rejects, self.edges = size, rejects, edges
        self.tokens = {}
        self.asked = []

    def __call__(self, window, token):
        self.asked.append((window, token))
        assert len(self.asked) < 500, "a search without end"
        bounds = window.query_bounds()
        query, position = self.tokens.get(token, (bounds, 0))
        if token is not None and (query != bounds or len(self.asked) - 1 in self.rejects):
            raise RejectedRequestError("The token is not valid.", code="ValidationException")
        lower, upper = map(self.key, bounds)
        rows = [
            each for each in self.rows if lower < self.key(each["createdAt"]) < upper or self._on_an_edge(each, bounds)
        ]
        stop = position + self.size
        if stop >= len(rows):
            return Page(rows[position:])
        following = f"token {len(self.asked)}"
        self.tokens[following] = bounds, stop
        return Page(rows[position:stop], next_token=following)

    def _on_an_edge(self, each, bounds):
        return self.edges and self.key(each["createdAt"]) in map(self.key, bounds)


class Everything:
    """The numbers of all calls."""

    def __contains__(self, number):
        return True


def read(segment, fetch):
    """Yield the rows of a segment as its pages come."""
    while not segment.done:
        yield from segment.accept(segment.fetch(fetch)).hits


def ids(rows):
    return [each["imageSetId"] for each in rows]


def found(service, window=MINUTE):
    return ids(read(Segment(window, "createdAt"), service))


def crowd(rows):
    """Return the most rows of three seconds on end: a page that is larger reaches beyond what it begins with."""
    seconds = [(each["createdAt"] - NOON) // SECOND for each in rows]
    return max((sum(first <= each <= first + 2 for each in seconds) for first in seconds), default=0)


seconds = st.integers(-2_000_000, 62_000_000).map(lambda each: each / 1e6)
on_the_edges = st.sampled_from([-1, -1e-6, 0, 1e-6, 1, 29.999999, 30, 30.000001, 59, 59.999999, 60, 60.000001, 61])
crowded = st.integers(28, 40).map(lambda each: each / 4)
some_rows = st.lists(seconds | on_the_edges | crowded, max_size=30).map(
    lambda drawn: [row(number, at) for number, at in enumerate(drawn)]
)
calls = st.sets(st.integers(1, 40)) | st.just(Everything())
units = st.sampled_from([MICROSECOND, SECOND])


# Each row once


@given(some_rows, st.integers(1, 7), units, st.booleans())
def test_the_rows_of_the_window_come_once_each_in_the_services_order(rows, size, unit, edges):
    service = Service(rows, size=size, unit=unit, edges=edges)
    assert found(service) == ids(each for each in service.rows if each["createdAt"] in MINUTE)


@given(some_rows, st.integers(1, 59), st.integers(0, 5), st.integers(1, 7), units, st.booleans())
def test_a_segment_and_what_was_cut_off_it_share_nothing_and_leave_nothing_out(rows, at, before, size, unit, edges):
    service = Service(rows, size=size, unit=unit, edges=edges)
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
    assert ids(got) == ids(each for each in service.rows if each["createdAt"] in MINUTE)


def test_a_page_that_was_under_way_when_its_end_was_cut_off_gives_no_row_of_the_rest():
    service = Service([row(number, number) for number in range(0, 60, 10)])
    segment = Segment(MINUTE, "createdAt")
    page = segment.fetch(service)
    rest = segment.split_at(NOON + 20 * SECOND)
    assert ids(segment.accept(page).hits) == ["0", "10"]
    assert segment.done
    assert ids(read(rest, service)) == ["20", "30", "40", "50"]


BEHIND_THE_END = [row("a", 59), row("b", 60), row("c", 60.5), row("d", 61)]


def test_no_page_is_asked_for_once_a_row_lies_at_a_cut_or_behind_it():
    service = Service(BEHIND_THE_END, size=2)
    segment = Segment(TimeWindow(NOON, NOON + 99 * SECOND), "createdAt")
    rest = segment.split_at(MINUTE.end)
    assert ids(read(segment, service)) == ["a"]
    assert len(service.asked) == 1
    assert ids(read(rest, service)) == ["b", "c", "d"]


def test_a_window_is_read_to_where_the_service_has_nothing_more():
    service = Service(BEHIND_THE_END, size=2)
    assert found(service) == ["a"]
    assert len(service.asked) == 2


# A service that does not sort, or gives rows again


class Careless:
    """Answers from rows in the order that they are in, and begins each page ``overlap`` rows before the last one's end.

    Its tokens are places; ``after`` is what follows the last: nothing, or the first page again.
    """

    def __init__(self, rows, *, size=3, overlap=0, goes_round=False):
        self.rows, self.size, self.step, self.goes_round = rows, size, size - overlap, goes_round
        self.calls = 0

    def __call__(self, window, token):
        self.calls += 1
        assert self.calls < 5000, "a search without end"
        lower, upper = window.query_bounds()
        rows = [each for each in self.rows if lower <= each["createdAt"] <= upper]
        place = int(token or 0)
        is_last = place + self.size >= len(rows)
        following = None if is_last and not self.goes_round else f"{0 if is_last else place + self.step:0{place + 9}}"
        return Page(rows[place : place + self.size], next_token=following)


@given(
    st.lists(st.integers(-3, 64).map(lambda each: each / 2) | st.sampled_from([0, 59.9, 60, 60.5]), max_size=30),
    st.sampled_from([sorted, list, reversed]),
    st.integers(1, 5),
    st.integers(0, 4),
)
def test_in_whatever_order_rows_come_each_is_given_once_or_an_error_says_that_they_are_not_sorted(
    moments, order, size, overlap
):
    rows = [row(number, at) for number, at in enumerate(order(moments))]
    expected = [each["imageSetId"] for each in rows if each["createdAt"] in MINUTE]
    service, problem, got = Careless(rows, size=size + overlap, overlap=overlap), "", []
    pages = read_window(service, MINUTE, "createdAt", workers=1)
    hits = deduplicate_hits(
        pages, sort_field="createdAt", window=MINUTE, match=lambda _: True, order_may_change=False, stats=ScanStats()
    )
    try:
        got = ids(hits)
    except HealthImagingError as error:
        problem = str(error)
    if problem:
        assert order is not sorted or overlap
        assert "not sorted by createdAt" in problem
    else:
        assert sorted(got) == sorted(expected)


def test_pages_that_overlap_by_seconds_are_an_error():
    rows = [row(number, number) for number in range(38)]
    with pytest.raises(HealthImagingError, match="not sorted by createdAt"):
        found(Careless(rows, size=10, overlap=3))


def test_a_page_that_is_not_sorted_is_an_error_also_if_it_is_the_only_one():
    with pytest.raises(HealthImagingError, match="not sorted by createdAt"):
        found(Careless([row("b", 60.5), row("c", 3), row("a", 1), row("d", 59)], size=9))


def test_pages_that_go_round_have_an_end():
    rows = [row(number, number) for number in range(9)]
    service = Careless(rows, goes_round=True)
    with pytest.raises(HealthImagingError, match=r"not sorted by createdAt|the same page token twice"):
        found(service)
    assert service.calls < 99


def test_pages_without_rows_end_nothing():
    pages = iter([Page([], next_token="1"), Page([row("a", 1)], next_token="2"), Page([], next_token="3"), Page([])])
    assert found(lambda *_: next(pages)) == ["a"]
    assert next(pages, None) is None


# A token that is rejected


@given(some_rows, st.integers(1, 3), calls, units, st.booleans())
def test_rejected_tokens_neither_repeat_nor_lose_a_row_whichever_they_are(rows, more, rejects, unit, edges):
    # Larger than what one second and its neighbours have, so that every search from a second gets beyond it.
    service = Service(rows, size=crowd(rows) + more, rejects=rejects, unit=unit, edges=edges)
    assert sorted(found(service)) == sorted(ids(each for each in rows if each["createdAt"] in MINUTE))


@given(some_rows, st.integers(1, 4), calls, units, st.booleans())
def test_what_came_before_an_error_was_given_once_and_is_no_more_than_the_beginning(rows, size, rejects, unit, edges):
    service = Service(rows, size=size, rejects=rejects, unit=unit, edges=edges)
    expected = ids(each for each in service.rows if each["createdAt"] in MINUTE)
    got = []
    try:
        got.extend(each["imageSetId"] for each in read(Segment(MINUTE, "createdAt"), service))
    except ServiceError:
        assert got == expected[: len(got)]
    else:
        assert got == expected


def test_a_version_that_came_since_is_given_after_a_new_search():
    newer = row("a", 5) | {"version": 2}
    pages = iter([Page([row("z", 0), row("a", 5)], next_token="t"), None, Page([row("a", 5), newer, row("b", 9)])])

    def fetch(*_):
        page = next(pages)
        if page is None:
            raise RejectedRequestError("The token is not valid.", code="ValidationException")
        return page

    given = [(each["imageSetId"], each["version"]) for each in read(Segment(MINUTE, "createdAt"), fetch)]
    assert given == [("z", 1), ("a", 1), ("a", 2), ("b", 1)]


@pytest.mark.parametrize("rejects", [{1}, {2}, {1, 3}, {1, 3, 6}])
def test_rows_at_one_timestamp_on_both_sides_of_the_edge_of_a_page_are_each_given_once(rejects):
    rows = [row("a", 0), *(row(name, 7.25) for name in "bcdef"), row("g", 7.5), row("h", 30)]
    assert found(Service(rows, size=4, rejects=rejects)) == list("abcdefgh")


def test_the_new_search_begins_at_the_last_second_read_and_without_a_token():
    service = Service([row(number, number + 0.5) for number in range(8)], rejects={2})
    assert found(service) == [str(number) for number in range(8)]
    assert service.asked[2][1] is not None
    assert service.asked[3] == (TimeWindow(NOON + 5 * SECOND, MINUTE.end), None)


def test_the_new_search_of_a_segment_that_was_cut_ends_where_it_was_cut():
    service = Service([row(number, number) for number in range(20)], rejects={1})
    segment = Segment(MINUTE, "createdAt")
    first = segment.accept(segment.fetch(service)).hits
    segment.split_at(NOON + 9 * SECOND)
    assert ids([*first, *read(segment, service)]) == [str(number) for number in range(9)]
    assert service.asked[2][0] == TimeWindow(NOON + 2 * SECOND, NOON + 9 * SECOND)


def test_a_window_that_begins_within_a_second_is_not_widened_by_a_new_search():
    window = TimeWindow(NOON + 0.5 * SECOND, MINUTE.end)
    rows = [row("before", 0.25), row("a", 0.5), row("b", 0.75), row("c", 0.75), row("d", 0.875), row("e", 9)]
    assert found(Service(rows, size=5, rejects={1}), window) == list("abcde")


def test_a_token_that_passes_at_last_is_enough():
    rows = [row(number, 7) for number in range(9)]
    # Each new search gives the page that is known, and a token that is rejected.
    assert found(Service(rows, rejects={*range(1, 20, 2)})) == [str(number) for number in range(9)]


def test_tokens_that_never_pass_are_an_error_that_a_retry_may_cure():
    service = Service([row(number, 7) for number in range(9)], rejects=Everything())
    with pytest.raises(ServiceError, match="page tokens that it had just returned") as caught:
        found(service)
    assert caught.value.retryable
    assert not isinstance(caught.value, RejectedRequestError)
    assert caught.value.__context__ is None
    assert [token is None for _, token in service.asked] == [True, False] * 11


def test_new_searches_that_gain_something_are_not_counted():
    service = Service([row(number, number) for number in range(40)], rejects=Everything())
    assert found(service) == [str(number) for number in range(40)]


def test_a_search_that_is_rejected_without_a_token_is_not_tried_again():
    rejected = RejectedRequestError("No.", code="ValidationException")
    asked = []

    def fetch(*query):
        asked.append(query)
        raise rejected

    with pytest.raises(RejectedRequestError) as caught:
        Segment(MINUTE, "createdAt").fetch(fetch)
    assert caught.value is rejected
    assert asked == [(MINUTE, None)]


def test_a_new_search_that_is_itself_rejected_is_the_end():
    service = Service([row(number, number) for number in range(9)], rejects={1})
    last = RejectedRequestError("No.", code="ValidationException")
    numbers = count()

    def fetch(window, token):
        if next(numbers) == 2:
            raise last
        return service(window, token)

    with pytest.raises(RejectedRequestError) as caught:
        found(fetch)
    assert caught.value is last
    assert next(numbers) == 3


def test_only_a_rejection_is_a_reason_to_search_anew():
    service = Service([row(number, number) for number in range(9)])
    denied = AccessDeniedError("No.", code="AccessDeniedException")

    def fetch(window, token):
        if token:
            raise denied
        return service(window, token)

    with pytest.raises(AccessDeniedError) as caught:
        found(fetch)
    assert caught.value is denied
    assert len(service.asked) == 1


def test_the_call_that_was_rejected_is_counted_with_the_page_that_came_instead():
    service = Service([row(number, number) for number in range(9)], rejects={2})
    segment = Segment(MINUTE, "createdAt")
    pages = []
    while not segment.done:
        pages.append(segment.accept(segment.fetch(service)))
    assert [page.calls for page in pages] == [1, 1, 2, 1]
    assert sum(page.calls for page in pages) == len(service.asked)


# What the service must not do


def test_a_token_that_comes_back_is_a_loud_error_and_no_endless_result():
    pages = iter([Page([row(number, number)], next_token="again") for number in range(9)])
    with pytest.raises(HealthImagingError, match="the same page token twice"):
        found(lambda *_: next(pages))
    assert len(list(pages)) == 7


def test_rows_without_the_timestamp_are_a_loud_error():
    rows = [row("a", 1), {"imageSetId": "b" * 32, "version": 1, "DICOMTags": {"DICOMPatientName": "CANARY"}}]
    with pytest.raises(HealthImagingError, match=r"b{32} without createdAt") as caught:
        found(lambda *_: Page(rows))
    assert "CANARY" not in str(caught.value)


def test_what_is_cut_off_is_as_dense_as_what_has_been_read_and_is_judged_from_its_edge_on():
    service = iter([Page([row(second, second) for second in range(4)], next_token="t"), Page([row(9, 40)])])
    segment = Segment(MINUTE, "createdAt")
    segment.accept(segment.fetch(lambda *_: next(service)))
    rest = segment.split_at(NOON + 20 * SECOND)
    inherited = rest.hits_per_second
    rest.accept(rest.fetch(lambda *_: next(service)))

    assert inherited == segment.hits_per_second == pytest.approx(4 / 3)
    # One row in the twenty seconds from where it was cut.
    assert rest.hits_per_second == pytest.approx(1 / 20)


def test_an_error_about_refused_tokens_says_what_was_answered_and_what_to_do():
    error = tokens_rejected_error("ValidationException")

    assert str(error) == (
        "HealthImaging answered ValidationException to page tokens that it had just returned, so the result would be "
        "incomplete. They may have expired. Retry. If the error stays, search shorter windows, and report it to AWS."
    )
    assert error.code == "ValidationException"


def test_a_segment_that_was_not_read_yet_is_not_done_and_promises_no_rows():
    segment = Segment(MINUTE, "createdAt")
    assert segment.done is False
    assert segment.hits_left == 0


def judged(*pages):
    """Return how dense a segment takes rows to lie, after pages with rows at these seconds."""
    segment = Segment(MINUTE, "createdAt")
    for page in pages:
        segment.accept(Page([row(second, second) for second in page], next_token="t"))
    return segment.hits_per_second


def test_rows_are_as_dense_as_they_lie_from_the_first_on_however_late_it_is():
    assert judged([30, 31, 32, 33]) == pytest.approx(4 / 3)


def test_a_later_page_counts_for_more_than_an_earlier_one():
    assert judged([0, 1, 2, 3], [10, 13]) == pytest.approx((4 * 0.9 + 2) / (3 * 0.9 + 10))


def test_rows_of_less_than_a_second_are_as_dense_as_if_it_were_one():
    assert judged([0, 0.1, 0.2, 0.3]) == 4


def test_a_lone_row_behind_a_cut_ends_the_segment_though_a_token_came_with_it():
    segment = Segment(TimeWindow(NOON, NOON + 99 * SECOND), "createdAt")
    segment.split_at(MINUTE.end)
    assert segment.accept(Page([row("late", 60)], next_token="t")).hits == []
    assert segment.done


def test_ten_searches_are_begun_again_before_refused_tokens_are_an_error():
    begun = []

    def fetch(window, token):
        if token is not None:
            raise RejectedRequestError("The token is not valid.", code="ValidationException")
        begun.append(window)
        return Page([], next_token=f"token {len(begun)}")

    with pytest.raises(ServiceError) as caught:
        list(read(Segment(MINUTE, "createdAt"), fetch))
    assert len(begun) == 1 + 10
    assert caught.value.code == "ValidationException"


def test_what_an_error_says_of_a_token_that_comes_back_is_the_whole_of_it():
    with pytest.raises(HealthImagingError) as caught:
        list(read(Segment(MINUTE, "createdAt"), lambda *_: Page([], next_token="t")))
    assert str(caught.value) == (
        "HealthImaging returned the same page token twice, so the search would never end. Report this to AWS."
    )


def test_a_row_at_the_very_second_is_not_given_again_by_a_new_search_from_it():
    rows = [row("a", 5), row("b", 5.3), row("c", 6), row("d", 7)]
    assert found(Service(rows, size=1, rejects={2})) == list("abcd")
