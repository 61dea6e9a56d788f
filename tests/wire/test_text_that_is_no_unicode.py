"""A tag whose character set was mangled holds half characters. It is handed on repaired, and nothing shows a value."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_healthimaging.exceptions import HealthImagingError
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.output.records import to_records

DATASTORE_ID = "d" * 32
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
MANGLED, REPAIRED = "M\udcfcller^CANARY\ud83d", "M\ufffdller^CANARY\ufffd"
NEIGHBOUR = "NEIGHBOUR-4711"
PART = "arrivals/window=20260131T120000Z_20260131T130000Z/part-00000."


def search(**arguments):
    given = {
        "task_id": "search",
        "datastore_id": DATASTORE_ID,
        "window_start": NOON,
        "window_end": NOON + timedelta(hours=1),
        "dicom_tags": ["DICOMPatientName", "DICOMNumberOfStudyRelatedSeries"],
        "do_xcom_push": False,
    }
    operator = HealthImagingSearchImageSetsOperator(**given | arguments)
    return operator.execute({"ti": SimpleNamespace()})


@pytest.fixture
def mangled(store):
    for second, name in enumerate((NEIGHBOUR, MANGLED, NEIGHBOUR)):
        moment = NOON + timedelta(seconds=second)
        store.put_image_set(DATASTORE_ID, created_at=moment, dicom_tags={"DICOMPatientName": name})


def names_in(bucket, file_format):
    if file_format == "jsonl":
        lines = gzip.decompress(bucket.Object(PART + "jsonl.gz").get()["Body"].read()).splitlines()
        return [json.loads(line)["DICOMTags"]["DICOMPatientName"] for line in lines]
    table = pa.parquet.read_table(pa.BufferReader(bucket.Object(PART + "parquet").get()["Body"].read()))
    return [tags["DICOMPatientName"] for tags in table["DICOMTags"].to_pylist()]


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_a_name_that_is_no_unicode_is_written_repaired_and_the_log_says_how_many(mangled, bucket, logged, file_format):
    search(s3_uri="s3://image-sets/arrivals/", file_format=file_format)

    assert names_in(bucket, file_format) == [NEIGHBOUR, REPAIRED, NEIGHBOUR]
    text = logged()
    assert "1 DICOM tags had characters that are no Unicode text" in text
    assert "CANARY" not in text
    assert NEIGHBOUR not in text


def test_a_name_that_is_no_unicode_goes_to_xcom_repaired(mangled):
    records = search()

    assert [record["DICOMTags"]["DICOMPatientName"] for record in records] == [NEIGHBOUR, REPAIRED, NEIGHBOUR]
    json.dumps(records, ensure_ascii=False).encode()


def test_a_value_that_a_format_cannot_hold_is_an_error_that_shows_no_value(store, bucket, all_text):
    tags = {"DICOMPatientName": NEIGHBOUR, "DICOMNumberOfStudyRelatedSeries": 2**70}
    store.put_image_set(DATASTORE_ID, created_at=NOON, dicom_tags=tags)

    with pytest.raises(HealthImagingError, match="cannot be written as parquet") as caught:
        search(s3_uri="s3://image-sets/arrivals/", file_format="parquet")

    assert NEIGHBOUR not in all_text(caught.value)
    assert str(2**70) not in all_text(caught.value)


class Silent:
    """A logger that keeps nothing."""

    def info(self, *_):
        """Do nothing."""

    warning = info


@given(st.text(st.characters(exclude_categories=())))
def test_whatever_a_tag_holds_its_record_can_be_encoded_and_unicode_stays_as_it_is(text):
    hit = {"imageSetId": "i", "DICOMTags": {"DICOMPatientName": text}}
    (record,) = to_records([hit], DATASTORE_ID, ("DICOMPatientName",), Silent())
    name = record["DICOMTags"]["DICOMPatientName"]
    assert name.encode().decode() == name
    assert len(name) == len(text)
    assert hit["DICOMTags"]["DICOMPatientName"] == text
    if text.isascii():
        assert name == text
