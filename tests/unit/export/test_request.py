"""What to copy is checked before the first call, and no error shows what may be patient data."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.export.image_sets import DatasetAddress, parse_image_sets
from airflow_provider_healthimaging.export.request import ExportRequest

CANARY = "CANARY-4711"
RECORD = {"datastoreId": "d" * 32, "imageSetId": "e" * 32, "version": 2}


def parse(**arguments):
    return ExportRequest.parse(**{"s3_uri": "s3://bucket/copies", **arguments})


def ids(value):
    return [(each.image_set_id, each.version) for each in parse_image_sets(value)]


def test_a_request_has_the_defaults_of_the_operator():
    request = parse()
    assert (request.bucket, request.prefix, request.uri) == ("bucket", "copies/", "s3://bucket/copies/")
    assert (request.content, request.transfer_syntax, request.verify) == (("metadata", "dicom"), "*", "size")
    assert (request.max_workers, request.on_missing) == (16, "fail")


@pytest.mark.parametrize(
    ("given_content", "content"),
    [
        (["frames", "metadata", "frames"], ("metadata", "frames")),
        ("dicom", ("dicom",)),
        ('["dicom"]', ("dicom",)),
        (("frames",), ("frames",)),
    ],
)
def test_content_is_a_name_or_a_list_of_names_in_one_order(given_content, content):
    assert parse(content=given_content).content == content


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("content", [], "must be a list of one or more of: metadata, dicom, frames"),
        ("content", ["dicoms"], "Did you mean 'dicom'"),
        ("content", 7, "must be a list"),
        ("content", [None], "Unknown content"),
        ("transfer_syntax", "explicit", "is not a UID"),
        ("transfer_syntax", 1.2, "must be a string"),
        ("transfer_syntax", "1." * 40 + "1", "is not a UID"),
        ("verify", True, "Whether TLS certificates are verified is set in the connection's extra"),
        ("verify", "md5", "Known: checksum, size"),
        ("max_workers", 0, "from 1 to 256"),
        ("max_workers", 257, "from 1 to 256"),
        ("on_missing", "ignore", "Known: fail, skip"),
        ("s3_uri", "bucket/copies", "names no bucket"),
        ("s3_uri", None, "must be a string"),
    ],
)
def test_an_argument_that_cannot_work_is_named_with_what_to_give(argument, value, words):
    with pytest.raises(InvalidArgumentError, match=words) as refused:
        parse(**{argument: value})
    assert argument in str(refused.value)


def test_a_transfer_syntax_needs_dicom_files():
    assert parse(transfer_syntax="1.2.840.10008.1.2.1").transfer_syntax == "1.2.840.10008.1.2.1"
    for as_stored in (" ", "*", " * "):
        assert parse(transfer_syntax=as_stored, content=["frames"]).transfer_syntax == "*"
    with pytest.raises(InvalidArgumentError, match="content has no 'dicom'"):
        parse(transfer_syntax="1.2.840.10008.1.2.1", content=["frames"])


OTHER = {**RECORD, "imageSetId": "f" * 32, "version": None}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (RECORD, [("e" * 32, 2)]),
        ([RECORD, OTHER, RECORD], [("e" * 32, 2), ("f" * 32, None)]),
        ([[RECORD], [OTHER]], [("e" * 32, 2), ("f" * 32, None)]),
        ((RECORD,), [("e" * 32, 2)]),
        (json.dumps([RECORD]), [("e" * 32, 2)]),
        (json.dumps(RECORD), [("e" * 32, 2)]),
        ({**RECORD, "version": "2"}, [("e" * 32, 2)]),
        ({**RECORD, "version": 2.0}, [("e" * 32, 2)]),
        ({**RECORD, "version": "2.0"}, [("e" * 32, 2)]),
        ({**RECORD, "version": ""}, [("e" * 32, None)]),
        ({**RECORD, "mine": {CANARY}}, [("e" * 32, 2)]),
        ([RECORD, {**RECORD, "version": 3}], [("e" * 32, 2), ("e" * 32, 3)]),
        (None, []),
        (" ", []),
        ([], []),
    ],
)
def test_records_batches_and_their_json_text_are_image_sets_each_once(value, found):
    assert ids(value) == found


@pytest.mark.parametrize(
    "value",
    ["s3://b/x/_manifest.json", " s3a://b/x/_manifest.json", {"manifest": "s3://b/x/_manifest.json", "parts": 1}],
)
def test_a_dataset_is_named_by_its_manifest(value):
    assert parse_image_sets(value) == DatasetAddress("b", "x/_manifest.json")
    assert parse_image_sets(value).uri == "s3://b/x/_manifest.json"


def test_a_record_keeps_its_columns_and_no_tags():
    (ref,) = parse_image_sets({**RECORD, "isPrimary": True, "DICOMTags": {"DICOMPatientName": CANARY}})
    assert ref.record == {**RECORD, "isPrimary": True}


@pytest.mark.parametrize(
    "value",
    [
        *(
            7,
            CANARY,
            b"x",
            CANARY.encode(),
            {CANARY},
            range(3),
            [CANARY],
            [None],
            [7],
            {},
            {"imageSetId": CANARY},
        ),
        *({**RECORD, "version": wrong} for wrong in (0, True, 1.5, float("nan"), CANARY)),
        "s3://b/x/",
        *({**RECORD, "imageSetId": "../" + "e" * 29}, {**RECORD, "datastoreId": CANARY}, "s3://_manifest.json"),
    ],
)
def test_anything_else_is_refused_without_showing_it(value):
    with pytest.raises(InvalidArgumentError) as refused:
        parse_image_sets(value)
    assert CANARY not in str(refused.value)
    assert refused.value.__context__ is None


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(ANYTHING)
def test_whatever_is_given_is_used_or_refused_by_our_error(value):
    with suppress(InvalidArgumentError):
        parse_image_sets(value)
