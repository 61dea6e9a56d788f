"""``deduplicate_hits`` yields each image set of the window once, at its highest version, whatever the pages."""

import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.search.pages import (
    CLOCK_SKEW,
    END_OF_TIME,
    Page,
    ScanStats,
    check_sorted,
    closing_pages,
    deduplicate_hits,
    has_stable_order,
    require_monotonic,
    with_progress,
)
from airflow_provider_healthimaging.window import TimeWindow

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
HOUR = TimeWindow(NOON, NOON + timedelta(hours=1))


def make_hit(image_set_id, at=0, version=1, **more):
    """Make a hit, ``at`` seconds after noon."""
    return {"imageSetId": image_set_id, "version": version, "createdAt": NOON + timedelta(seconds=at), **more}


class Pages:
    """Puts hits on pages, and counts the pages that were fetched."""

    def __init__(self, hits, size=2, calls=1):
        self.pages = [Page(hits[i : i + size], calls) for i in range(0, len(hits), size)] or [Page([], calls)]
        self.fetched = 0

    def __iter__(self):
        for page in self.pages:
            self.fetched += 1
            yield page


def read(pages, window=HOUR, *, match=lambda _: True, order_may_change=False, stats=None):
    return list(
        deduplicate_hits(
            pages,
            sort_field="createdAt",
            window=window,
            match=match,
            order_may_change=order_may_change,
            stats=stats or ScanStats(),
        )
    )


def versions(hits):
    return [(hit["imageSetId"], hit["version"]) for hit in hits]


# Each image set once, at its highest version


def test_duplicates_collapse_to_the_highest_version_across_pages():
    hits = [
        make_hit("a"),
        make_hit("b", version=3),
        make_hit("a", version=2),
        make_hit("b", version=2),
        make_hit("c"),
        make_hit("a"),
    ]
    assert versions(read(Pages(hits))) == [("a", 2), ("b", 3), ("c", 1)]


def test_duplicates_collapse_if_the_service_sorts_by_whole_seconds_only():
    hits = [make_hit("a", 5.5), make_hit("b", 5.2), make_hit("a", 5.5, version=2), make_hit("c", 5.1)]
    assert versions(read(Pages(hits))) == [("c", 1), ("b", 1), ("a", 2)]


def test_a_missing_version_counts_as_the_lowest():
    assert versions(read(Pages([make_hit("a"), make_hit("a", version=None)]))) == [("a", 1)]
    assert versions(read(Pages([make_hit("a", version=None), make_hit("a")]))) == [("a", 1)]


def test_an_image_set_that_moves_during_the_search_is_yielded_once_at_its_new_place():
    hits = [make_hit("a"), make_hit("b", 1), make_hit("c", 2), make_hit("a", 3, version=2)]
    assert versions(read(Pages(hits), order_may_change=True)) == [("b", 1), ("c", 1), ("a", 2)]


def test_match_is_applied_to_the_highest_version_only():
    hits = [make_hit("a", tag="CT"), make_hit("a", version=2, tag="MR"), make_hit("b", tag="CT")]
    assert versions(read(Pages(hits), match=lambda hit: hit["tag"] == "CT")) == [("b", 1)]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(1, 5)), max_size=40),
    st.integers(1, 7),
    st.booleans(),
)
def test_each_image_set_is_yielded_once_at_its_highest_version_for_any_hits_and_pages(drawn, size, order_may_change):
    # An image set that does not move has one timestamp. Its id contains it.
    hits = [make_hit(f"{number}-{0 if order_may_change else at}", at, version) for number, at, version in drawn]
    hits.sort(key=lambda hit: hit["createdAt"])
    highest = {}
    for hit in hits:
        highest[hit["imageSetId"]] = max(hit["version"], highest.get(hit["imageSetId"], 0))
    result = read(Pages(hits, size), order_may_change=order_may_change)
    assert dict(versions(result)) == highest
    assert len(result) == len(highest)
    assert [hit["createdAt"] for hit in result] == sorted(hit["createdAt"] for hit in result)


# Exactly the window

offsets = st.integers(-3_000_000, 5_000_000).map(lambda each: each * MICROSECOND)


@given(offsets, offsets, st.data())
def test_the_window_is_exact_if_hits_are_sorted_by_whole_seconds_only(start, length, data):
    window = TimeWindow(NOON + start, NOON + start + max(abs(length), MICROSECOND))
    near = st.sampled_from([window.start - MICROSECOND, window.start, window.end - MICROSECOND, window.end])
    moments = data.draw(st.lists(near | offsets.map(lambda each: NOON + each), max_size=20))
    order = data.draw(st.permutations(range(len(moments))))
    hits = [{"imageSetId": str(i), "version": 1, "createdAt": moments[i]} for i in order]
    hits.sort(key=lambda hit: hit["createdAt"].replace(microsecond=0))
    result = [hit["imageSetId"] for hit in read(Pages(hits, size=3), window)]
    expected = [str(i) for i, moment in enumerate(moments) if window.start <= moment < window.end]
    assert sorted(result) == sorted(expected)


