"""The public API: every argument is named in the signature and documented, and durations are timedeltas or seconds."""

import inspect
import re
from datetime import UTC, datetime, timedelta

import airflow
import pytest
from packaging.version import Version

from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor
from airflow_provider_healthimaging.triggers.healthimaging import (
    HealthImagingImageSetTrigger,
    HealthImagingNewImageSetsTrigger,
)

DATASTORE_ID = "d" * 32
MINUTE = timedelta(minutes=1)
CLASSES = [
    HealthImagingSearchImageSetsOperator,
    HealthImagingImageSetSensor,
    HealthImagingImageSetTrigger,
    HealthImagingNewImageSetsTrigger,
    HealthImagingHook,
]
has_asset_state = Version(airflow.__version__) >= Version("3.3.0.dev0")


def named(kind):
    """Return the arguments that an editor shows."""
    parameters = inspect.signature(kind).parameters.values()
    return [each.name for each in parameters if each.kind is not each.VAR_KEYWORD]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_argument_is_documented_once_in_the_class(kind):
    assert sorted(re.findall(r":param (\w+):", kind.__doc__)) == sorted(named(kind))


@pytest.mark.parametrize("kind", CLASSES[:2], ids=lambda kind: kind.__name__)
def test_the_signature_names_every_argument_of_a_search(kind):
    shared = {
        *("datastore_id", "time_field", "window_start", "window_end", "lookback", "search_criteria", "match"),
        *("max_workers", "pagination_config", "dicom_tags", "batch_size", "max_xcom_items", "deferrable"),
        *("s3_uri", "s3_conn_id", "s3_extra_args", "file_format", "rows_per_file"),
        *("aws_conn_id", "region_name", "verify", "botocore_config"),
    }
    assert shared <= set(named(kind))


@pytest.mark.parametrize("kind", CLASSES[:2], ids=lambda kind: kind.__name__)
def test_the_docstring_says_which_arguments_are_templates(kind):
    documented = re.findall(r":param (\w+):((?:(?!:param|:return|:raises|\n\n).)*)", kind.__doc__, re.DOTALL)
    assert {name for name, text in documented if "(templated)" in text} == set(kind.template_fields)


@pytest.mark.parametrize("seconds", [60, 60.0, MINUTE])
def test_durations_are_timedeltas_or_seconds(seconds):
    operator = HealthImagingSearchImageSetsOperator(
        task_id="find", datastore_id=DATASTORE_ID, delay=seconds, lookback=seconds
    )
    assert (operator.delay, operator.lookback) == (MINUTE, MINUTE)
    sensor = HealthImagingImageSetSensor(
        task_id="wait", datastore_id=DATASTORE_ID, quiet_period=seconds, lookback=seconds, poke_interval=seconds
    )
    assert (sensor.quiet_period, sensor.lookback, sensor.poke_interval) == (MINUTE, MINUTE, 60)
    assert (waiting(seconds).quiet_period, waiting(seconds).poke_interval) == (60, 60)
    if has_asset_state:
        watcher = HealthImagingNewImageSetsTrigger(datastore_id=DATASTORE_ID, delay=seconds, poke_interval=seconds)
        assert (watcher.delay, watcher.poke_interval) == (60, 60)


def waiting(seconds=MINUTE):
    return HealthImagingImageSetTrigger(
        datastore_id=DATASTORE_ID,
        window_start="2026-01-31T12:00:00Z",
        window_end=None,
        time_field="createdAt",
        search_criteria="{}",
        match="{}",
        min_image_sets=1,
        quiet_period=seconds,
        poke_interval=seconds,
        deadline=datetime.now(UTC).isoformat(),
    )


def test_a_trigger_has_a_public_attribute_for_each_argument():
    triggers = [waiting()]
    if has_asset_state:
        triggers.append(HealthImagingNewImageSetsTrigger(datastore_id=DATASTORE_ID))
    for trigger in triggers:
        path, arguments = trigger.serialize()
        assert path == f"airflow_provider_healthimaging.triggers.healthimaging.{type(trigger).__name__}"
        assert arguments == {name: getattr(trigger, name) for name in named(type(trigger))}
        assert type(trigger)(**arguments).serialize() == (path, arguments)


def test_numbers_in_text_are_used_as_numbers():
    operator = HealthImagingSearchImageSetsOperator(
        task_id="find", datastore_id=DATASTORE_ID, max_workers="2", batch_size="10", max_xcom_items="5"
    )
    assert (operator.max_workers, operator.batch_size, operator.max_xcom_items) == (2, 10, 5)


def test_the_hook_takes_the_clients_defaults_in_its_constructor():
    defaults = {"max_pool_connections": 7, "retries": {"mode": "standard", "total_max_attempts": 2}}
    config = HealthImagingHook(aws_conn_id=None, client_defaults=defaults, config={"read_timeout": 5}).config
    assert (config.max_pool_connections, config.retries["total_max_attempts"], config.read_timeout) == (7, 2, 5)
