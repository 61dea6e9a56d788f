"""The hook's calls that read one image set: what they give, as whom they call, and what their errors say."""

from __future__ import annotations

import gzip
import json

import pytest

from airflow_provider_healthimaging.exceptions import (
    AccessDeniedError,
    ImageSetNotFoundError,
    IncompleteResponseError,
    InvalidArgumentError,
    RejectedRequestError,
    ServiceError,
)
from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from tests.copies import DATASTORE_ID, load

PLAIN = "1.2.840.10008.1.2.1"


@pytest.fixture
def image_set(store):
    (record,) = load(store, "SC_rgb_rle_2frame.dcm")
    return DATASTORE_ID, record["imageSetId"]


def uids(hook, image_set):
    study = hook.get_image_set_metadata(*image_set)["Study"]
    ((series, content),) = study["Series"].items()
    (sop,) = content["Instances"]
    names = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")
    return dict(zip(names, (study["DICOM"]["StudyInstanceUID"], series, sop), strict=True))


def test_metadata_come_parsed_or_as_they_came(hook, image_set):
    blob = hook.get_image_set_metadata(*image_set, 1, parsed=False)
    assert json.loads(gzip.decompress(blob)) == hook.get_image_set_metadata(*image_set, "1")


def test_frames_come_in_order_each_when_it_is_its_turn(hook, server, image_set):
    server.calls.reset()
    frames = hook.iter_image_frames(*image_set)
    place, stream = next(frames)
    assert server.calls.count("GetImageFrame") == 1
    assert (place["instance"], place["frame"], place["transferSyntax"]) == (1, 1, "1.2.840.10008.1.2.4.202")
    assert len(stream.read()) == stream.length
    assert [place["frame"] for place, _ in frames] == [2]


def test_an_instance_comes_as_it_is_stored_or_in_another_transfer_syntax(hook, image_set):
    stored = hook.get_dicom_instance(*image_set, **uids(hook, image_set))
    plain = hook.get_dicom_instance(*image_set, **uids(hook, image_set), transfer_syntax=PLAIN)
    assert "1.2.840.10008.1.2.4.202" in stored.content_type
    assert PLAIN in plain.content_type
    assert b"".join(stored)[128:132] == plain.read()[128:132] == b"DICM"


def seen(requests):
    """Keep the headers and paths of all requests."""

    def middleware(app):
        def noted(environ, start_response):
            requests.append({name: str(value) for name, value in environ.items()})
            return app(environ, start_response)

        return noted

    return middleware


def test_a_dicomweb_call_is_signed_with_the_credentials_and_the_region_of_the_connection(behind, store, image_set):
    requests = []
    _, hook = behind(seen(requests))
    hook.get_dicom_instance(*image_set, **uids(hook, image_set)).read()
    (sent,) = [each for each in requests if "/instances/" in each["PATH_INFO"]]
    assert "/us-east-1/medical-imaging/aws4_request" in sent["HTTP_AUTHORIZATION"]
    assert sent["HTTP_AUTHORIZATION"].startswith("AWS4-HMAC-SHA256 Credential=")
    assert sent["HTTP_ACCEPT"] == "application/dicom; transfer-syntax=*"
    assert sent["QUERY_STRING"] == f"imageSetId={image_set[1]}"


def test_the_client_of_dicomweb_has_the_settings_of_the_connection(store):
    hook = HealthImagingHook(config={"read_timeout": 7, "proxies": {"https": "http://proxy:1"}}, verify="/ca.pem")
    config = hook.dicomweb.meta.config
    assert (config.read_timeout, config.proxies) == (7, {"https": "http://proxy:1"})
    assert config.retries == hook.conn.meta.config.retries
    assert hook.dicomweb.meta.region_name == "us-east-1"


CALLS = {
    "/getImageSetMetadata": lambda hook, of, uid: hook.get_image_set_metadata(*of),
    "/getImageFrame": lambda hook, of, uid: hook.get_image_frame(*of, "f" * 32),
    "/instances/": lambda hook, of, uid: hook.get_dicom_instance(*of, **uid),
    "/getImageSet": lambda hook, of, uid: hook.latest_version(*of),
}


@pytest.mark.parametrize("where", CALLS)
@pytest.mark.parametrize(
    ("status", "code", "error", "words"),
    [
        (404, "ResourceNotFoundException", ImageSetNotFoundError, "may have been deleted since it was found"),
        (403, "AccessDeniedException", AccessDeniedError, "Allow medical-imaging:Get"),
        (400, "ValidationException", RejectedRequestError, "Check the ids of data store and image set"),
        (406, "NotAcceptableException", RejectedRequestError, "Leave transfer_syntax out"),
        (429, "ThrottlingException", ServiceError, "calls/s unless raised"),
        (409, "ConflictException", ServiceError, "Retry later"),
    ],
)
def test_an_error_of_the_service_says_what_to_do_and_no_uid(behind, store, where, status, code, error, words):
    uid = dict.fromkeys(("study_instance_uid", "series_instance_uid", "sop_instance_uid"), "1.2.4711")

    def refuse(app):
        def answer(environ, start_response):
            if not environ["PATH_INFO"].endswith(where) and where not in environ["PATH_INFO"]:
                return app(environ, start_response)
            start_response(f"{status} no", [("x-amzn-ErrorType", code), ("Content-Type", "application/json")])
            return [b'{"message": "about 1.2.4711"}']

        return answer

    _, hook = behind(refuse, config={"retries": {"total_max_attempts": 1}})
    with pytest.raises(error, match=words) as refused:
        CALLS[where](hook, (DATASTORE_ID, "e" * 32), uid)
    assert code in str(refused.value)
    assert "4711" not in str(refused.value)


def saying(answer):
    """Give this answer to each call."""

    def middleware(_):
        def answered(_environ, start_response):
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(answer).encode()]

        return answered

    return middleware


@pytest.mark.parametrize("answer", [{}, {"versionId": None}, {"versionId": "latest"}])
def test_an_image_set_without_the_number_of_its_version_is_an_incomplete_response(behind, answer):
    _, hook = behind(saying(answer))
    with pytest.raises(IncompleteResponseError, match="GetImageSet"):
        hook.latest_version(DATASTORE_ID, "e" * 32)


def test_the_newest_version_of_an_image_set_is_a_number(behind):
    _, hook = behind(saying({"versionId": "3"}))
    assert hook.latest_version(DATASTORE_ID, "e" * 32) == 3


@pytest.mark.parametrize("name", ["study_instance_uid", "series_instance_uid", "sop_instance_uid"])
def test_a_malformed_uid_is_refused_without_showing_it(hook, name):
    good = dict.fromkeys(("study_instance_uid", "series_instance_uid", "sop_instance_uid"), "1.2.3")
    with pytest.raises(InvalidArgumentError, match=f"{name} is not a DICOM UID") as refused:
        hook.get_dicom_instance(DATASTORE_ID, "e" * 32, **{**good, name: "CANARY/4711"})
    assert "CANARY" not in str(refused.value)
