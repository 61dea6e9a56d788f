"""Arguments that cannot work are refused with their value, the limit they broke, and a number in text is a number."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.validation import (
    check_datastore_id,
    check_whole_number,
    parse_duration,
    parse_interval,
    parse_json_object,
    parse_pagination_config,
    to_json,
)


@pytest.mark.parametrize("malformed", [None, "", 7, "d" * 31, "d" * 33, "D" * 32, "d" * 31 + "-", "d" * 32 + "\n"])
def test_a_malformed_data_store_id_is_shown_with_what_it_should_be(malformed):
    with pytest.raises(InvalidArgumentError, match="32 characters of 0-9 and a-z") as caught:
        check_datastore_id(malformed)
    assert repr(malformed) in str(caught.value)


@pytest.mark.parametrize(
    ("check", "name"),
    [
        (check_datastore_id, "datastore_id"),
        (lambda text: parse_json_object("match", text), "match"),
        (lambda text: parse_json_object("match", {"version": text}), "match"),
        (lambda text: parse_json_object("match", f'{{"version": ["{text}"]}}'), "match"),
    ],
)
def test_a_value_whose_template_refers_to_nothing_is_refused_by_the_name_of_its_argument(check, name):
    with pytest.raises(InvalidArgumentError, match=rf"^A value of {name} rendered to 'None'"):
        check("None")


def test_pagination_numbers_may_be_rendered_text_and_what_is_empty_is_not_given():
    config = {"MaxItems": "120", "PageSize": 50, "StartingToken": ""}
    assert parse_pagination_config(config) == {"MaxItems": 120, "PageSize": 50}
    assert parse_pagination_config(json.dumps(config)) == {"MaxItems": 120, "PageSize": 50}
    assert parse_pagination_config(None) == {}


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
        ({"StartingToken": 7}, "StartingToken in pagination_config must be a string, not int"),
        ("MaxItems=3", "not JSON"),
    ],
)
def test_pagination_that_the_service_would_refuse_is_refused(config, says):
    with pytest.raises(InvalidArgumentError) as caught:
        parse_pagination_config(config)
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["9" * 5000, "[" * 100_000, '{"a": ' * 100_000])
def test_text_that_no_parser_takes_is_refused_like_any_other(text):
    with pytest.raises(InvalidArgumentError):
        parse_json_object("match", text)
    with pytest.raises(InvalidArgumentError):
        check_whole_number("batch_size", text, maximum=50)


@pytest.mark.parametrize("wrong", [-timedelta(microseconds=1), -0.1, float("nan"), True, "60", "60 seconds", None])
def test_a_duration_is_a_timedelta_or_seconds_zero_or_more(wrong):
    with pytest.raises(InvalidArgumentError, match=r"delay=.* must be a datetime.timedelta or a number of seconds"):
        parse_duration("delay", wrong)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (
            lambda: check_datastore_id("arrivals"),
            (
                "datastore_id='arrivals' is malformed: the id of a data store has 32 characters of 0-9 and a-z. Its "
                "name and its ARN are not its id. Take the id from the HealthImaging console or from list_datastores."
            ),
        ),
        (
            lambda: check_datastore_id(7),
            (
                "datastore_id=7 must be a string of 32 characters of 0-9 and a-z, not int. If a template gave it: with "
                "render_template_as_native_obj=True, a text of digits becomes a number, without its leading zeros. "
                "Write {{ ... | tojson }}, or give the output of a task as it is (.output)."
            ),
        ),
        (
            lambda: check_whole_number("PageSize", 51, maximum=50),
            "PageSize=51 is out of range. Give a whole number from 1 to 50.",
        ),
        (
            lambda: check_whole_number("PageSize", 0, maximum=50),
            "PageSize=0 is out of range. Give a whole number from 1 to 50.",
        ),
        (
            lambda: check_whole_number("batch_size", 1_000_000_001),
            "batch_size=1000000001 is out of range. Give a whole number from 1 to 1000000000.",
        ),
        (
            lambda: check_whole_number("batch_size", 0),
            "batch_size=0 is out of range. Give a whole number of 1 or more.",
        ),
        (lambda: parse_pagination_config([]), "pagination_config must be a JSON object, not a list."),
        (
            lambda: parse_pagination_config({"pageSize": 10}),
            (
                "Unknown pagination_config key 'pageSize'. Did you mean 'PageSize'? Known: MaxItems, PageSize, "
                "StartingToken."
            ),
        ),
        (
            lambda: parse_pagination_config({"StartingToken": 7}),
            (
                "StartingToken in pagination_config must be a string, not int. If a template gave it: with "
                "render_template_as_native_obj=True, a text of digits becomes a number, without its leading zeros. "
                "Write {{ ... | tojson }}, or give the output of a task as it is (.output)."
            ),
        ),
        (
            lambda: parse_json_object("match", "{"),
            (
                "match is a string that is not JSON. Give AWS's structure, or a template that renders to its JSON (use "
                "the tojson filter). The text is not shown, because it may hold patient data."
            ),
        ),
        (
            lambda: parse_duration("delay", timedelta(days=2, microseconds=1), timedelta(days=2)),
            ("delay=datetime.timedelta(days=2, microseconds=1) is too long: give at most 2 days."),
        ),
        (
            lambda: parse_duration("poke_interval", "60"),
            "poke_interval='60' must be a datetime.timedelta or a number of seconds, zero or more.",
        ),
        (
            lambda: parse_interval("poke_interval", 0),
            (
                "poke_interval=0 would poll without a pause. Give a datetime.timedelta or a number of seconds above "
                "zero."
            ),
        ),
        (
            lambda: parse_interval("poke_interval", timedelta(days=367)),
            "poke_interval=datetime.timedelta(days=367) is too long: give at most 366 days.",
        ),
    ],
)
def test_what_an_error_says_of_an_argument_is_the_whole_of_it(check, message):
    with pytest.raises(InvalidArgumentError) as caught:
        check()
    assert str(caught.value) == message


def test_a_duration_may_be_as_long_as_the_maximum():
    assert parse_duration("delay", timedelta(days=2), timedelta(days=2)) == timedelta(days=2)
    assert parse_duration("delay", 172_800, timedelta(days=2)) == timedelta(days=2)


@pytest.mark.parametrize("too_long", [172_800.1, 1e300, float("inf"), 10**400])
def test_a_number_of_seconds_beyond_the_maximum_is_too_long(too_long):
    with pytest.raises(InvalidArgumentError, match="is too long: give at most 2 days"):
        parse_duration("delay", too_long, timedelta(days=2))


@pytest.mark.parametrize("never", [0, 0.0, timedelta(0), -1])
def test_an_interval_between_polls_is_above_zero(never):
    with pytest.raises(InvalidArgumentError, match="poke_interval="):
        parse_interval("poke_interval", never)


@pytest.mark.parametrize("pause", [timedelta(days=366), timedelta(microseconds=1)])
def test_an_interval_is_given_back_as_it_is(pause):
    assert parse_interval("poke_interval", pause) == parse_interval("poke_interval", pause.total_seconds()) == pause


@pytest.mark.parametrize(
    ("given", "seconds"), [(timedelta(minutes=1.5), 90), (90, 90), (0.5, 0.5), (0, 0), (timedelta(0), 0)]
)
def test_a_duration_is_given_as_a_timedelta_or_in_seconds(given, seconds):
    assert parse_duration("delay", given) == timedelta(seconds=seconds)


def test_the_same_arguments_make_the_same_text_in_whatever_order_they_came():
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert to_json({"b": [noon], "a": True}) == to_json({"a": True, "b": [noon]})
    assert to_json({"b": [noon], "a": True}) == '{"a": true, "b": ["2026-01-31T12:00:00Z"]}'
