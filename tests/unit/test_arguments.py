"""Arguments that cannot work are refused with their value, the limit they broke, and a number in text is a number."""

import json
from datetime import timedelta

import pytest

from airflow_provider_healthimaging.arguments import (
    check_datastore_id,
    check_pagination_config,
    check_timedelta,
    check_whole_number,
    from_json,
)
from airflow_provider_healthimaging.exceptions import InvalidArgumentError


@pytest.mark.parametrize("malformed", [None, "", 7, "d" * 31, "d" * 33, "D" * 32, "d" * 31 + "-", "d" * 32 + "\n"])
def test_a_malformed_data_store_id_is_shown_with_what_it_should_be(malformed):
    with pytest.raises(InvalidArgumentError, match="32 characters of 0-9 and a-z") as caught:
        check_datastore_id(malformed)
    assert repr(malformed) in str(caught.value)


def test_pagination_numbers_may_be_rendered_text_and_what_is_empty_is_not_given():
    config = {"MaxItems": "120", "PageSize": 50, "StartingToken": ""}
    assert check_pagination_config(config) == {"MaxItems": 120, "PageSize": 50}
    assert check_pagination_config(json.dumps(config)) == {"MaxItems": 120, "PageSize": 50}
    assert check_pagination_config(None) == {}


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"PageSize": 51}, "PageSize=51 is out of range. Give a whole number from 1 to 50"),
        ({"PageSize": 0}, "PageSize=0"),
        ({"PageSize": True}, "PageSize=True"),
        ({"MaxItems": 0}, "MaxItems=0 is out of range. Give a whole number of 1 or more"),
        ({"MaxItems": "many"}, "MaxItems='many'"),
        ({"MaxItems": 1.5}, "MaxItems=1.5"),
        ({"pageSize": 10}, "Did you mean 'PageSize'"),
        ({"StartingToken": 7}, "StartingToken must be a string"),
        ("MaxItems=3", "not JSON"),
    ],
)
def test_pagination_that_the_service_would_refuse_is_refused(config, says):
    with pytest.raises(InvalidArgumentError) as caught:
        check_pagination_config(config)
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["9" * 5000, "[" * 100_000, '{"a": ' * 100_000])
def test_text_that_no_parser_takes_is_refused_like_any_other(text):
    with pytest.raises(InvalidArgumentError):
        from_json("match", text)
    with pytest.raises(InvalidArgumentError):
        check_whole_number("batch_size", text, most=50)


def test_a_time_span_is_a_timedelta_of_zero_or_more():
    assert check_timedelta("delay", timedelta(0)) == timedelta(0)
    for wrong in (-timedelta(microseconds=1), 60, "60", None):
        with pytest.raises(InvalidArgumentError, match=r"delay=.* must be a datetime.timedelta of zero or more"):
            check_timedelta("delay", wrong)
