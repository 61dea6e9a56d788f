"""match decides hit by hit what the service cannot filter on, and never shows what was asked for."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.image_set import DICOM_TAGS
from airflow_provider_healthimaging.search.match import MATCH_FIELDS, matches, parse_match
from airflow_provider_healthimaging.search.rendered import NATIVE_RENDERING

CANARY = "CANARY-4711"
VALUE = {str: "x", int: 3, bool: True}
HIT = {
    "imageSetId": "i" * 32,
    "version": 2,
    "isPrimary": True,
    "storageTier": "FREQUENT_ACCESS",
    "DICOMTags": {"DICOMSeriesModality": "CT", "DICOMSeriesNumber": 3},
}


@pytest.mark.parametrize("nothing", [None, "", {}, "{}"])
def test_no_match_lets_everything_through(nothing):
    assert matches(HIT, parse_match(nothing))
    assert matches({"imageSetId": "i"}, parse_match(nothing))


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        ({"DICOMSeriesModality": "CT"}, True),
        ({"DICOMSeriesModality": ["MR", "CT"]}, True),
        ({"DICOMSeriesModality": {"MR", "CT"}}, True),
        ({"DICOMSeriesModality": "MR"}, False),
        ({"DICOMSeriesModality": "ct"}, False),
        ({"DICOMSeriesModality": "CT", "DICOMSeriesNumber": 4}, False),
        ({"DICOMSeriesNumber": 3}, True),
        ({"DICOMSeriesNumber": "3"}, True),
        ({"DICOMSeriesNumber": "-3"}, False),
        ({"version": [1, 2]}, True),
        ({"isPrimary": True}, True),
        ({"isPrimary": "false"}, False),
        ({"isPrimary": [True, False]}, True),
        ({"storageTier": "FREQUENT_ACCESS"}, True),
        ({"DICOMSeriesBodyPart": None}, True),
        ({"DICOMSeriesBodyPart": ["CHEST", None]}, True),
        ({"DICOMSeriesBodyPart": "CHEST"}, False),
        ({"DICOMSeriesModality": None}, False),
    ],
)
def test_every_field_must_have_one_of_its_values(match, hit):
    assert matches(HIT, parse_match(match)) is hit
    if not isinstance(match.get("DICOMSeriesModality"), set):
        assert matches(HIT, parse_match(json.dumps(match))) is hit


def test_a_hit_without_tags_has_none_of_them():
    assert matches({"imageSetId": "i"}, parse_match({"DICOMSeriesModality": None}))
    assert not matches({"imageSetId": "i", "DICOMTags": None}, parse_match({"DICOMSeriesModality": "CT"}))


def test_every_tag_of_a_hit_can_be_asked_for():
    assert set(MATCH_FIELDS) >= set(DICOM_TAGS)
    for name, kind in MATCH_FIELDS.items():
        hit = {"imageSetId": "i", "DICOMTags": {}}
        (hit["DICOMTags"] if name in DICOM_TAGS else hit)[name] = VALUE[kind]
        assert matches(hit, parse_match({name: VALUE[kind]}))


@pytest.mark.parametrize(
    ("match", "says"),
    [
        ({"SeriesModality": "CT"}, "Did you mean 'DICOMSeriesModality'"),
        ({"Modality": "CT"}, "Unknown field in match. Did you mean 'DICOMSeriesModality'"),
        ({"patientname": "x"}, "Unknown field in match. Did you mean 'DICOMPatientName'"),
        ({"Qzxcanary^Jane": "x"}, "Unknown field in match. Known: "),
        ({"createdAt": "2026-01-31T12:00:00Z"}, "Unknown field in match"),
        ({"DICOMSeriesModality": []}, "has no values"),
        ({"DICOMSeriesModality": 7}, "takes str values, not int"),
        ({"DICOMSeriesNumber": "three"}, "takes int values, not str"),
        ({"version": True}, "takes int values, not bool"),
        ({"isPrimary": "yes"}, "must be true or false"),
        ("DICOMSeriesModality=CT", "not JSON"),
        (["CT"], "must be a JSON object, not a list"),
    ],
)
def test_what_could_never_match_is_refused(match, says):
    with pytest.raises(InvalidArgumentError) as caught:
        parse_match(match)
    assert says in str(caught.value)


junk = st.recursive(
    st.sampled_from([CANARY, f"-{CANARY}", "--4711", "4711", "9" * 5000, "-", 7, 1.5, None, True]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([*MATCH_FIELDS, "modality"]), junk, max_size=3), st.booleans())
def test_whatever_is_wrong_no_value_is_ever_shown(all_text, match, as_text):
    try:
        parse_match(json.dumps(match) if as_text else match)
    except InvalidArgumentError as error:
        assert "4711" not in all_text(error)  # noqa: PT017 - most draws are refused, but not all


@pytest.mark.parametrize(
    ("match", "message"),
    [
        ({"isPrimary": "maybe"}, "match on isPrimary must be true or false."),
        ({"version": 10**18 + 1}, "match on version takes whole numbers of at most 18 digits."),
        ({"version": 7.0}, "match on version takes int values, not float."),
        ({"DICOMStudyId": ["7"], "DICOMPatientId": [b"7"]}, "match on DICOMPatientId takes str values, not bytes."),
        ({"DICOMPatientId": 7}, f"match on DICOMPatientId takes str values, not int.{NATIVE_RENDERING}"),
        ({"DICOMPatientId": 7.5}, f"match on DICOMPatientId takes str values, not float.{NATIVE_RENDERING}"),
    ],
)
def test_what_an_error_says_of_a_value_is_the_whole_of_it(match, message):
    with pytest.raises(InvalidArgumentError) as caught:
        parse_match(match)
    assert str(caught.value) == message


@pytest.mark.parametrize("number", [10**18, -(10**18)])
def test_the_largest_whole_numbers_are_taken(number):
    assert parse_match({"version": number}) == {"version": [number]}


def test_the_values_of_a_set_come_in_the_same_order_in_every_process():
    values = {"MR", "CT", "US", "XA", None}
    assert parse_match({"DICOMSeriesModality": values}) == {"DICOMSeriesModality": ["CT", "MR", "US", "XA", None]}
