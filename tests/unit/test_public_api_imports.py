"""The public API of import jobs: every argument is named in the signature and documented, as those of the search."""

import inspect
import re
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.operators.healthimaging import (
    HealthImagingSearchImageSetsOperator,
    HealthImagingStartDicomImportJobOperator,
)
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingDicomImportJobSensor
from airflow_provider_healthimaging.triggers.healthimaging import HealthImagingDicomImportJobTrigger

DATASTORE_ID = "d" * 32
MINUTE = timedelta(minutes=1)
TASKS = [HealthImagingStartDicomImportJobOperator, HealthImagingDicomImportJobSensor]
CLASSES = [*TASKS, HealthImagingDicomImportJobTrigger]
METHODS = ("start_dicom_import_job", "get_dicom_import_job", "list_dicom_import_jobs", "read_import_report")


def named(kind):
    parameters = inspect.signature(kind).parameters.values()
    return [each.name for each in parameters if each.kind is not each.VAR_KEYWORD and each.name != "self"]


def documented(text):
    return re.findall(r":param (\w+):", text)


def operator(**arguments):
    given = {
        "datastore_id": DATASTORE_ID,
        "input_s3_uri": "s3://inbox/1/",
        "output_s3_uri": "s3://reports/",
        "data_access_role_arn": "arn:aws:iam::123456789012:role/import",
    }
    return HealthImagingStartDicomImportJobOperator(**{"task_id": "import", **given, **arguments})


def sensor(**arguments):
    return HealthImagingDicomImportJobSensor(
        **{"task_id": "wait", "datastore_id": DATASTORE_ID, "job_id": "1", **arguments}
    )


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_argument_is_documented_once_in_the_class(kind):
    assert sorted(documented(kind.__doc__)) == sorted(named(kind))


@pytest.mark.parametrize("name", METHODS)
def test_every_argument_of_the_hooks_methods_is_named_and_documented(name):
    method = getattr(HealthImagingHook, name)
    assert documented(method.__doc__) == named(method)


@pytest.mark.parametrize("kind", TASKS, ids=lambda kind: kind.__name__)
def test_arguments_that_the_search_has_too_are_described_in_the_same_words_or_for_the_same_thing(kind):
    search = inspect.signature(HealthImagingSearchImageSetsOperator).parameters
    mine = inspect.signature(kind).parameters
    shared = [name for name in mine if name in search and name not in ("datastore_id", "kwargs")]
    assert {"batch_size", "max_xcom_items", "s3_uri", "s3_conn_id", "s3_extra_args", "deferrable"} <= set(shared)
    assert {name: mine[name].default for name in shared} == {name: search[name].default for name in shared}


@pytest.mark.parametrize("kind", TASKS, ids=lambda kind: kind.__name__)
def test_the_docstring_says_which_arguments_are_templates(kind):
    texts = re.findall(r":param (\w+):((?:(?!:param|:return|:raises|\n\n).)*)", kind.__doc__, re.DOTALL)
    assert {name for name, text in texts if "(templated)" in text} == set(kind.template_fields)


@pytest.mark.parametrize("seconds", [60, 60.0, MINUTE])
def test_durations_are_timedeltas_or_seconds(seconds):
    assert (operator(waiter_delay=seconds).waiter_delay, sensor(poke_interval=seconds).poke_interval) == (MINUTE, 60)
    assert waiting(poke_interval=seconds).poke_interval == 60


def waiting(**arguments):
    given = {"job_id": "1", "poke_interval": 1, "deadline": datetime.now(UTC).isoformat()}
    return HealthImagingDicomImportJobTrigger(**{"datastore_id": DATASTORE_ID, **given, **arguments})


def test_the_trigger_has_a_public_attribute_for_each_argument_and_none_that_says_what_is_imported():
    trigger = waiting()
    path, arguments = trigger.serialize()
    assert path == "airflow_provider_healthimaging.triggers.healthimaging.HealthImagingDicomImportJobTrigger"
    assert arguments == {name: getattr(trigger, name) for name in named(type(trigger))}
    assert type(trigger)(**arguments).serialize() == (path, arguments)
    assert set(arguments) == {
        *("datastore_id", "job_id", "poke_interval", "deadline", "started", "exponential_backoff", "max_wait"),
        *("aws_conn_id", "region_name", "verify", "botocore_config"),
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"on_failed_files": "skip"}, "Unknown on_failed_files 'skip'"),
        ({"require_primary": "maybe"}, "require_primary must be true or false"),
        ({"check_input": 1}, "check_input must be true or false"),
        ({"wait_for_completion": None}, "wait_for_completion must be true or false"),
        ({"deferrable": "x"}, "deferrable must be true or false"),
        ({"waiter_delay": 0}, "waiter_delay=0 would poll without a pause"),
        ({"waiter_delay": "30 s"}, "waiter_delay='30 s' must be a datetime.timedelta or a number of seconds"),
        ({"waiter_max_attempts": 0}, "waiter_max_attempts=0 is out of range"),
        ({"waiter_delay": MINUTE, "waiter_max_attempts": 10**6}, "is too long: give at most 366 days"),
        ({"max_xcom_items": "many"}, "max_xcom_items='many' is out of range"),
        ({"batch_size": 0}, "batch_size=0 is out of range"),
        ({"file_format": "csv"}, "Unknown file_format 'csv'"),
        ({"input_uri": "s3://inbox/"}, "has no argument input_uri"),
    ],
)
def test_a_wrong_argument_is_found_when_the_dag_is_parsed(arguments, words):
    with pytest.raises(InvalidArgumentError, match=re.escape(words)):
        operator(**arguments)


@pytest.mark.parametrize(
    "arguments", [{"on_failed_files": "skip"}, {"require_primary": 2}, {"deferrable": "x"}, {"input_s3_uri": "s3://a/"}]
)
def test_a_wrong_argument_of_the_sensor_is_found_when_the_dag_is_parsed(arguments):
    with pytest.raises(InvalidArgumentError):
        sensor(**arguments)


def test_import_configuration_shows_its_structure_only():
    mapping = {"studyInstanceUID": "2.25.1", "metadataFilePath": "JANE_DOE.json", "2.25.2": "x"}
    given = {"dicomJsonMetadataImportConfiguration": {"dicomMetadataMappings": [mapping]}}
    shown = str(operator(import_configuration=given).import_configuration)
    assert shown == (
        '{"dicomJsonMetadataImportConfiguration": {"dicomMetadataMappings": '
        '[{"studyInstanceUID": "***", "metadataFilePath": "***", "***": "***"}]}}'
    )
