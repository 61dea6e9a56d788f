"""Timestamps of a response are read into UTC, and an invalid one is an error that says what to check."""

import time
from datetime import UTC, datetime

import pytest

from airflow_provider_healthimaging.aws.truncated_responses import parse_utc_timestamp
from airflow_provider_healthimaging.exceptions import IncompleteResponseError


@pytest.mark.parametrize("given", [1767268800.5, "2026-01-01T13:00:00.5+01:00", "2026-01-01T12:00:00.500Z"])
def test_times_are_read_into_utc_be_they_numbers_or_texts_as_those_of_sts(given):
    read = parse_utc_timestamp(given)
    assert read == datetime(2026, 1, 1, 12, 0, 0, 500_000, tzinfo=UTC)
    assert read.utcoffset().total_seconds() == 0


def test_a_time_without_a_zone_is_taken_for_utc_wherever_this_runs(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert parse_utc_timestamp("2026-01-01T12:00:00") == datetime(2026, 1, 1, 12, tzinfo=UTC)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("invalid", ["yesterday", None, 1e30, {}])
def test_an_invalid_timestamp_is_an_error_that_says_what_to_check(invalid):
    with pytest.raises(IncompleteResponseError, match="Check whether a proxy answered instead of HealthImaging"):
        parse_utc_timestamp(invalid)
