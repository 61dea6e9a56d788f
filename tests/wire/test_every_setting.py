"""Whatever is given for a setting of the hook or of the Airflow connection: no error but those of this package.

A search that is allowed to end in any of them is made with each. No setting leads out of this machine.
"""

from __future__ import annotations

import json
from functools import partial

import pytest

from airflow_provider_healthimaging.aws import client_config
from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from tests.dicom_files import ROLE

from .wrong_values import CANARY, INSIDE, ON_THE_NEWEST, WRONG, arguments_of

pytestmark = ON_THE_NEWEST

DATASTORE_ID = "d" * 32
JSON_VALUES = [None, True, 0, 7, -1, 1.5, "", "None", CANARY, "{{ x }}", "s3://", "\n", [], [CANARY], {}, {CANARY: 1}]
FEW = [None, True, 7, -1, 1.5, CANARY, [CANARY], {CANARY: 1}]
"""What is given inside of a setting. A client takes a quarter of a second, so not everything."""

PLACES = {
    "config": INSIDE["botocore_config"],
    "config_kwargs": INSIDE["botocore_config"],
    "service_config": [lambda v: v, *(lambda v, name=name: {name: v} for name in ("medical-imaging", "sts", "s3"))],
    "session_kwargs": [lambda v: v, lambda v: {"profile_name": v}, lambda v: {"aws_access_key_id": v}],
    "assume_role_kwargs": [lambda v: v, lambda v: {"ExternalId": v}, lambda v: {"DurationSeconds": v}],
}
ROLE_METHODS = ("assume_role", "assume_role_with_saml", "assume_role_with_web_identity")
WITH_A_ROLE = {"assume_role_kwargs", "assume_role_method", "external_id", "assume_role_with_saml"}
SETTINGS = ["region_name", "endpoint_url", "config_kwargs", "verify", "role_arn", "service_config", "session_kwargs"]
SETTINGS += ["aws_session_token", "aws_access_key_id", "profile_name", *sorted(WITH_A_ROLE)]


@pytest.fixture
def searched(store, bucket, server, monkeypatch):
    """``searched(extra=..., **hook_arguments)`` searches with these settings, and lists an input in S3."""
    # A request that cannot be sent is not sent ten times.
    retries = {**client_config.RETRIES, "total_max_attempts": 1}
    defaults = {**client_config.DEFAULT_CLIENT_CONFIG, "retries": retries, "connect_timeout": 1, "read_timeout": 1}

    def search(connection=None, **arguments):
        local = {"endpoint_url": server.url, "region_name": "us-east-1"}
        local["service_config"] = {"sts": {"endpoint_url": server.url}}
        whole = {"conn_type": "aws", "login": "testing", "password": "testing", "extra": local}
        for name, value in (connection or {}).items():
            whole[name] = {**local, **value} if isinstance(value, dict) else value
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(whole))
        hook = HealthImagingHook(client_defaults=defaults, **arguments)
        assert hook.count_image_sets(DATASTORE_ID) == 0

    return search


@pytest.mark.parametrize("name", [each for each in arguments_of(HealthImagingHook) if each != "client_defaults"])
def test_an_argument_of_the_hook_is_used_or_refused_by_our_errors(name, only_our_errors, searched):
    _, *places = PLACES.get(name, [None])
    for value in [*WRONG, *(place(value) for place in places for value in FEW)]:
        only_our_errors(name, value, partial(searched, **{name: value}))


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_of_the_connection_is_used_or_refused_by_our_errors(name, only_our_errors, searched):
    role = {"role_arn": ROLE} if name in WITH_A_ROLE else {}
    _, *places = PLACES.get(name, [None])
    for value in [*JSON_VALUES, *(place(value) for place in places for value in FEW)]:
        extra = {**role, name: value}
        only_our_errors(name, extra, partial(searched, {"extra": extra}))


@pytest.mark.parametrize("extra", ["not JSON", "[1]", "7", '"text"', "null", [1], 7])
def test_an_extra_that_is_no_object_is_refused_by_our_errors(extra, only_our_errors, searched):
    only_our_errors("extra", extra, partial(searched, {"extra": extra}))


@pytest.mark.parametrize("method", ROLE_METHODS)
def test_a_way_to_assume_a_role_that_is_not_set_up_is_refused_by_our_errors(method, only_our_errors, searched):
    for settings in ({}, {"assume_role_with_saml": {"idp_auth_method": "x"}}, {"assume_role_kwargs": []}):
        extra = {"role_arn": ROLE, "assume_role_method": method, **settings}
        only_our_errors("extra", extra, partial(searched, {"extra": extra}))
