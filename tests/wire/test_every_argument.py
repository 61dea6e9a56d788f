"""Whatever is given for any argument, as a literal or through a template: no error but those of this package.

Every argument of every public class is given a value of every wrong type. What a class accepts must then also work: a
task is taken as far as its first call, a trigger is kept and revived, and a method of the hook is called.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from functools import partial

import airflow
import pytest
from packaging.version import Version

from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor
from airflow_provider_healthimaging.task.failure import fail_without_retry
from airflow_provider_healthimaging.transfers.healthimaging_to_s3 import HealthImagingToS3Operator
from airflow_provider_healthimaging.triggers.healthimaging import (
    HealthImagingImageSetTrigger,
    HealthImagingNewImageSetsTrigger,
)

from .wrong_values import HOUR, INSIDE, NOON, ON_THE_NEWEST, SOME, arguments_of, values

pytestmark = [ON_THE_NEWEST, pytest.mark.usefixtures("fernet_key")]

DATASTORE_ID = "d" * 32
CONTEXT = {"data_interval_start": NOON - HOUR, "data_interval_end": NOON, "ti": None}
WATCHED = Version(airflow.__version__) >= Version("3.3.0.dev0")

SENSOR_ARGUMENTS = ["poke_interval", "timeout", "mode", "soft_fail", "exponential_backoff", "max_wait"]
SENSOR_ARGUMENTS += ["silent_fail", "never_fail"]
PRIVATE = {"search_criteria", "match", "s3_extra_args", "dicom_tags", "image_sets"}
OPERATOR = [(HealthImagingSearchImageSetsOperator, each) for each in arguments_of(HealthImagingSearchImageSetsOperator)]
# What both take is the same code; but of a sensor, a trigger keeps some of it.
KEPT_BY_TRIGGER = {"search_criteria", "match", "window_start", "window_end", "botocore_config", "verify", "region_name"}
SENSOR = [
    (HealthImagingImageSetSensor, each)
    for each in [*arguments_of(HealthImagingImageSetSensor), *SENSOR_ARGUMENTS]
    if each in KEPT_BY_TRIGGER or each not in arguments_of(HealthImagingSearchImageSetsOperator)
]


def taken_to_its_first_call(kind, arguments, environment=None, **context):
    """Make a task, render its templates, and check its arguments as ``execute`` does before its first call."""
    task = kind(**{"task_id": "search", "datastore_id": DATASTORE_ID, **arguments})
    if environment:
        task.render_template_fields({**CONTEXT, **context}, environment)
    before_the_call(task)


@fail_without_retry
def before_the_call(task):
    task.parse_output()
    task.resolve(CONTEXT)
    if isinstance(task, HealthImagingImageSetSensor):
        task.started = NOON
        trigger = task.make_trigger(CONTEXT, NOON)
        json.dumps(trigger.serialize())
    assert task.hook


@pytest.mark.parametrize(("kind", "name"), OPERATOR + SENSOR, ids=lambda each: getattr(each, "__name__", each)[-20:])
def test_a_literal_value_of_any_type_is_used_or_refused_by_our_errors(kind, name, only_our_errors, store):
    for value in values(name):
        only_our_errors(name, value, partial(taken_to_its_first_call, kind, {name: value}))


@pytest.mark.parametrize("name", HealthImagingSearchImageSetsOperator.template_fields)
def test_a_template_that_renders_to_any_type_is_used_or_refused_by_our_errors(
    name, environment, only_our_errors, store
):
    kind = HealthImagingSearchImageSetsOperator
    for place in INSIDE.get(name, [lambda v: v]):
        given = {name: place("{{ value }}")}
        for value in SOME:
            only_our_errors(name, value, partial(taken_to_its_first_call, kind, given, environment, value=value))


# The transfer


RECORD = {"datastoreId": DATASTORE_ID, "imageSetId": "e" * 32, "version": 1}


def copied_up_to_the_first_call(arguments, environment=None, **context):
    """Make a task, render its templates, and check its arguments as ``execute`` does before its first call."""
    task = HealthImagingToS3Operator(
        **{"task_id": "copy", "image_sets": RECORD, "s3_uri": "s3://image-sets/", **arguments}
    )
    if environment:
        task.render_template_fields({**CONTEXT, **context}, environment)
    before_the_copy(task)


@fail_without_retry
def before_the_copy(task):
    task.parse_request()
    task.parse_input()
    task.s3_hook()
    assert task.hook


@pytest.mark.parametrize("name", arguments_of(HealthImagingToS3Operator))
def test_a_literal_value_of_the_transfer_is_used_or_refused_by_our_errors(name, only_our_errors, store):
    for value in values(name):
        only_our_errors(name, value, partial(copied_up_to_the_first_call, {name: value}))


@pytest.mark.parametrize("name", HealthImagingToS3Operator.template_fields)
def test_a_template_of_the_transfer_is_used_or_refused_by_our_errors(name, environment, only_our_errors, store):
    for place in INSIDE.get(name, [lambda v: v]):
        given = {name: place("{{ value }}")}
        for value in SOME:
            only_our_errors(name, value, partial(copied_up_to_the_first_call, given, environment, value=value))


# The triggers


REQUIRED = {
    HealthImagingImageSetTrigger: {
        "datastore_id": DATASTORE_ID,
        "window_start": None,
        "window_end": None,
        "time_field": "createdAt",
        "search_criteria": "{}",
        "match": "{}",
        "min_image_sets": 1,
        "quiet_period": None,
        "poke_interval": 60,
        "deadline": "2026-01-31T12:00:00Z",
    },
    HealthImagingNewImageSetsTrigger: {"datastore_id": DATASTORE_ID},
}


def kept_and_revived(kind, arguments):
    """Make a trigger, keep it as Airflow does, and revive it in another process."""
    trigger = kind(**{**REQUIRED[kind], **arguments})
    _, kept = trigger.serialize()
    revived = kind(**json.loads(json.dumps(kept)))
    assert revived.serialize() == trigger.serialize()
    repr(revived)
    if "search_criteria" in arguments or "match" in arguments:
        _ = revived._request


TRIGGERS = [HealthImagingImageSetTrigger, *([HealthImagingNewImageSetsTrigger] if WATCHED else [])]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in TRIGGERS for name in arguments_of(kind)])
def test_an_argument_of_a_trigger_is_used_or_refused_by_our_errors(kind, name, only_our_errors, store):
    for value in values(name):
        only_our_errors(name, value, partial(kept_and_revived, kind, {name: value}))


@pytest.mark.parametrize("text", ["sealed:", "sealed:\u00e4", "sealed:AAAA", "sealed:" + "A" * 100])
@pytest.mark.parametrize("name", ["search_criteria", "match"])
def test_damaged_text_of_a_trigger_ends_its_wait_with_our_error(name, text, store):
    arguments = {name: text, "poke_interval": 0.01, "deadline": "2999-01-01T00:00:00Z"}
    trigger = HealthImagingImageSetTrigger(**{**REQUIRED[HealthImagingImageSetTrigger], **arguments})
    event = asyncio.run(anext(trigger.run())).payload
    assert event["status"] == "failed"
    assert "cannot decrypt" in event["error"]


# The hook


def consumed(call):
    """Make a call of the hook, and read what it gives."""
    found = call()
    if inspect.isgenerator(found):
        list(found)


METHODS = ["search_image_sets", "count_image_sets", "paginate_image_sets"]
OF_ONE_IMAGE_SET = ["get_image_set_metadata", "get_image_frame", "iter_image_frames", "get_dicom_instance"]


@pytest.mark.parametrize(
    ("method", "name"),
    [(method, name) for method in METHODS for name in arguments_of(getattr(HealthImagingHook, method))],
)
def test_an_argument_of_the_hooks_methods_is_used_or_refused_by_our_errors(method, name, only_our_errors, hook):
    for value in values(name):
        arguments = {"datastore_id": DATASTORE_ID, name: value}
        only_our_errors(name, value, partial(consumed, partial(getattr(hook, method), **arguments)))


@pytest.mark.parametrize(
    ("method", "name"),
    [(method, name) for method in OF_ONE_IMAGE_SET for name in arguments_of(getattr(HealthImagingHook, method))],
)
def test_an_argument_of_the_methods_about_one_image_set_is_used_or_refused_by_our_errors(
    method, name, only_our_errors, hook
):
    call = getattr(HealthImagingHook, method)
    good = {"datastore_id": DATASTORE_ID, "image_set_id": "e" * 32, "image_frame_id": "f" * 32}
    good |= {each: "1.2.3" for each in arguments_of(call) if each.endswith("_uid")}
    for value in values(name):
        arguments = {key: each for key, each in good.items() if key in arguments_of(call)} | {name: value}
        only_our_errors(name, value, partial(consumed, partial(getattr(hook, method), **arguments)))