def test_pages_are_read_to_the_last_one_after_a_hit_behind_the_window():
    hits = [make_hit("a", 3599), make_hit("b", 3600), make_hit("c", 3600.5), make_hit("d", 3601)]
    pages = Pages(hits, size=1)
    assert versions(read(pages)) == [("a", 1)]
    assert pages.fetched == 4


@pytest.mark.parametrize("window", [HOUR, None])
@pytest.mark.parametrize("seconds", [[0, 1, 2, 1, 2, 3], [0, 5, 4], [9, 8, 9]])
def test_hits_that_are_not_sorted_are_an_error(window, seconds):
    hits = [make_hit(str(second), second) for second in seconds]
    with pytest.raises(HealthImagingError) as caught:
        read(require_monotonic(Pages(hits), "createdAt", ascending=True), window)
    assert str(caught.value) == (
        "HealthImaging returned image sets that are not sorted by createdAt, so the result could be incomplete. Check "
        "where endpoint_url in the connection leads; if it is AWS, report this to AWS."
    )


@pytest.mark.parametrize("window", [HOUR, None])
@pytest.mark.parametrize("seconds", [[0, 1, 1, 3], [9, 9, 8, 5]])
def test_hits_may_be_sorted_in_the_requested_direction_only(window, seconds):
    hits = [make_hit(str(number), second) for number, second in enumerate(seconds)]
    ascending = seconds == sorted(seconds)
    assert len(read(require_monotonic(Pages(hits), "createdAt", ascending=ascending), window)) == 4
    with pytest.raises(HealthImagingError, match="not sorted by createdAt"):
        read(require_monotonic(Pages(hits), "createdAt", ascending=not ascending), window)


@pytest.mark.parametrize("first", [0, 0.9])
def test_hits_of_one_second_may_have_any_order_also_across_pages(first):
    hits = [make_hit("a", 0.9), make_hit("b", 0.1), make_hit("c", first), make_hit("d", 0.5)]
    assert [page.hits for page in require_monotonic(Pages(hits), "createdAt", ascending=True)] == [hits[:2], hits[2:]]


def test_the_order_is_checked_from_the_last_second_of_the_page_before():
    position = check_sorted([make_hit("a", 1), make_hit("b", 5.5)], "createdAt", None)
    assert position == NOON + timedelta(seconds=5)
    assert check_sorted([], "createdAt", position) == position
    assert check_sorted([make_hit("c", 5.2)], "createdAt", position) == position
    with pytest.raises(HealthImagingError, match="not sorted by createdAt"):
        check_sorted([make_hit("d", 4.9)], "createdAt", position)


def test_a_hit_without_the_sort_field_does_not_break_the_order():
    hits = [make_hit("a", 1), {"imageSetId": "b", "version": 1}, make_hit("c", 2)]
    assert check_sorted(hits, "createdAt", None) == NOON + timedelta(seconds=2)


@pytest.mark.parametrize(
    ("sort_field", "seconds_since_end", "expected"),
    [
        ("createdAt", None, True),
        ("createdAt", 0, True),
        ("updatedAt", None, False),
        ("updatedAt", -3600, False),
        ("updatedAt", 0, False),
        ("updatedAt", CLOCK_SKEW.total_seconds() / 2, False),
        ("updatedAt", CLOCK_SKEW.total_seconds() * 2, True),
        ("DICOMStudyDateAndTime", None, False),
        ("DICOMStudyDateAndTime", 3600, False),
    ],
)
def test_the_order_is_stable_if_no_update_can_move_an_image_set(sort_field, seconds_since_end, expected):
    window = None
    if seconds_since_end is not None:
        end = datetime.now(UTC) - timedelta(seconds=seconds_since_end)
        window = TimeWindow(end - timedelta(hours=1), end)
    assert has_stable_order(sort_field, window) is expected


def test_without_a_window_all_hits_are_yielded_and_all_pages_are_read():
    pages = Pages([make_hit("a", -9999), {"imageSetId": "b", "version": 1}, make_hit("c", 9999)], size=1)
    assert [hit["imageSetId"] for hit in read(pages, window=None)] == ["a", "b", "c"]
    assert pages.fetched == 3


def test_empty_pages_do_not_end_the_search():
    pages = [Page([]), Page([make_hit("a")]), Page([]), Page([]), Page([make_hit("b", 1)])]
    assert versions(read(pages)) == [("a", 1), ("b", 1)]


