"""A record is JSON types only, times in UTC with milliseconds, and holds the tags asked for and no other."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.output.records import to_record
from airflow_provider_healthimaging.search.image_set import DICOM_TAGS, NOT_PATIENT_DATA, parse_dicom_tags
from airflow_provider_healthimaging.search.suggestions import suggest_name

CREATED = datetime(2026, 1, 31, 12, tzinfo=UTC)
HIT = {
    "imageSetId": "i" * 32,
    "version": 2,
    "createdAt": CREATED,
    "updatedAt": CREATED + timedelta(milliseconds=250),
    "lastAccessedAt": CREATED,
    "storageTier": "FREQUENT_ACCESS",
    "isPrimary": True,
    "DICOMTags": {"DICOMPatientName": "DOE^JANE", "DICOMSeriesModality": "CT"},
}


def test_a_record_has_ids_version_times_and_nothing_else_by_default():
    assert to_record(HIT, "d" * 32) == {
        "datastoreId": "d" * 32,
        "imageSetId": "i" * 32,
        "version": 2,
        "createdAt": "2026-01-31T12:00:00.000Z",
        "updatedAt": "2026-01-31T12:00:00.250Z",
        "isPrimary": True,
    }


def test_a_hit_with_nothing_but_its_id_still_makes_a_whole_record():
    record = to_record({"imageSetId": "i"}, "d", ["DICOMPatientName"])
    assert record == dict.fromkeys(["version", "createdAt", "updatedAt", "isPrimary"]) | {
        "datastoreId": "d",
        "imageSetId": "i",
        "DICOMTags": {"DICOMPatientName": None},
    }


@given(st.datetimes(datetime(2023, 7, 19), datetime(2099, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_times_are_iso_8601_in_utc_to_the_millisecond_and_never_later_than_the_hit(moment):
    text = to_record({**HIT, "createdAt": moment}, "d")["createdAt"]
    assert len(text) == len("2026-01-31T12:00:00.000Z")
    assert text.endswith("Z")
    assert timedelta(0) <= moment - datetime.fromisoformat(text) < timedelta(milliseconds=1)


def test_only_the_tags_asked_for_are_kept_and_a_missing_one_is_none():
    record = to_record(HIT, "d", parse_dicom_tags(["DICOMSeriesModality", "DICOMSeriesBodyPart"]))
    assert record["DICOMTags"] == {"DICOMSeriesModality": "CT", "DICOMSeriesBodyPart": None}
    assert "DOE" not in json.dumps(record)


def test_a_record_with_all_tags_survives_json():
    record = to_record(HIT, "d", parse_dicom_tags("all"))
    assert json.loads(json.dumps(record)) == record
    assert list(record["DICOMTags"]) == list(DICOM_TAGS)


@pytest.mark.parametrize("none", [None, "", [], ()])
def test_no_tags_is_no_tags(none):
    assert parse_dicom_tags(none) == ()


@given(st.permutations(list(DICOM_TAGS)), st.integers(0, 16))
def test_tags_come_in_the_order_of_the_api_reference_each_once(tags, how_many):
    chosen = parse_dicom_tags(tags[:how_many] * 2)
    assert chosen == tuple(tag for tag in DICOM_TAGS if tag in tags[:how_many])


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


@pytest.mark.parametrize(
    ("written", "known", "nearest"),
    [
        ("number", "DICOMNumberOfStudyRelatedSeries", True),  # six letters that it begins with
        ("numbe", "DICOMNumberOfStudyRelatedSeries", False),
        ("numbe", "DICOMSeriesNumber", True),  # nearly the six letters that it ends with
        ("abcdeyyy", "abcdefgh", False),  # too little in common
        ("abcdefyy", "abcdefgh", True),
    ],
)
def test_the_nearest_name_is_one_that_was_meant(written, known, nearest):
    assert suggest_name(written, [known]) == (known if nearest else None)
