"""Where records go is parsed once from the arguments."""

from importlib.util import find_spec

import pytest

from airflow_provider_healthimaging.exceptions import ConfigurationError, InvalidArgumentError
from airflow_provider_healthimaging.output import destination
from airflow_provider_healthimaging.output.destination import OutputRequest, S3Destination, parse_s3_uri


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket/", ("bucket", "")),
        ("s3://bucket/a/b", ("bucket", "a/b/")),
        ("s3a://bucket/a/b/", ("bucket", "a/b/")),
    ],
)
def test_a_prefix_ends_with_a_slash_unless_it_is_empty(uri, place):
    assert parse_s3_uri(uri) == place


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_an_address_records_go_to_xcom(nothing):
    assert OutputRequest.parse(s3_uri=nothing, file_format="parquet").s3 is None


def test_a_dataset_is_written_where_and_how_the_arguments_say():
    output = OutputRequest.parse(
        dicom_tags=["DICOMStudyId"],
        s3_uri="s3://bucket/a",
        s3_conn_id="s3",
        verify="/etc/ca.pem",
        file_format="parquet",
        rows_per_file="7",
    )
    assert output.dicom_tags == ("DICOMStudyId",)
    assert output.s3 == S3Destination("bucket", "a/", "s3", "/etc/ca.pem", {}, "parquet", 7)
    assert output.s3.uri == "s3://bucket/a/"


def test_what_is_not_given_has_its_default():
    output = OutputRequest.parse(s3_uri="s3://bucket/")
    assert output == OutputRequest((), None, 1000, S3Destination("bucket", "", None, None, {}, "jsonl", 50_000))


@pytest.mark.parametrize("extra", [{"SSECustomerKey": "secret"}, '{"SSECustomerKey": "secret"}'])
def test_a_key_in_the_arguments_for_s3_is_not_shown(extra):
    output = OutputRequest.parse(s3_uri="s3://bucket/", s3_extra_args=extra)
    assert output.s3.extra_args == {"SSECustomerKey": "secret"}
    assert "secret" not in repr(output)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"s3_uri": "bucket/prefix"}, "names no bucket"),
        ({"s3_uri": 7}, "s3_uri must be a string, not int"),
        (
            {"s3_uri": "s3://bucket/", "batch_size": 3},
            r"^batch_size is for XCom, and s3_uri writes to S3\. Give only one of them\.$",
        ),
        (
            {"s3_uri": "s3://bucket/", "s3_extra_args": {"SSECustomerKe": "x"}},
            r"^Unknown argument for S3 in s3_extra_args\. Did you mean 'SSECustomerKey'\? Known: ",
        ),
        ({"s3_uri": "s3://bucket/", "file_format": "csv"}, "Unknown file_format 'csv'"),
        ({"s3_uri": "s3://bucket/", "rows_per_file": 0}, "rows_per_file=0"),
        ({"s3_uri": "s3://bucket/", "s3_conn_id": 7}, "s3_conn_id must be a string, not int"),
        ({"s3_uri": "s3://bucket/", "s3_extra_args": ["x"]}, "s3_extra_args must be a JSON object"),
        ({"max_xcom_items": "many"}, "max_xcom_items='many'"),
        ({"batch_size": 0.5}, "batch_size=0.5"),
        ({"dicom_tags": "PatientName"}, "dicom_tags must be a list"),
    ],
)
def test_what_cannot_be_written_is_an_error_when_it_is_parsed(arguments, says):
    with pytest.raises(InvalidArgumentError, match=says):
        OutputRequest.parse(**arguments)


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch):
    monkeypatch.setattr(destination, "find_spec", lambda name: None if name == "pyarrow" else find_spec(name))
    with pytest.raises(ConfigurationError) as caught:
        OutputRequest.parse(s3_uri="s3://bucket/", file_format="parquet")
    assert str(caught.value) == (
        "file_format='parquet' needs pyarrow, and the worker does not have it. Install it: "
        "pip install 'airflow-provider-healthimaging[parquet]'."
    )
    assert OutputRequest.parse(s3_uri="s3://bucket/").s3.file_format == "jsonl"
