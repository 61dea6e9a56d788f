"""Whatever is given for any argument of an import job: no error but those of this package.

As in ``test_every_argument``: what a class accepts must then also work, up to its first call.
"""

from __future__ import annotations

import json
from functools import partial

import pytest

from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingStartDicomImportJobOperator
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingDicomImportJobSensor
from airflow_provider_healthimaging.task.failure import fail_without_retry
from airflow_provider_healthimaging.triggers.healthimaging import HealthImagingDicomImportJobTrigger
from tests.dicom_files import ROLE

from .wrong_values import INSIDE, NOON, ON_THE_NEWEST, SOME, arguments_of, values

pytestmark = [ON_THE_NEWEST, pytest.mark.usefixtures("fernet_key")]

DATASTORE_ID = "d" * 32
JOB_ID = "1" * 32
REQUEST = {
    "datastore_id": DATASTORE_ID,
    "input_s3_uri": "s3://image-sets/inbox/",
    "output_s3_uri": "s3://image-sets/reports/",
    "data_access_role_arn": ROLE,
}
REQUIRED = {
    HealthImagingStartDicomImportJobOperator: {"task_id": "import", **REQUEST},
    HealthImagingDicomImportJobSensor: {"task_id": "wait", "datastore_id": DATASTORE_ID, "job_id": JOB_ID},
    HealthImagingDicomImportJobTrigger: {
        "datastore_id": DATASTORE_ID,
        "job_id": JOB_ID,
        "poke_interval": 30,
        "deadline": "2026-01-31T12:00:00Z",
    },
}
TASKS = (HealthImagingStartDicomImportJobOperator, HealthImagingDicomImportJobSensor)
# Those that the search's operator and sensor do not have; and what its sensor has is in the class of both.
OF_IMPORTS = {"aws_conn_id", "datastore_id", "s3_conn_id", "s3_uri", "verify", "region_name", "botocore_config"}
OF_IMPORTS |= {"deferrable", *arguments_of(HealthImagingHook.start_dicom_import_job), "job_id", "on_failed_files"}
OF_IMPORTS |= {"require_primary", "check_input", "wait_for_completion", "waiter_delay", "waiter_max_attempts"}


def taken_to_its_first_call(kind, arguments, environment=None, **context):
    """Make a task, render its templates, and check its arguments as ``execute`` does before its first call."""
    task = kind(**{**REQUIRED[kind], **arguments})
    if environment:
        task.render_template_fields(context, environment)
    before_the_call(task)


@fail_without_retry
def before_the_call(task):
    if isinstance(task, HealthImagingDicomImportJobSensor):
        task.started = NOON
        task.check_arguments()
        trigger = task.make_trigger({}, NOON)
    else:
        task.parse_request()
        trigger = task.make_trigger(JOB_ID, NOON, NOON)
    task.parse_output()
    json.dumps(trigger.serialize())
    assert task.hook
    assert task.import_files


def kept_and_revived(kind, arguments):
    """Make a trigger, keep it as Airflow does, and revive it in another process."""
    trigger = kind(**{**REQUIRED[kind], **arguments})
    _, kept = trigger.serialize()
    revived = kind(**json.loads(json.dumps(kept)))
    assert revived.serialize() == trigger.serialize()
    repr(revived)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in TASKS for name in arguments_of(kind) if name in OF_IMPORTS],
    ids=lambda each: getattr(each, "__name__", each)[-20:],
)
def test_a_literal_value_of_any_type_is_used_or_refused_by_our_errors(kind, name, only_our_errors, store):
    # A task needs its trigger's arguments in JSON, and says so when the DAG is parsed.
    for value in values(name):
        for deferrable in ({}, {"deferrable": True} if name == "botocore_config" else {}):
            only_our_errors(name, value, partial(taken_to_its_first_call, kind, {**deferrable, name: value}))


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in TASKS for name in kind.template_fields],
    ids=lambda each: getattr(each, "__name__", each)[-20:],
)
def test_a_template_that_renders_to_any_type_is_used_or_refused_by_our_errors(
    kind, name, environment, only_our_errors, store
):
    for place in INSIDE.get(name, [lambda v: v]):
        given = {name: place("{{ value }}")}
        for value in SOME:
            only_our_errors(name, value, partial(taken_to_its_first_call, kind, given, environment, value=value))


@pytest.mark.parametrize("name", arguments_of(HealthImagingDicomImportJobTrigger))
def test_an_argument_of_the_trigger_is_used_or_refused_by_our_errors(name, only_our_errors, store):
    for value in values(name):
        call = partial(kept_and_revived, HealthImagingDicomImportJobTrigger, {name: value})
        only_our_errors(name, value, call)


CALLS = {
    "start_dicom_import_job": REQUEST,
    "get_dicom_import_job": {"datastore_id": DATASTORE_ID, "job_id": JOB_ID},
    "list_dicom_import_jobs": {"datastore_id": DATASTORE_ID},
    "read_import_report": {"datastore_id": DATASTORE_ID, "job_id": JOB_ID, "wait": 0},
}


@pytest.mark.parametrize(
    ("method", "name"),
    [(method, name) for method in CALLS for name in arguments_of(getattr(HealthImagingHook, method))],
)
def test_an_argument_of_the_hooks_methods_is_used_or_refused_by_our_errors(method, name, only_our_errors, hook, bucket):
    def call(value):
        found = getattr(hook, method)(**{**CALLS[method], name: value})
        if method.startswith("list"):
            list(found)

    for value in values(name):
        only_our_errors(name, value, partial(call, value))
