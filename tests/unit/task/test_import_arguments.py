"""No argument of an import job raises another error than this package's, whatever it is given."""

import inspect
from contextlib import suppress
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_healthimaging.exceptions import HealthImagingError, InvalidArgumentError
from airflow_provider_healthimaging.imports.request import ImportRequest
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingStartDicomImportJobOperator
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingDicomImportJobSensor
from airflow_provider_healthimaging.triggers.healthimaging import HealthImagingDicomImportJobTrigger

OPERATOR = {
    "datastore_id": "d" * 32,
    "input_s3_uri": "s3://inbox/1/",
    "output_s3_uri": "s3://reports/",
    "data_access_role_arn": "arn:aws:iam::123456789012:role/import",
    "job_name": None,
    "client_token": None,
    "input_owner_account_id": None,
    "import_configuration": None,
    "on_failed_files": "fail",
    "require_primary": False,
    "check_input": True,
    "wait_for_completion": True,
    "waiter_delay": 30,
    "waiter_max_attempts": 480,
    "batch_size": None,
    "max_xcom_items": 1000,
    "s3_uri": None,
    "s3_conn_id": None,
    "s3_extra_args": None,
    "file_format": "jsonl",
    "rows_per_file": 50_000,
    "deferrable": False,
    "aws_conn_id": "aws_default",
    "region_name": None,
    "verify": None,
    "botocore_config": None,
}
STARTING = {
    *("input_s3_uri", "output_s3_uri", "data_access_role_arn", "job_name", "client_token", "input_owner_account_id"),
    *("import_configuration", "check_input", "wait_for_completion", "waiter_delay", "waiter_max_attempts"),
}
SENSOR = {name: value for name, value in OPERATOR.items() if name not in STARTING}
TRIGGER = {
    **{name: OPERATOR[name] for name in ("datastore_id", "aws_conn_id", "region_name", "verify", "botocore_config")},
    "job_id": "1",
    "poke_interval": 30,
    "deadline": "2999-01-01T00:00:00Z",
    "started": None,
    "exponential_backoff": False,
    "max_wait": None,
}

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.datetimes(),
    st.timedeltas(),
    st.sampled_from(["None", "", "{{ x }}", "fail", "s3://a/", "0", "30", "arn:aws:iam::1:role/x", object(), type]),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2) | st.tuples(inner)
    ),
    max_leaves=4,
)


@given(st.sampled_from(list(OPERATOR)), values)
def test_the_operator_reads_any_value_or_says_what_is_wrong(name, value):
    try:
        task = HealthImagingStartDicomImportJobOperator(task_id="import", **{**OPERATOR, name: value})
    except InvalidArgumentError:
        return
    with suppress(HealthImagingError):
        assert isinstance(task.parse_request(), ImportRequest)
        task.parse_output()
    assert timedelta(0) < task.max_wait <= timedelta(days=366)


@given(st.sampled_from([*SENSOR, "job_id"]), values)
def test_the_sensor_reads_any_value_or_says_what_is_wrong(name, value):
    with suppress(HealthImagingError):
        task = HealthImagingDicomImportJobSensor(task_id="wait", **{"job_id": "1", **SENSOR, name: value})
        task.parse_output()


@given(st.sampled_from(list(TRIGGER)), values)
def test_the_trigger_reads_any_value_or_says_what_is_wrong(name, value):
    with suppress(InvalidArgumentError):
        HealthImagingDicomImportJobTrigger(**{**TRIGGER, name: value})


def test_these_tests_give_each_argument_that_there_is():
    kinds = {
        HealthImagingStartDicomImportJobOperator: OPERATOR,
        HealthImagingDicomImportJobSensor: {**SENSOR, "job_id": "1"},
        HealthImagingDicomImportJobTrigger: TRIGGER,
    }
    for kind, given_here in kinds.items():
        assert set(inspect.signature(kind).parameters) - {"kwargs"} == set(given_here)
