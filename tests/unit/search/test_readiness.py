"""A sensor is content with enough image sets that have been quiet for long enough, and reads no more than it must."""

from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_healthimaging.search.readiness import confirms_ready, is_ready

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def hits(*changed):
    return iter([{"imageSetId": str(number), "updatedAt": moment} for number, moment in enumerate(changed)])


@pytest.mark.parametrize(("count", "ready"), [(0, False), (1, False), (2, True), (3, True)])
def test_enough_is_as_many_as_were_asked_for_or_more(count, ready):
    assert is_ready(hits(*[NOON] * count), min_image_sets=2, quiet_since=None) is ready
    assert is_ready(hits(*[NOON] * count), min_image_sets=2, quiet_since=NOON) is ready


@pytest.mark.parametrize("restless", [NOON + timedelta(microseconds=1), None])
def test_one_that_changed_since_or_whose_change_is_unknown_is_waited_for(restless):
    assert not is_ready(hits(NOON, NOON - MINUTE, restless), min_image_sets=1, quiet_since=NOON)


def test_what_changed_at_that_very_moment_has_been_quiet_since():
    assert is_ready(hits(NOON - MINUTE, NOON), min_image_sets=1, quiet_since=NOON)


def test_no_more_is_read_than_is_needed():
    enough = hits(NOON, NOON, NOON)
    assert is_ready(enough, min_image_sets=2, quiet_since=None)
    assert len([*enough]) == 1
    restless = hits(NOON + MINUTE, NOON)
    assert not is_ready(restless, min_image_sets=1, quiet_since=NOON)
    assert len([*restless]) == 1


@pytest.mark.parametrize(
    ("count", "changed", "quiet_since", "still"),
    [
        (2, NOON, None, True),
        (1, NOON, None, False),
        (0, None, NOON, False),
        (2, NOON, NOON, True),
        (2, NOON + MINUTE, NOON, False),
        (2, None, NOON, True),
    ],
)
def test_what_was_read_after_all_must_be_enough_and_quiet_too(count, changed, quiet_since, still):
    assert confirms_ready(count, changed, min_image_sets=2, quiet_since=quiet_since) is still
