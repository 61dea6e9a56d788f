"""A record is JSON types only, with times in UTC and the tags asked for. Its columns stand in one place."""

import io
import json
import logging
from datetime import UTC, datetime, timedelta

import pyarrow.parquet
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_healthimaging.output.file_formats import file_format
from airflow_provider_healthimaging.output.records import COLUMNS, Record, to_record, to_records
from airflow_provider_healthimaging.search.image_set import DICOM_TAGS, parse_dicom_tags

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


def test_a_text_that_is_no_unicode_is_repaired_and_counted(caplog):
    broken = {**HIT, "DICOMTags": {"DICOMPatientName": "M\udcfcller", "DICOMStudyId": "\ud83d", "DICOMSeriesNumber": 3}}
    tags = ("DICOMPatientName", "DICOMStudyId", "DICOMSeriesNumber")
    records = list(to_records([HIT, broken, broken], "d", tags, logging.getLogger("task")))
    assert [record["DICOMTags"] for record in records] == [
        {"DICOMPatientName": "DOE^JANE", "DICOMStudyId": None, "DICOMSeriesNumber": None},
        *[{"DICOMPatientName": "M\ufffdller", "DICOMStudyId": "\ufffd", "DICOMSeriesNumber": 3}] * 2,
    ]
    assert records[0] == to_record(HIT, "d", tags)
    assert caplog.record_tuples == [
        (
            "task",
            logging.WARNING,
            (
                "4 DICOM tags had characters that are no Unicode text, probably from a wrong character set. Each of "
                "these characters was replaced by U+FFFD."
            ),
        )
    ]


def test_of_texts_that_are_unicode_the_log_says_nothing(caplog):
    assert list(to_records([HIT], "d", (), logging.getLogger("task"))) == [to_record(HIT, "d")]
    assert not caplog.records


def test_the_columns_of_record_dataset_and_lineage_are_the_same(monkeypatch):
    monkeypatch.setitem(COLUMNS, "another", "string")
    file = io.BytesIO()
    file_format("parquet", ()).write(iter([{**to_record(HIT, "d"), "another": "x"}]), file)
    assert pyarrow.parquet.read_table(file).column_names == list(COLUMNS)


def test_the_type_of_a_record_names_its_columns():
    assert list(Record.__annotations__) == [*COLUMNS, "DICOMTags"]
