"""An import request is checked before the first call, and no error shows what may be patient data."""

import json
import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.imports.arguments import check_job_id
from airflow_provider_healthimaging.imports.request import ImportRequest, derived_client_token
from airflow_provider_healthimaging.search.rendered import NATIVE_RENDERING

CANARY = "CANARY-4711"
ROLE = "arn:aws:iam::123456789012:role/import"
GOOD = {
    "datastore_id": "d" * 32,
    "input_s3_uri": "s3://inbox/2026/03/01/",
    "output_s3_uri": "s3://reports/imports/",
    "data_access_role_arn": ROLE,
}
OPTIONAL = ("job_name", "client_token", "input_owner_account_id", "import_configuration")
MAPPING = {"studyInstanceUID": "2.25.1", "metadataFilePath": "studies/1.json"}
TASK = {"dag_id": "nightly", "run_id": "scheduled__2026-03-01T00:00:00+00:00", "task_id": "import"}


def parse(**arguments):
    return ImportRequest.parse(**{**GOOD, **arguments})


def configuration(*mappings):
    return {"dicomJsonMetadataImportConfiguration": {"dicomMetadataMappings": list(mappings)}}


def test_a_request_has_the_parameters_of_boto3_and_only_those_that_were_given():
    assert parse().to_parameters() == {
        "datastoreId": "d" * 32,
        "inputS3Uri": "s3://inbox/2026/03/01/",
        "outputS3Uri": "s3://reports/imports/",
        "dataAccessRoleArn": ROLE,
    }
    everything = parse(
        job_name="a.b_c/#-1",
        client_token="run-1",
        input_owner_account_id="012345678901",
        import_configuration=json.dumps(configuration({**MAPPING, "seriesInstanceUID": "2.25.2"})),
    )
    assert everything.to_parameters() == {
        **parse().to_parameters(),
        "jobName": "a.b_c/#-1",
        "clientToken": "run-1",
        "inputOwnerAccountId": "012345678901",
        "importConfiguration": configuration({**MAPPING, "seriesInstanceUID": "2.25.2"}),
    }


@pytest.mark.parametrize("empty", [None, ""])
def test_an_argument_that_is_empty_is_not_given(empty):
    assert parse(**dict.fromkeys(OPTIONAL, empty)) == parse()


