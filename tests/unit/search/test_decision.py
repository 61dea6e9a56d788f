"""A search hit is decided on without the service only where every way in which it may compare text agrees."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_healthimaging.search.criteria import parse_criteria
from airflow_provider_healthimaging.search.decision import meets_criteria

UID = "1.2.826.0.1"


def criteria(attribute, value):
    return parse_criteria({"filters": [{"operator": "EQUAL", "values": [{attribute: value}]}]})


def hit(**tags):
    return {"imageSetId": "a", "DICOMTags": tags}


@pytest.mark.parametrize(
    ("tags", "attribute", "value", "answer"),
    [
        ({"DICOMPatientId": "P-1"}, "DICOMPatientId", "P-1", True),
        ({"DICOMPatientId": "P-1"}, "DICOMPatientId", "P-2", False),
        ({"DICOMPatientId": "P-1"}, "DICOMPatientId", "p-1", None),
        ({"DICOMPatientId": "P-1 "}, "DICOMPatientId", "P-1", None),
        ({"DICOMPatientId": "P-1\0"}, "DICOMPatientId", "P-1", None),
        ({"DICOMPatientId": "P-1"}, "DICOMPatientId", "P-*", None),
        ({"DICOMPatientId": ""}, "DICOMPatientId", "P-1", False),
        ({}, "DICOMPatientId", "P-1", None),
        ({"DICOMPatientId": 7}, "DICOMPatientId", "7", None),
        ({"DICOMStudyInstanceUID": UID}, "DICOMStudyInstanceUID", UID, True),
        ({"DICOMSeriesInstanceUID": UID}, "DICOMSeriesInstanceUID", UID + ".1", False),
        ({"DICOMStudyDate": "20260101"}, "DICOMStudyDateAndTime", {"DICOMStudyDate": "20260101"}, None),
    ],
)
def test_what_is_certain_is_decided_and_nothing_else(tags, attribute, value, answer):
    assert meets_criteria(hit(**tags), criteria(attribute, value)) is answer


@pytest.mark.parametrize(("found", "answer"), [(True, True), (False, False), (None, None)])
def test_is_primary_is_decided_where_the_hit_has_it(found, answer):
    assert meets_criteria({"imageSetId": "a", "isPrimary": found}, criteria("isPrimary", True)) is answer


def test_no_filter_is_met_by_everything():
    assert meets_criteria(hit(), {}) is True


def test_a_range_is_left_to_the_service():
    day = {"DICOMStudyDate": "20260101"}
    between = {"operator": "BETWEEN", "values": [{"DICOMStudyDateAndTime": day}] * 2}
    assert meets_criteria(hit(**day), parse_criteria({"filters": [between]})) is None


COMPARISONS = (
    lambda text: text,
    str.lower,
    str.upper,
    str.casefold,
    str.strip,
    lambda text: text.strip(" \0"),
    lambda text: unicodedata.normalize("NFC", text),
    lambda text: unicodedata.normalize("NFKD", text).casefold(),
    lambda text: " ".join(text.split()),
)
TEXT = st.text(alphabet="aAß ﬀ\0é1\u0301", max_size=4) | st.text(max_size=8)


# A value that rendered to "None" is an error.
@given(wanted=TEXT.filter(lambda text: text.strip() != "None"), found=TEXT)
def test_a_decision_agrees_with_every_way_to_compare_text(wanted, found):
    answer = meets_criteria(hit(DICOMPatientId=found), criteria("DICOMPatientId", wanted))
    if answer is not None:
        assert {form(wanted) == form(found) for form in COMPARISONS} == {answer}
