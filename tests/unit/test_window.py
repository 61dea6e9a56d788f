"""A window is half-open, aware and exact. Windows that touch share nothing, and the query bounds cover the window."""

import time
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pendulum
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from airflow_provider_healthimaging.exceptions import HealthImagingError, InvalidArgumentError
from airflow_provider_healthimaging.window import TimeWindow, format_utc, parse_instant, window_ending_now

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
EARLIEST, LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")

anywhere = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=st.timezones())  # noqa: DTZ001
instants = st.datetimes(datetime(2025, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@st.composite
def windows(draw, moments=instants):
    start, end = sorted((draw(moments).astimezone(UTC), draw(moments).astimezone(UTC)))
    assume(start < end)
    return TimeWindow(start, end)


# Construction


@given(anywhere, anywhere)
def test_edges_in_any_time_zone_are_kept_as_the_same_instants_in_utc(start, end):
    start_utc, end_utc = start.astimezone(UTC), end.astimezone(UTC)
    assume(start_utc < end_utc)
    window = TimeWindow(start, end)
    assert (window.start, window.end) == (start_utc, end_utc)
    assert window.start.tzinfo is window.end.tzinfo is UTC


@given(windows(anywhere))
def test_a_window_round_trips_through_iso_strings(window):
    assert TimeWindow(**window.to_dict()) == window
    assert all(isinstance(text, str) and text.endswith("Z") for text in window.to_dict().values())


def test_pendulum_times_become_utc_datetimes_of_the_standard_library():
    window = TimeWindow(pendulum.datetime(2026, 1, 31, tz="Europe/Berlin"), "2026-01-31T13:00:00+01:00")
    assert window.to_dict() == {"start": "2026-01-30T23:00:00Z", "end": "2026-01-31T12:00:00Z"}
    assert type(window.start) is datetime


@pytest.mark.parametrize("text", ["2026-01-31T12:00:00Z", " 2026-01-31 13:00:00+01:00 ", "20260131T120000Z"])
def test_the_usual_formats_of_iso_8601_are_parsed(text):
    assert parse_instant(text, "edge") == NOON


@pytest.mark.parametrize("edge", ["start", "end"])
@pytest.mark.parametrize(
    ("value", "says"),
    [
        (NOON.replace(tzinfo=None), ["'2026-01-31 12:00:00'", "no time zone", "Add an offset"]),
        ("2026-01-31T12:00:00", ["'2026-01-31T12:00:00'", "no time zone", "Add an offset"]),
        ("2026-01-31", ["'2026-01-31'", "no time zone", "Add an offset"]),
        ("yesterday", ["'yesterday'", "not an ISO 8601 time", "2026-01-31T13:00:00Z"]),
        ("", ["''", "not an ISO 8601 time"]),
        (1769860800, ["int", "Give an aware datetime or an ISO 8601 string"]),
        (date(2026, 1, 31), ["date", "Give an aware datetime"]),
        (None, ["NoneType", "Give an aware datetime"]),
    ],
)
def test_an_invalid_edge_is_an_error_with_its_name_its_value_and_what_to_do(edge, value, says):
    edges = {"start": NOON - SECOND, "end": NOON + SECOND, edge: value}
    with pytest.raises(InvalidArgumentError) as caught:
        TimeWindow(**edges)
    assert all(words in str(caught.value) for words in [f"window {edge}", *says])
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, HealthImagingError)


@pytest.mark.parametrize(
    ("end", "how"), [(NOON, "empty"), (NOON - MICROSECOND, "reversed"), (NOON - timedelta(days=1), "reversed")]
)
def test_an_empty_or_reversed_window_is_an_error_that_shows_it(end, how):
    with pytest.raises(InvalidArgumentError, match=f"is {how}. Its start must be before its end") as caught:
        TimeWindow(NOON, end)
    assert f"{format_utc(NOON)}/{format_utc(end)}" in str(caught.value)


def test_a_window_may_be_one_microsecond_long():
    assert NOON in TimeWindow(NOON, NOON + MICROSECOND)


def test_a_window_is_immutable_and_hashable():
    window = TimeWindow(NOON, NOON + SECOND)
    with pytest.raises(AttributeError):
        window.start = NOON - SECOND
    assert {window: 1}[TimeWindow(NOON, NOON + SECOND)] == 1


# Containment and splitting


@given(windows())
def test_a_window_contains_its_start_and_not_its_end_to_the_microsecond(window):
    assert window.start in window
    assert window.end - MICROSECOND in window
    assert window.end not in window
    assert window.start - MICROSECOND not in window


@given(st.lists(instants, min_size=3, max_size=3, unique=True).map(sorted), instants)
def test_a_window_that_touches_another_shares_nothing_with_it(edges, moment):
    first, second = TimeWindow(*edges[:2]), TimeWindow(*edges[1:])
    for each in (moment, *edges, edges[1] - MICROSECOND):
        assert (each in first) + (each in second) == (edges[0] <= each < edges[2])


@given(windows(), st.integers(1, 60))
def test_parts_touch_and_cover_the_whole_in_lengths_equal_to_the_microsecond(window, parts):
    assume(window.duration >= parts * MICROSECOND)
    split = window.split(parts)
    assert len(split) == parts
    assert (split[0].start, split[-1].end) == (window.start, window.end)
    assert all(left.end == right.start for left, right in pairwise(split))
    lengths = [part.duration for part in split]
    assert max(lengths) - min(lengths) <= MICROSECOND


@pytest.mark.parametrize("parts", [0, -1, 4])
def test_a_window_is_not_split_into_zero_parts_or_empty_parts(parts):
    window = TimeWindow(NOON, NOON + 3 * MICROSECOND)
    assert len(window.split(3)) == 3
    with pytest.raises(InvalidArgumentError, match=f"parts={parts} is out of range. Give 1 to 3"):
        window.split(parts)


# Query bounds


@given(windows())
@example(TimeWindow(NOON, NOON + SECOND))
@example(TimeWindow(NOON + MICROSECOND, NOON + SECOND - MICROSECOND))
def test_query_bounds_are_whole_seconds_and_at_least_one_wider_on_each_side(window):
    lower, upper = window.query_bounds()
    assert lower.microsecond == upper.microsecond == 0
    assert SECOND <= window.start - lower < 2 * SECOND
    assert SECOND <= upper - window.end < 2 * SECOND


@pytest.mark.parametrize(
    "window",
    [
        TimeWindow(EARLIEST, NOON),
        TimeWindow(NOON, LATEST),
        TimeWindow(EARLIEST, EARLIEST + MICROSECOND),
        TimeWindow(LATEST - MICROSECOND, LATEST),
    ],
    ids=str,
)
def test_query_bounds_cover_windows_at_the_first_and_last_datetime(window):
    lower, upper = window.query_bounds()
    assert lower <= window.start
    assert upper >= window.end


@pytest.mark.parametrize("hours", [1, -1])
def test_an_instant_that_is_out_of_range_in_utc_is_an_error(hours):
    beyond = (EARLIEST if hours > 0 else LATEST).replace(tzinfo=timezone(timedelta(hours=hours)))
    with pytest.raises(InvalidArgumentError, match="out of range"):
        parse_instant(beyond, "window start")


# Lookback


@given(windows(), st.timedeltas(timedelta(0), timedelta(days=400)))
def test_lookback_moves_the_start_only(window, lookback):
    longer = window.extended_back(lookback)
    assert (window.start - longer.start, longer.end) == (lookback, window.end)


def test_lookback_stops_at_the_first_datetime():
    assert TimeWindow(NOON, NOON + SECOND).extended_back(timedelta(days=999_999)).start == EARLIEST


# Daylight saving


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 10, 26), 24)])
def test_a_local_day_has_the_length_of_that_day(day, hours):
    start = datetime(*day, tzinfo=BERLIN)
    assert TimeWindow(start, start + timedelta(days=1)).duration == timedelta(hours=hours)


