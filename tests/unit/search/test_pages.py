"""A scan gives each image set of its window once, at its highest version, whatever the pages look like."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.search.pages import (
    Page,
    ScanStats,
    closing_pages,
    deduplicate_hits,
    require_monotonic,
)
from airflow_provider_healthimaging.window import TimeWindow

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
HOUR = TimeWindow(NOON, NOON + timedelta(hours=1))


def row(image_set_id, at=0, version=1, **more):
    """Make a hit, ``at`` seconds after noon."""
    return {"imageSetId": image_set_id, "version": version, "createdAt": NOON + timedelta(seconds=at), **more}


class Pages:
    """Cuts rows into pages, and knows how many of them were fetched."""

    def __init__(self, rows, size=2, calls=1):
        self.pages = [Page(rows[i : i + size], calls) for i in range(0, len(rows), size)] or [Page([], calls)]
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


# Each once, at its highest version


def test_duplicates_collapse_to_the_highest_version_across_pages():
    rows = [row("a"), row("b", version=3), row("a", version=2), row("b", version=2), row("c"), row("a")]
    assert versions(read(Pages(rows))) == [("a", 2), ("b", 3), ("c", 1)]


def test_duplicates_collapse_where_the_service_sorts_by_whole_seconds_only():
    rows = [row("a", 5.5), row("b", 5.2), row("a", 5.5, version=2), row("c", 5.1)]
    assert versions(read(Pages(rows))) == [("c", 1), ("b", 1), ("a", 2)]


def test_a_version_that_is_missing_is_the_lowest():
    assert versions(read(Pages([row("a"), row("a", version=None)]))) == [("a", 1)]
    assert versions(read(Pages([row("a", version=None), row("a")]))) == [("a", 1)]


def test_what_moved_while_it_was_read_is_given_once_at_its_new_place():
    rows = [row("a"), row("b", 1), row("c", 2), row("a", 3, version=2)]
    assert versions(read(Pages(rows), order_may_change=True)) == [("b", 1), ("c", 1), ("a", 2)]


def test_match_is_asked_of_the_highest_version_only():
    rows = [row("a", tag="CT"), row("a", version=2, tag="MR"), row("b", tag="CT")]
    assert versions(read(Pages(rows), match=lambda hit: hit["tag"] == "CT")) == [("b", 1)]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(1, 5)), max_size=40),
    st.integers(1, 7),
    st.booleans(),
)
def test_any_rows_in_any_pages_come_out_once_each_at_their_highest_version(drawn, size, moving):
    # Unless it moves, an image set has one timestamp: its id says which.
    rows = [row(f"{number}-{0 if moving else at}", at, version) for number, at, version in drawn]
    rows.sort(key=lambda each: each["createdAt"])
    highest = {}
    for each in rows:
        highest[each["imageSetId"]] = max(each["version"], highest.get(each["imageSetId"], 0))
    hits = read(Pages(rows, size), order_may_change=moving)
    assert dict(versions(hits)) == highest
    assert len(hits) == len(highest)
    assert [hit["createdAt"] for hit in hits] == sorted(hit["createdAt"] for hit in hits)


# Exactly the window

offsets = st.integers(-3_000_000, 5_000_000).map(lambda each: each * MICROSECOND)


@given(offsets, offsets, st.data())
def test_a_window_is_cut_exactly_even_from_rows_that_are_sorted_by_whole_seconds_only(start, length, data):
    window = TimeWindow(NOON + start, NOON + start + max(abs(length), MICROSECOND))
    near = st.sampled_from([window.start - MICROSECOND, window.start, window.end - MICROSECOND, window.end])
    moments = data.draw(st.lists(near | offsets.map(lambda each: NOON + each), max_size=20))
    order = data.draw(st.permutations(range(len(moments))))
    rows = [{"imageSetId": str(i), "version": 1, "createdAt": moments[i]} for i in order]
    rows.sort(key=lambda each: each["createdAt"].replace(microsecond=0))
    found = [hit["imageSetId"] for hit in read(Pages(rows, size=3), window)]
    expected = [str(i) for i, moment in enumerate(moments) if window.start <= moment < window.end]
    assert sorted(found) == sorted(expected)


def test_all_pages_are_read_be_what_comes_first_behind_the_window():
    rows = [row("a", 3599), row("b", 3600), row("c", 3600.5), row("d", 3601)]
    pages = Pages(rows, size=1)
    assert versions(read(pages)) == [("a", 1)]
    assert pages.fetched == 4


@pytest.mark.parametrize("window", [HOUR, None])
@pytest.mark.parametrize("seconds", [[0, 1, 2, 1, 2, 3], [0, 5, 4], [9, 8, 9]])
def test_hits_that_are_not_sorted_are_an_error(window, seconds):
    rows = [row(str(second), second) for second in seconds]
    with pytest.raises(HealthImagingError, match="not sorted by createdAt"):
        read(require_monotonic(Pages(rows), "createdAt", ascending=True), window)


@pytest.mark.parametrize("window", [HOUR, None])
@pytest.mark.parametrize("seconds", [[0, 1, 1, 3], [9, 9, 8, 5]])
def test_hits_may_go_back_in_time_if_that_is_the_order(window, seconds):
    rows = [row(str(number), second) for number, second in enumerate(seconds)]
    ascending = seconds == sorted(seconds)
    assert len(read(require_monotonic(Pages(rows), "createdAt", ascending=ascending), window)) == 4
    with pytest.raises(HealthImagingError, match="not sorted by createdAt"):
        read(require_monotonic(Pages(rows), "createdAt", ascending=not ascending), window)


def test_without_a_window_everything_is_given_and_read_to_the_end():
    pages = Pages([row("a", -9999), {"imageSetId": "b", "version": 1}, row("c", 9999)], size=1)
    assert [hit["imageSetId"] for hit in read(pages, window=None)] == ["a", "b", "c"]
    assert pages.fetched == 3


def test_pages_that_are_empty_end_nothing():
    pages = [Page([]), Page([row("a")]), Page([]), Page([]), Page([row("b", 1)])]
    assert versions(read(pages)) == [("a", 1), ("b", 1)]


@pytest.mark.parametrize("moving", [True, False])
def test_a_row_whose_place_in_time_is_unknown_is_a_loud_error(moving):
    rows = [row("a"), {"imageSetId": "b" * 32, "version": 1, "DICOMTags": {"DICOMPatientName": "CANARY"}}]
    with pytest.raises(HealthImagingError, match=r"b{32} without createdAt") as caught:
        read(Pages(rows), order_may_change=moving)
    assert "time_field=None" in str(caught.value)
    assert "CANARY" not in str(caught.value)


# What it says of itself, and what it keeps


def test_stats_tell_pages_calls_rows_and_image_sets():
    stats = ScanStats()
    read(Pages([row("a"), row("a", version=2), row("b", 1)], calls=3), stats=stats)
    assert (stats.pages, stats.calls, stats.read, stats.image_sets) == (2, 6, 3, 2)
    assert stats.reached == NOON + timedelta(seconds=1)


def test_pages_are_fetched_as_they_are_needed():
    pages = Pages([row(str(i), i) for i in range(20)])
    hits = deduplicate_hits(
        pages, sort_field="createdAt", window=HOUR, match=lambda _: True, order_may_change=False, stats=ScanStats()
    )
    assert pages.fetched == 0
    assert next(hits)["imageSetId"] == "0"
    assert pages.fetched == 1


def test_without_a_window_the_order_within_a_second_is_the_caller_s():
    assert versions(read(Pages([row("b", 0.2), row("a", 0.5)]), None)) == [("b", 1), ("a", 1)]


@pytest.mark.parametrize("version", [1, None])
def test_the_same_version_read_twice_stays_where_it_was_first(version):
    rows = [row("b", version=version), row("a"), row("b", version=version)]
    assert versions(read(Pages(rows), order_may_change=True)) == [("b", version), ("a", 1)]


def test_pages_are_ended_with_what_was_found_in_them_though_someone_else_holds_them():
    ended = []

    def pages():
        try:
            yield from (1, 2, 3)
        finally:
            ended.append(True)

    held = pages()
    found = closing_pages(held, held)
    assert next(found) == 1
    found.close()
    assert ended
