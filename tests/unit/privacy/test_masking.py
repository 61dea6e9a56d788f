"""A value that may be patient data shows its structure, and *** for what is in it."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_healthimaging.privacy.masking import MaskedValue, mask_values

CANARY = "CANARY-4711"
CRITERIA = {
    "filters": [{"operator": "BETWEEN", "values": [{"createdAt": CANARY}, {"createdAt": 4711}]}],
    "sort": {"sortField": "updatedAt", "sortOrder": "DESC"},
}
SHOWN = {
    "filters": [{"operator": "BETWEEN", "values": [{"createdAt": "***"}, {"createdAt": "***"}]}],
    "sort": {"sortField": "updatedAt", "sortOrder": "DESC"},
}


def test_the_structure_and_the_words_of_the_api_are_shown_and_the_values_are_not():
    assert MaskedValue(CRITERIA).serialize() == SHOWN
    assert json.loads(str(MaskedValue(CRITERIA))) == SHOWN
    assert repr(MaskedValue(CRITERIA)) == f"MaskedValue({json.dumps(SHOWN)})"


def test_text_shows_nothing_as_it_may_be_rendered_json():
    text = MaskedValue(json.dumps(CRITERIA))
    assert (text.serialize(), str(text), repr(text)) == ("***", "***", "MaskedValue(***)")


def test_nothing_shows_as_nothing():
    assert len(MaskedValue(None).serialize()) == 0  # Airflow 3.0 and 3.1 ask
    assert str(MaskedValue(None)) == "{}"


def test_a_word_of_the_api_is_shown_only_where_it_belongs():
    given_ = {"operator": CANARY, "sortField": "DESC", "DICOMPatientId": "EQUAL", "sortOrder": ["ASC", CANARY]}
    assert mask_values(given_) == {
        "operator": "***",
        "sortField": "***",
        "DICOMPatientId": "***",
        "sortOrder": ["ASC", "***"],
    }


def test_true_and_zero_are_values_too():
    assert mask_values({"isPrimary": True, "version": 0, "DICOMStudyId": "", "storageTier": None}) == {
        "isPrimary": "***",
        "version": "***",
        "DICOMStudyId": "***",
        "storageTier": None,
    }


RECORD = {
    "datastoreId": "d" * 32,
    "imageSetId": "0" * 32,
    "version": 2,
    "createdAt": "2026-01-31T12:00:00.000Z",
    "updatedAt": "2026-01-31T12:00:00.250Z",
    "isPrimary": True,
}


def test_of_a_record_everything_is_shown_but_its_tags():
    tags = {"DICOMTags": {"DICOMPatientId": CANARY, "version": 2}}
    masked = {"DICOMTags": {"DICOMPatientId": "***", "version": "***"}}
    assert mask_values([RECORD, {**RECORD, **tags}]) == [RECORD, {**RECORD, **masked}]
    least = {"datastoreId": "d" * 32, "imageSetId": "0" * 32}
    assert mask_values(least) == least


@pytest.mark.parametrize("name", RECORD)
def test_in_a_record_a_value_of_another_form_is_not_shown(name):
    for value in (CANARY, f"{RECORD[name]} ", f"{RECORD[name]}\n", [RECORD[name]]):
        assert "4711" not in json.dumps(mask_values({**RECORD, name: value}))
        assert mask_values({**RECORD, name: value}) != {**RECORD, name: value}


@pytest.mark.parametrize("missing", ["datastoreId", "imageSetId"])
def test_what_has_not_both_ids_is_no_record(missing):
    part = {name: value for name, value in RECORD.items() if name != missing}
    assert set(mask_values(part).values()) == {"***"}


def test_a_value_in_the_place_of_a_name_is_not_shown():
    slipped = {"filters": [{"values": [{CANARY: "DICOMPatientId"}], 4711: []}], CANARY: {}}
    assert mask_values(slipped) == {"filters": [{"values": [{"***": "***"}], "***": []}], "***": {}}


leaves = st.just(CANARY) | st.text().map(lambda text: CANARY + text) | st.integers() | st.none() | st.booleans()
keys = st.sampled_from(["operator", "sortField", "sortOrder", "values", "DICOMPatientId", CANARY])


@given(
    st.recursive(
        leaves,
        lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner),
        max_leaves=9,
    )
)
def test_no_value_is_shown_however_deep(value):
    holder = MaskedValue(value)
    assert CANARY not in f"{holder} {holder!r} {json.dumps(holder.serialize())}"
    assert holder.value is value


def test_a_copy_is_rendered_without_touching_the_original():
    original = MaskedValue("{{ template }}")
    rendered = copy.copy(original)
    rendered.value = CRITERIA
    assert original.value == "{{ template }}"
    assert copy.deepcopy(rendered).value == CRITERIA
    assert copy.deepcopy(rendered).value is not CRITERIA


def test_a_holder_of_a_holder_is_one_holder():
    assert MaskedValue(MaskedValue(CRITERIA)).value is CRITERIA


def test_a_holder_says_whether_its_templates_were_rendered():
    assert MaskedValue(CRITERIA).rendered is False
    assert MaskedValue(CRITERIA, rendered=True).rendered is True


def test_airflow_finds_nothing_to_render_inside():
    assert not hasattr(MaskedValue(CRITERIA), "template_fields")


def test_an_empty_value_is_rendered_like_any_other():
    assert MaskedValue(None)
    assert MaskedValue({})