BAD = {
    "a data store's name": ({"datastore_id": "my-store"}, "is malformed: the id of a data store has 32 characters"),
    "no slash at the end": ({"input_s3_uri": f"s3://inbox/{CANARY}"}, "input_s3_uri must end with '/'"),
    "a bucket without a slash": ({"input_s3_uri": "s3://inbox"}, "input_s3_uri must end with '/'"),
    "a path": ({"input_s3_uri": f"/inbox/{CANARY}/"}, "input_s3_uri is not an S3 address"),
    "an access point": (
        {"input_s3_uri": f"arn:aws:s3:us-east-1:123456789012:accesspoint/{CANARY}/"},
        "input_s3_uri names an access point by its ARN",
    ),
    "Airflow's form": (
        {"input_s3_uri": f"s3://conn@inbox/{CANARY}/"},
        "input_s3_uri names a connection before the '@'",
    ),
    "a capital in the bucket": ({"input_s3_uri": f"s3://Inbox/{CANARY}/"}, "input_s3_uri is not an S3 address"),
    "a new line": ({"input_s3_uri": f"s3://inbox/{CANARY}/\n"}, "input_s3_uri begins or ends with a space"),
    "a long input": ({"input_s3_uri": f"s3://inbox/{CANARY}{'x' * 1024}/"}, "at most 1024 characters"),
    "no text": ({"input_s3_uri": 4711}, "input_s3_uri must be a string"),
    "an output that is no address": ({"output_s3_uri": "reports/"}, "output_s3_uri is not an S3 address"),
    "an output with a space": ({"output_s3_uri": "s3://reports/ "}, "output_s3_uri begins or ends with"),
    "a role's name": ({"data_access_role_arn": "import"}, "data_access_role_arn='import' is malformed"),
    "a user's ARN": ({"data_access_role_arn": "arn:aws:iam::123456789012:user/import"}, "Give the ARN of the IAM role"),
    "a role without a value": ({"data_access_role_arn": None}, "Give the ARN of the IAM role"),
    "a job name with a space": ({"job_name": "my job"}, "job_name='my job' is malformed"),
    "a long job name": ({"job_name": "x" * 65}, "Give 1 to 64 characters"),
    "a token with a colon": ({"client_token": "a:b"}, "client_token='a:b' is malformed"),
    "a long token": ({"client_token": "x" * 65}, "Give 1 to 64 characters"),
    "an account that lacks a digit": ({"input_owner_account_id": "12345678901"}, "Give the 12 digits"),
    "an account that became a number": ({"input_owner_account_id": 123456789012}, "render_template_as_native_obj"),
    "a token that rendered to None": ({"client_token": "None"}, "client_token rendered to 'None'"),
    "a name that rendered to None": ({"job_name": "None"}, "job_name rendered to 'None'"),
    "a configuration of another kind": ({"import_configuration": {CANARY: {}}}, "and have no other keys"),
    "two configurations": (
        {"import_configuration": {**configuration(MAPPING), CANARY: {}}},
        "and have no other keys",
    ),
    "a configuration that is no object": ({"import_configuration": [CANARY]}, "must be a JSON object"),
    "a configuration that is no JSON": ({"import_configuration": f"{{{CANARY}"}, "is a string that is not JSON"),
    "another key inside": (
        {"import_configuration": {"dicomJsonMetadataImportConfiguration": {"dicomMetadataMappings": [], CANARY: 1}}},
        "and have no other keys",
    ),
    "mappings that are no list": (
        {"import_configuration": {"dicomJsonMetadataImportConfiguration": {"dicomMetadataMappings": CANARY}}},
        "and have no other keys",
    ),
    "no mappings": ({"import_configuration": configuration()}, "has 0 mappings. Give 1 to 1000"),
    "too many mappings": ({"import_configuration": configuration(*[MAPPING] * 1001)}, "has 1001 mappings"),
    "a mapping without a file": (
        {"import_configuration": configuration(MAPPING, {"studyInstanceUID": "2.25.1"})},
        "dicomMetadataMappings[1]: give 'studyInstanceUID' and 'metadataFilePath'",
    ),
    "a mapping with another key": (
        {"import_configuration": configuration({**MAPPING, CANARY: "x"})},
        "no other keys",
    ),
    "a mapping that is no object": ({"import_configuration": configuration(CANARY)}, "dicomMetadataMappings[0]"),
    "a UID with letters": (
        {"import_configuration": configuration({**MAPPING, "studyInstanceUID": CANARY})},
        "dicomMetadataMappings[0].studyInstanceUID: give a DICOM UID",
    ),
    "a long UID": (
        {"import_configuration": configuration({**MAPPING, "seriesInstanceUID": "1" * 513})},
        "dicomMetadataMappings[0].seriesInstanceUID",
    ),
    "a file path that ends with a space": (
        {"import_configuration": configuration({**MAPPING, "metadataFilePath": f"{CANARY} "})},
        "dicomMetadataMappings[0].metadataFilePath",
    ),
    "a file path that is no ASCII": (
        {"import_configuration": configuration({**MAPPING, "metadataFilePath": f"{CANARY}ä"})},
        "without spaces at the ends",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_request_that_cannot_work_is_an_error_that_says_what_to_do(case, all_text):
    arguments, words = BAD[case]
    with pytest.raises(InvalidArgumentError, match=re.escape(words)) as caught:
        parse(**arguments)
    assert CANARY not in all_text(caught.value)


HIDDEN = "The value is not shown, because it may hold patient data."
WHOLE = {
    "no slash at the end": (
        "input_s3_uri must end with '/'. HealthImaging imports everything whose key begins with the prefix, so "
        "'scans/1' would also import 'scans/10/'. Add a slash. To import one file, put it under a prefix of its own."
    ),
    "a path": (
        "input_s3_uri is not an S3 address that HealthImaging takes. Give 's3://bucket/prefix/', on one line, with at "
        f"most 1024 characters. {HIDDEN}"
    ),
    "an access point": (
        "input_s3_uri names an access point by its ARN. Give its alias in place of the bucket, such as "
        f"'s3://name-a1b2c3-s3alias/prefix/'. {HIDDEN}"
    ),
    "Airflow's form": (
        "input_s3_uri names a connection before the '@'. Give the bucket only, and the connection as s3_conn_id. "
        f"{HIDDEN}"
    ),
    "a new line": (
        "input_s3_uri begins or ends with a space or a new line. Remove it: {{ ... | trim }} in a template. "
        f"{HIDDEN}"
    ),
    "a role's name": (
        "data_access_role_arn='import' is malformed. Give the ARN of the IAM role with which HealthImaging reads the "
        "input and writes the output, such as 'arn:aws:iam::123456789012:role/import'."
    ),
    "a job name with a space": "job_name='my job' is malformed. Give 1 to 64 characters of A-Z, a-z, 0-9 and ._/#-.",
    "a token with a colon": "client_token='a:b' is malformed. Give 1 to 64 characters of A-Z, a-z, 0-9 and ._-.",
    "an account that lacks a digit": (
        "input_owner_account_id='12345678901' is malformed. Give the 12 digits of an AWS account, as text."
    ),
    "an account that became a number": (
        f"input_owner_account_id=123456789012 must be a string, not int.{NATIVE_RENDERING} Give the 12 digits of an "
        "AWS account, as text."
    ),
    "a role without a value": (
        "data_access_role_arn=None must be a string, not NoneType. Give the ARN of the IAM role with which "
        "HealthImaging reads the input and writes the output, such as 'arn:aws:iam::123456789012:role/import'."
    ),
    "a configuration that is no object": "import_configuration must be a JSON object, not a list.",
    "a mapping without a file": (
        "import_configuration, dicomMetadataMappings[1]: give 'studyInstanceUID' and 'metadataFilePath', and "
        "'seriesInstanceUID' if you need it; no other keys."
    ),
}


@pytest.mark.parametrize("case", WHOLE)
def test_what_an_error_says_is_the_whole_of_it(case):
    with pytest.raises(InvalidArgumentError) as caught:
        parse(**BAD[case][0])
    assert str(caught.value) == WHOLE[case]


@pytest.mark.parametrize(
    ("output", "inside"),
    [
        ("s3://inbox/2026/03/01/", True),
        ("s3://inbox/2026/03/01", True),
        ("s3://inbox/2026/03/01/reports/", True),
        ("s3://inbox/2026/03/", False),
        ("s3://inbox/2026/03/010", False),
        ("s3://inbox", False),
        ("s3://inbox2/2026/03/01/", False),
    ],
)
def test_an_input_may_not_hold_its_own_output(output, inside):
    if inside:
        with pytest.raises(InvalidArgumentError) as caught:
            parse(output_s3_uri=output)
        assert str(caught.value) == (
            "output_s3_uri lies under input_s3_uri, so the next job would import the output of this one. Give an "
            "output prefix outside of the input."
        )
    else:
        assert parse(output_s3_uri=output).output_s3_uri == output


@pytest.mark.parametrize("prefix", ["", "scans/"])
def test_an_input_under_a_second_slash_does_not_hold_an_output_beside_it(prefix):
    output = f"s3://inbox/{prefix}"
    assert parse(input_s3_uri=f"{output}/", output_s3_uri=output).output_s3_uri == output


def test_a_whole_bucket_holds_every_output_in_it():
    with pytest.raises(InvalidArgumentError, match="output_s3_uri lies under input_s3_uri"):
        parse(input_s3_uri="s3://inbox/", output_s3_uri="s3://inbox/reports/")
    assert parse(input_s3_uri="s3://inbox/").input_location == ("inbox", "")


def test_a_thousand_mappings_are_taken():
    taken = parse(import_configuration=configuration(*[MAPPING] * 1000)).to_parameters()["importConfiguration"]
    assert taken == configuration(*[MAPPING] * 1000)


def test_an_address_has_at_most_1024_characters():
    longest = f"s3://inbox/{'x' * 1012}/"
    assert parse(input_s3_uri=longest).input_s3_uri == longest
    with pytest.raises(InvalidArgumentError, match="at most 1024 characters"):
        parse(input_s3_uri=longest.replace("x/", "xx/"))


def test_a_request_with_another_token_is_otherwise_the_same():
    request = parse(job_name="nightly")
    assert request.with_token("x") == parse(job_name="nightly", client_token="x")
    assert request.client_token is None


def test_the_repr_of_a_request_shows_neither_the_input_nor_a_mapping():
    shown = repr(parse(input_s3_uri=f"s3://inbox/{CANARY}/", import_configuration=configuration(MAPPING)))
    assert CANARY not in shown
    assert "2.25.1" not in shown


@pytest.mark.parametrize("job_id", ["", "A" * 32, "d" * 33, None, 4711, "None"])
def test_the_id_of_a_job_is_checked(job_id):
    with pytest.raises(InvalidArgumentError, match=r"job_id.* (is malformed|must be a string|rendered to 'None')"):
        check_job_id(job_id)


def test_what_an_error_says_of_the_id_of_a_job_is_the_whole_of_it():
    assert check_job_id("0a" * 16) == "0a" * 16
    with pytest.raises(InvalidArgumentError) as caught:
        check_job_id("A")
    assert str(caught.value) == (
        "job_id='A' is malformed. Give the jobId of StartDICOMImportJob: 1 to 32 characters of 0-9 and a-z."
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.sampled_from([*GOOD, "job_name", "client_token", "input_owner_account_id", "import_configuration"]), json_values
)
def test_no_value_of_an_argument_raises_another_error(name, value):
    try:
        request = parse(**{name: value})
    except InvalidArgumentError:
        return
    assert isinstance(request.to_parameters(), Mapping)


def token(request=None, generation=0, map_index=-1, **task):
    identity = {**TASK, **task}
    return derived_client_token(request or parse(), **identity, map_index=map_index, generation=generation)


def test_the_same_task_of_the_same_run_gets_the_same_token():
    assert token() == token(parse())
    assert re.fullmatch("[A-Za-z0-9._-]{64}", token())


def test_a_token_is_the_same_in_every_release_so_that_a_retry_after_an_upgrade_finds_its_job():
    assert token() == "fe64bcbc1cfa9f255684b53786008732f5eb7cf07495722b0f568596951b1f31"


def test_another_task_run_request_or_generation_gets_another_token():
    others = [
        token(dag_id="other"),
        token(run_id="other"),
        token(task_id="other"),
        token(map_index=0),
        token(map_index=1),
        token(generation=1),
        *(token(parse(**{name: value})) for name, value in CHANGES.items()),
    ]
    assert len({token(), *others}) == 1 + len(others)


CHANGES = {
    "datastore_id": "e" * 32,
    "input_s3_uri": "s3://inbox/2026/03/02/",
    "output_s3_uri": "s3://reports/other/",
    "data_access_role_arn": f"{ROLE}2",
    "job_name": "again",
    "input_owner_account_id": "123456789012",
    "import_configuration": configuration(MAPPING),
}