@pytest.mark.parametrize("order_may_change", [True, False])
def test_a_hit_without_the_timestamp_is_an_error(order_may_change):
    hits = [make_hit("a"), {"imageSetId": "b" * 32, "version": 1, "DICOMTags": {"DICOMPatientName": "CANARY"}}]
    with pytest.raises(HealthImagingError) as caught:
        read(Pages(hits), order_may_change=order_may_change)
    assert str(caught.value) == (
        f"HealthImaging returned image set {'b' * 32} without createdAt, so it is unknown whether it lies in the "
        "window. Report this to AWS, and search without a window (time_field=None) until then."
    )


# Counts, order and closing


def test_stats_count_pages_calls_hits_and_image_sets():
    stats = ScanStats()
    read(Pages([make_hit("a"), make_hit("a", version=2), make_hit("b", 1)], calls=3), stats=stats)
    assert (stats.pages, stats.calls, stats.read, stats.image_sets) == (2, 6, 3, 2)
    assert stats.reached == NOON + timedelta(seconds=1)


def test_stats_count_what_lies_in_the_window_and_know_its_latest_change():
    hits = [
        make_hit("a", -1),
        *(make_hit(name, 1, updatedAt=NOON + timedelta(hours=at)) for at, name in [(9, "b"), (2, "c")]),
    ]
    stats = ScanStats()
    read([Page([], is_empty=True), Page(hits), Page([], is_empty=True)], stats=stats)
    assert (stats.pages, stats.empty_pages, stats.read, stats.in_window) == (3, 2, 3, 2)
    assert stats.changed == NOON + timedelta(hours=9)


def test_a_hit_that_does_not_say_when_it_was_changed_may_have_been_changed_at_any_time():
    stats = ScanStats()
    read([Page([make_hit("a", updatedAt=NOON), make_hit("b"), make_hit("c", updatedAt=NOON)])], stats=stats)
    assert stats.changed == END_OF_TIME


def test_without_a_window_image_sets_of_one_timestamp_come_in_the_order_of_their_ids():
    hits = [make_hit(name, at) for at, name in [(0, "c"), (0, "a"), (0, "b"), (1, "a2")]]
    assert [name for name, _ in versions(read(Pages(hits), None))] == ["a", "b", "c", "a2"]


def test_a_page_is_fetched_when_it_is_needed():
    pages = Pages([make_hit(str(i), i) for i in range(20)])
    result = deduplicate_hits(
        pages, sort_field="createdAt", window=HOUR, match=lambda _: True, order_may_change=False, stats=ScanStats()
    )
    assert pages.fetched == 0
    assert next(result)["imageSetId"] == "0"
    assert pages.fetched == 1


def test_without_a_window_the_order_within_a_second_does_not_change():
    assert versions(read(Pages([make_hit("b", 0.2), make_hit("a", 0.5)]), None)) == [("b", 1), ("a", 1)]


@pytest.mark.parametrize("version", [1, None])
def test_a_repeated_version_stays_at_its_first_place(version):
    hits = [make_hit("b", version=version), make_hit("a"), make_hit("b", version=version)]
    assert versions(read(Pages(hits), order_may_change=True)) == [("b", version), ("a", 1)]


def test_closing_the_hits_closes_the_pages_although_another_variable_holds_them():
    closed = []

    def read_pages():
        try:
            yield from (1, 2, 3)
        finally:
            closed.append(True)

    pages = read_pages()
    hits = closing_pages(pages, (each for each in pages))
    assert next(hits) == 1
    hits.close()
    assert closed


# Progress


def set_clock(monkeypatch, *readings):
    clock = SimpleNamespace(monotonic=iter(readings).__next__)
    monkeypatch.setattr("airflow_provider_healthimaging.search.pages.time", clock)


def test_the_log_says_every_ten_seconds_how_far_the_search_is(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    set_clock(monkeypatch, 100, 109.9, 110, 119.9, 120)
    read_so_far = [
        Page([], remaining=timedelta(minutes=60)),
        Page([], remaining=timedelta(minutes=45), hits_ahead=500, calls_ahead=7),
        Page([], remaining=timedelta(minutes=15)),
        Page([]),
    ]
    stats = ScanStats(read=4_500, calls=1_000)
    assert list(with_progress(read_so_far, HOUR, stats, logging.getLogger("task"))) == read_so_far
    assert [record.getMessage() for record in caplog.records] == [
        "Read 5,000 image sets in 1,007 calls, 25% of the window; 500 image sets/s.",
        "Read 4,500 image sets in 1,000 calls; 225 image sets/s.",
    ]


def test_without_a_window_there_is_no_share_of_it(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    set_clock(monkeypatch, 0, 10)
    one = [Page([], remaining=timedelta(minutes=45))]
    list(with_progress(one, None, ScanStats(read=20, calls=1), logging.getLogger("task")))
    assert [record.getMessage() for record in caplog.records] == ["Read 20 image sets in 1 calls; 2 image sets/s."]
