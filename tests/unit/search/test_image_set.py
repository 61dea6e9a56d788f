"""The tags of a search hit are those of botocore's model, and a tag that does not exist is an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.image_set import DICOM_TAGS, NOT_PATIENT_DATA, parse_dicom_tags


@pytest.mark.parametrize("none", [None, "", [], ()])
def test_no_tags_is_no_tags(none):
    assert parse_dicom_tags(none) == ()


@given(st.permutations(list(DICOM_TAGS)), st.integers(0, 16))
def test_tags_come_in_the_order_of_the_api_reference_each_once(tags, how_many):
    chosen = parse_dicom_tags(tags[:how_many] * 2)
    assert chosen == tuple(tag for tag in DICOM_TAGS if tag in tags[:how_many])


@pytest.mark.parametrize("text", ['["DICOMStudyId"]', ' ["DICOMStudyId"]\n'])
def test_tags_may_be_the_json_text_of_a_list(text):
    assert parse_dicom_tags(text) == ("DICOMStudyId",)
    assert parse_dicom_tags('"all"') == tuple(DICOM_TAGS)


@pytest.mark.parametrize("rendered", ["None", ["DICOMStudyId", "None"]])
def test_tags_whose_template_has_no_value_are_refused(rendered):
    with pytest.raises(InvalidArgumentError, match=r"^A value of dicom_tags rendered to 'None'"):
        parse_dicom_tags(rendered)


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        (["DICOMPatientNme"], "Did you mean 'DICOMPatientName'"),
        (["BodyPartExamined"], "Did you mean 'DICOMSeriesBodyPart'"),
        (["DICOMPatientID"], "Did you mean 'DICOMPatientId'"),
        (["PatientName", "DICOMStudyId"], "Unknown DICOM tag. Did you mean 'DICOMPatientName'"),
        ("DICOMPatientName", "must be a list of tag names or 'all'"),
        ("ALL", "must be a list of tag names or 'all'"),
        (7, "must be a list of tag names or 'all'"),
        ([None], "Unknown DICOM tag. Known: "),
        (["Patient^Name"], "Unknown DICOM tag. Did you mean 'DICOMPatientName'"),
        ({"DICOMPatientId": "4711"}, "must be a list of tag names or 'all', not a dict"),
        ([["DICOMStudyId"]], "Unknown DICOM tag"),
    ],
)
def test_unknown_tags_are_refused_with_those_that_there_are(tags, says):
    with pytest.raises(InvalidArgumentError) as caught:
        parse_dicom_tags(tags)
    assert says in str(caught.value)
    assert "DICOMStudyInstanceUID" in str(caught.value)


def test_tags_are_those_of_botocores_model_and_so_is_what_is_sensitive():
    import botocore.session

    shape = botocore.session.get_session().get_service_model("medical-imaging").shape_for("DICOMTags")
    kinds = {"string": str, "integer": int}
    assert {name: kinds[member.type_name] for name, member in shape.members.items()} == dict(DICOM_TAGS)
    open_ = {name for name, member in shape.members.items() if not member.metadata.get("sensitive")}
    assert open_ == NOT_PATIENT_DATA


def test_what_an_error_says_of_tags_is_the_whole_of_it():
    with pytest.raises(InvalidArgumentError) as caught:
        parse_dicom_tags(7)
    known = ", ".join(DICOM_TAGS)
    assert str(caught.value) == f"dicom_tags must be a list of tag names or 'all', not a int. Known tags: {known}."
