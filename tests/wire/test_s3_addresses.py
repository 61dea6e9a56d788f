"""An address in S3 works or is refused for what it is, in every argument; and an error of S3 names the argument."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from types import SimpleNamespace

import boto3
import pytest

from airflow_provider_healthimaging.exceptions import (
    AccessDeniedError,
    HealthImagingError,
    InvalidArgumentError,
    RejectedRequestError,
)
from airflow_provider_healthimaging.operators.healthimaging import (
    HealthImagingSearchImageSetsOperator,
    HealthImagingStartDicomImportJobOperator,
)
from airflow_provider_healthimaging.sensors.healthimaging import (
    HealthImagingDicomImportJobSensor,
    HealthImagingImageSetSensor,
)
from tests.dicom_files import ROLE, upload

DATASTORE_ID = "d" * 32
ARRIVED = datetime(2026, 3, 1, 11, 30, tzinfo=UTC)
WINDOW = {"window_start": "2026-03-01T11:00:00Z", "window_end": "2026-03-01T12:00:00Z"}
IMPORT = {
    "datastore_id": DATASTORE_ID,
    "input_s3_uri": "s3://image-sets/inbox/",
    "output_s3_uri": "s3://image-sets/reports/",
    "data_access_role_arn": ROLE,
    "waiter_delay": 0.05,
}

ACCESS_POINT = "arn:aws:s3:us-east-1:123456789012:accesspoint"
ADDRESSES = {
    f"s3://{ACCESS_POINT}/scans/CANARY-4711/": "names an access point by its ARN",
    f"s3://{ACCESS_POINT}:scans/CANARY-4711/": "names an access point by its ARN",
    f"{ACCESS_POINT}/scans/CANARY-4711/": "names an access point by its ARN",
    "s3://arn:aws:s3::123456789012:accesspoint/m1.mrap/CANARY-4711/": "names an access point by its ARN",
    "s3://arn:aws-cn:s3:cn-north-1:123456789012:accesspoint/scans/CANARY-4711/": "names an access point by its ARN",
    "s3://arn:aws:s3-outposts:us-east-1:123456789012:outpost/o-1/accesspoint/scans/CANARY-4711/": "by its ARN",
    "s3://arn:aws:s3-object-lambda:us-east-1:123456789012:accesspoint/scans/CANARY-4711/": "by its ARN",
    "s3://aws_default@image-sets/CANARY-4711/": "names a connection before the '@'",
    "s3://aws_default@image-sets": "names a connection before the '@'",
    "s3://image sets/CANARY-4711/": "names no bucket|is not an S3 address",
    "s3:///CANARY-4711/": "names no bucket|is not an S3 address",
    "https://image-sets.s3.amazonaws.com/CANARY-4711/": "names no bucket|is not an S3 address",
    "s3://image-sets/CAN\nARY-4711/": "on one line",
}
ENDS = [" ", "\n", "\r\n", "\t", " \n "]


def search(**arguments):
    return HealthImagingSearchImageSetsOperator(
        task_id="search", datastore_id=DATASTORE_ID, do_xcom_push=False, **WINDOW, **arguments
    )


def wait(**arguments):
    return HealthImagingImageSetSensor(
        task_id="search", datastore_id=DATASTORE_ID, do_xcom_push=False, min_image_sets=1, **WINDOW, **arguments
    )


def imports(**arguments):
    return HealthImagingStartDicomImportJobOperator(task_id="import", do_xcom_push=False, **{**IMPORT, **arguments})


def wait_for_job(**arguments):
    return HealthImagingDicomImportJobSensor(
        task_id="wait", datastore_id=DATASTORE_ID, job_id="1" * 32, do_xcom_push=False, **arguments
    )


ARGUMENTS = [
    *((make, "s3_uri") for make in (search, wait, imports, wait_for_job)),
    (imports, "input_s3_uri"),
    (imports, "output_s3_uri"),
]
each_argument = pytest.mark.parametrize(("make", "name"), ARGUMENTS)


def run(task):
    ti = SimpleNamespace(dag_id="nightly", run_id="r", task_id=task.task_id, map_index=-1, try_number=1)
    return task.execute({"ti": ti})


def failed(task):
    with pytest.raises(HealthImagingError) as caught:
        run(task)
    return caught.value


@each_argument
def test_an_address_that_s3_does_not_take_is_refused_for_what_it_is_before_the_first_call(
    make, name, store, bucket, server
):
    server.calls.reset()
    wrong = []
    for address, words in ADDRESSES.items():
        error = failed(make(**{name: address}))
        text = str(error)
        if not (isinstance(error, InvalidArgumentError) and text.startswith(name) and re.search(words, text)):
            wrong.append(text)
        if "search_criteria" in text or (name == "input_s3_uri" and "CANARY" in text):
            wrong.append(text)
    assert wrong == []
    assert server.calls.count() == 0


@pytest.mark.parametrize("make", [search, wait])
@pytest.mark.parametrize("end", ENDS)
def test_spaces_and_new_lines_around_s3_uri_are_no_part_of_a_key(make, end, store, bucket):
    store.put_image_set(DATASTORE_ID, created_at=ARRIVED)
    run(make(s3_uri=f"{end}s3://image-sets/arrivals/{end}"))
    keys = [each.key for each in bucket.objects.all()]
    assert keys
    assert {key.split("window=")[0] for key in keys} == {"arrivals/"}


@pytest.mark.parametrize("name", ["input_s3_uri", "output_s3_uri"])
@pytest.mark.parametrize("end", ENDS)
def test_spaces_and_new_lines_around_an_address_of_an_import_are_refused_as_such(name, end, store, bucket, server):
    upload(bucket)
    server.calls.reset()
    for address in (f"s3://image-sets/a/{end}", f"{end}s3://image-sets/a/"):
        error = failed(imports(**{name: address}))
        assert isinstance(error, InvalidArgumentError)
        assert f"{name} begins or ends with a space or a new line" in str(error)
    assert server.calls.count() == 0


def no_bucket(server, behind):
    return "s3://no-such-bucket/a/", RejectedRequestError, "answered NoSuchBucket"


def no_permission(server, behind):
    behind(answering("403 Forbidden", "AccessDenied"))
    return "s3://image-sets/a/", AccessDeniedError, "answered AccessDenied"


def wrong_region(server, behind):
    behind(answering("400 Bad Request", "AuthorizationHeaderMalformed"))
    return "s3://image-sets/a/", RejectedRequestError, "The bucket is in another region"


def answering(status, code):
    """Let the local S3 answer with an error."""

    def middleware(app):
        def answer(environ, start_response):
            if not environ["PATH_INFO"].startswith("/image-sets"):
                return app(environ, start_response)
            start_response(status, [("Content-Type", "application/xml")])
            return [f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()]

        return answer

    return middleware


@pytest.mark.parametrize("fault", [no_bucket, no_permission, wrong_region])
@pytest.mark.parametrize(("make", "name"), [(search, "s3_uri"), (wait, "s3_uri"), (imports, "input_s3_uri")])
def test_an_error_of_s3_names_the_argument_and_not_the_search(make, name, fault, store, bucket, server, behind):
    store.put_image_set(DATASTORE_ID, created_at=ARRIVED)
    address, kind, words = fault(server, behind)
    error = failed(make(**{name: address}))
    assert isinstance(error, kind)
    assert words in str(error)
    assert name in str(error).replace("input_s3_uri", "" if name == "s3_uri" else "input_s3_uri")
    assert "search_criteria" not in str(error)


@pytest.mark.parametrize("fault", [no_bucket, wrong_region])
def test_an_error_of_s3_about_the_dataset_of_an_import_names_s3_uri(fault, store, server, behind, bucket):
    inbox = boto3.resource("s3", endpoint_url=server.url).create_bucket(Bucket="inbox")
    upload(inbox, "a/")
    address, kind, words = fault(server, behind)
    error = failed(imports(input_s3_uri="s3://inbox/a/", output_s3_uri="s3://inbox/reports/", s3_uri=address))
    assert isinstance(error, kind)
    assert words in str(error)
    assert f"s3_uri {address}" in str(error)
