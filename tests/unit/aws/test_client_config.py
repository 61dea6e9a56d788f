"""Botocore's configuration is merged from the defaults, the connection and the caller."""

from types import SimpleNamespace

import pytest
from botocore import UNSIGNED
from botocore.config import Config

from airflow_provider_healthimaging.aws.client_config import RETRIES, merged_config


@pytest.mark.parametrize("caller", [None, Config(), Config(read_timeout=5)])
def test_retries_have_a_default(caller):
    assert merged_config({}, caller).retries == RETRIES == {"mode": "standard", "total_max_attempts": 10}


@pytest.mark.parametrize(
    ("connection", "caller", "retries"),
    [
        ({"mode": "adaptive"}, None, {"mode": "adaptive", "total_max_attempts": 10}),
        (None, {"mode": "legacy"}, {"mode": "legacy", "total_max_attempts": 10}),
        ({"mode": "legacy"}, {"mode": "adaptive"}, {"mode": "adaptive", "total_max_attempts": 10}),
        ({"total_max_attempts": 3}, None, {"mode": "standard", "total_max_attempts": 3}),
        ({"max_attempts": 3}, None, {"mode": "standard", "max_attempts": 3}),
        ({"max_attempts": 0}, None, {"mode": "standard", "max_attempts": 0}),
        ({"max_attempts": 3}, {"mode": "adaptive"}, {"mode": "adaptive", "max_attempts": 3}),
        ({"mode": "adaptive"}, {"max_attempts": 3}, {"mode": "adaptive", "max_attempts": 3}),
        ({"max_attempts": 3}, {"total_max_attempts": 7}, {"mode": "standard", "total_max_attempts": 7}),
        ({"total_max_attempts": 7}, {"max_attempts": 3}, {"mode": "standard", "max_attempts": 3}),
        ({"max_attempts": 3, "mode": "legacy"}, {"max_attempts": 5}, {"mode": "legacy", "max_attempts": 5}),
    ],
)
def test_retries_are_merged_and_the_last_number_of_attempts_is_used(connection, caller, retries):
    given = {} if connection is None else {"retries": connection}
    assert merged_config(given, caller and Config(retries=caller)).retries == retries


def test_the_caller_overrides_the_connection_and_other_settings_are_kept():
    config = merged_config({"read_timeout": 5, "connect_timeout": 6, "user_agent_extra": "c"}, Config(read_timeout=7))
    assert (config.read_timeout, config.connect_timeout, config.user_agent_extra) == (7, 6, "c")


def test_unsigned_in_a_connection_becomes_the_constant_of_botocore():
    assert merged_config({"signature_version": "unsigned"}, None).signature_version is UNSIGNED
    assert merged_config({"signature_version": "v4"}, None).signature_version == "v4"


def test_merging_does_not_change_its_arguments():
    connection, caller = {"retries": {"max_attempts": 3}}, Config(retries={"mode": "legacy"}, read_timeout=5)
    merged_config(connection, caller)
    assert connection == {"retries": {"max_attempts": 3}}
    assert caller.retries == {"mode": "legacy"}
    assert RETRIES == {"mode": "standard", "total_max_attempts": 10}


@pytest.mark.parametrize(
    ("endpoint", "prefixed"),
    [
        ("https://medical-imaging.us-east-1.amazonaws.com", True),
        ("https://medical-imaging-fips.us-west-2.amazonaws.com", True),
        ("https://medical-imaging.us-east-1.api.aws", True),
        ("http://127.0.0.1:5000", False),
        ("http://localhost:5000", False),
        ("https://vpce-1-2.medical-imaging.us-east-1.vpce.amazonaws.com", False),
        ("https://medical-imaging.example.com", False),
        ("https://medical-imaging.us-east-1.amazonaws.com.example.com", False),
    ],
)
@pytest.mark.parametrize("wanted", [None, True, False])
def test_only_hosts_of_aws_get_the_prefix_unless_the_config_sets_it(endpoint, prefixed, wanted):
    from airflow_provider_healthimaging.aws.client_config import use_endpoint_as_given

    client = SimpleNamespace(
        meta=SimpleNamespace(endpoint_url=endpoint, config=SimpleNamespace(inject_host_prefix="as it was"))
    )
    use_endpoint_as_given(client, Config() if wanted is None else Config(inject_host_prefix=wanted))
    changed = client.meta.config.inject_host_prefix is False
    assert changed is (not prefixed and not wanted)