def test_the_repeated_hour_is_two_windows_that_touch():
    first = datetime(2026, 10, 25, 2, tzinfo=BERLIN)
    after = datetime(2026, 10, 25, 3, tzinfo=BERLIN)
    summer, winter = TimeWindow(first, first.replace(fold=1)), TimeWindow(first.replace(fold=1), after)
    assert summer.end == winter.start
    assert summer.duration == winter.duration == timedelta(hours=1)


@pytest.mark.parametrize("parts", [True, 2.0, "2", None])
def test_a_number_of_parts_is_a_whole_number(parts):
    with pytest.raises(InvalidArgumentError) as caught:
        TimeWindow(NOON, NOON + timedelta(hours=1)).split(parts)
    assert str(caught.value) == f"parts must be a whole number, not {type(parts).__name__}."


def test_a_window_is_split_into_halves_by_default():
    window = TimeWindow("2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z")

    assert [str(half.end - half.start) for half in window.split()] == ["0:30:00", "0:30:00"]


def test_a_window_until_now_ends_now_and_is_never_empty():
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    begun = window_ending_now("2026-01-31T11:00:00Z", noon)
    to_come = window_ending_now(noon + timedelta(hours=1), noon)

    assert (begun.start, begun.end) == (noon - timedelta(hours=1), noon)
    assert to_come.start == noon + timedelta(hours=1)
    assert to_come.end - to_come.start == timedelta(microseconds=1)
    with pytest.raises(InvalidArgumentError, match="window start"):
        window_ending_now("2026-01-31T11:00:00", noon)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: parse_instant("2026-01-31T13:00:00", "window_start"),
            (
                "window_start='2026-01-31T13:00:00' has no time zone. Add an offset, such as "
                "'2026-01-31T13:00:00Z' or '2026-01-31T13:00:00+01:00'."
            ),
        ),
        (
            lambda: parse_instant("0001-01-01T00:00:00+01:00", "window_end"),
            "window_end='0001-01-01T00:00:00+01:00' is out of range. Give a time after year 1.",
        ),
        (
            lambda: TimeWindow("x", NOON),
            "window start='x' is not an ISO 8601 time. Give one such as '2026-01-31T13:00:00Z'.",
        ),
        (
            lambda: TimeWindow(NOON, "x"),
            "window end='x' is not an ISO 8601 time. Give one such as '2026-01-31T13:00:00Z'.",
        ),
        (
            lambda: window_ending_now("x", NOON),
            "window start='x' is not an ISO 8601 time. Give one such as '2026-01-31T13:00:00Z'.",
        ),
    ],
)
def test_the_full_text_of_errors_about_times(make, message):
    with pytest.raises(InvalidArgumentError) as caught:
        make()
    assert str(caught.value) == message


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_the_machine_s_time_zone_does_not_matter(monkeypatch, zone):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert parse_instant("2026-01-31T13:00:00+01:00", "window_start") == datetime(2026, 1, 31, 12, tzinfo=UTC)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_parts_of_the_longest_window_are_equal_to_the_microsecond():
    parts = TimeWindow(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)).split(3)
    lengths = [part.duration for part in parts]
    assert max(lengths) - min(lengths) <= timedelta(microseconds=1)
    assert parts[0].end == parts[1].start
