"""The most likely mistakes: for each, how it is made, and words of the last line that Airflow then shows.

``docs/troubleshooting.md`` has a section for each of these words.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.core.exceptions import JsonRESTError

from airflow_provider_healthimaging.local import airflow_connection

DATASTORE_ID = "d" * 32
ELEVEN = datetime(2026, 3, 1, 11, tzinfo=UTC)

DAG_FILE = """\
from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, task
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator as Operator
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor as Sensor
from airflow_provider_healthimaging.triggers.healthimaging import HealthImagingNewImageSetsTrigger as Trigger

STORE = "d" * 32
DAY = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]

def search(**arguments):
    return Operator(**{{"task_id": "search", "datastore_id": STORE, **arguments}})

def filters(**attributes):
    return {{"filters": [{{"operator": "EQUAL", "values": [{{name: value}}]}} for name, value in attributes.items()]}}

@task
def process(image_set):
    return image_set["imageSetId"]

with DAG(
    "{dag_id}",
    schedule={schedule!r},
    start_date=datetime(2026, 1, 1),
    catchup=False,
    render_template_as_native_obj={native},
):
    {line}
"""


@dataclass(frozen=True)
class World:
    """The things that a mistake can change: the local service and the environment."""

    store: Any
    url: str
    patch: Any


@dataclass(frozen=True)
class Mistake:
    """Words of the last line that Airflow shows, the line of a DAG that causes it, and the conditions.

    :param where: changes the environment before the DAG is parsed.
    :param run: arguments of the run.
    :param airflow: the versions of Airflow in which the mistake can be made.
    :param native: whether the DAG renders templates to Python objects.
    """

    words: str
    line: str
    where: Callable[[World], object] = lambda world: None
    schedule: str | None = "@hourly"
    run: Mapping[str, Any] = field(default_factory=dict)
    airflow: str = ">=2.11"
    native: bool = False


def connection(**extra: Any) -> Callable[[World], None]:
    """Add this to the connection ``aws_default``, with one attempt per call."""

    def where(world: World) -> None:
        said = json.loads(airflow_connection(world.url, "us-east-1"))
        said["extra"] |= {"config_kwargs": {"retries": {"total_max_attempts": 1}}, **extra}
        world.patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(said))

    return where


def nothing_is_set(world: World) -> None:
    for name in ("AIRFLOW_CONN_AWS_DEFAULT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        world.patch.delenv(name)


def no_region_is_set(world: World) -> None:
    world.patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws", "login": "a", "password": "b"}))
    world.patch.delenv("AWS_DEFAULT_REGION")


def nothing_is_allowed(world: World) -> None:
    world.patch.setattr(world.store.settings, "unknown_datastore", "access-denied")


def the_token_has_expired(world: World) -> None:
    def refuse(*_: Any) -> None:
        raise JsonRESTError("ExpiredTokenException", "The security token included in the request is expired")

    world.patch.setattr(world.store, "admit_search", refuse)


def the_service_speaks_no_tls(world: World) -> None:
    connection(endpoint_url=world.url.replace("http:", "https:"))(world)


def no_fernet_key_is_set(world: World) -> None:
    world.patch.setenv("AIRFLOW__CORE__FERNET_KEY", "")


def pyarrow_is_missing(world: World) -> None:
    world.patch.setitem(sys.modules, "pyarrow", None)


def arrived(count: int) -> Callable[[World], None]:
    """Put ``count`` image sets into the hour that is searched."""

    def where(world: World) -> None:
        for second in range(count):
            world.store.put_image_set(DATASTORE_ID, created_at=ELEVEN + timedelta(seconds=second))

    return where


ASSET = {"data_interval_start": None, "data_interval_end": None, "logical_date": None}

MISTAKES = [
    # The connection and the endpoint.
    Mistake("No usable AWS credentials", "search()", nothing_is_set),
    Mistake("No usable AWS credentials", "search(aws_conn_id='aws_defualt')", nothing_is_set),
    Mistake("No AWS region is configured", "search()", no_region_is_set),
    Mistake("answered ResourceNotFoundException", "search(region_name='us-west-2')"),
    Mistake("answered ResourceNotFoundException", "search(datastore_id='e' * 32)"),
    Mistake("answered AccessDeniedException", "search(datastore_id='e' * 32)", nothing_is_allowed),
    Mistake("answered ExpiredTokenException", "search()", the_token_has_expired),
    Mistake("EndpointConnectionError", "search()", connection(endpoint_url="http://127.0.0.1:1")),
    Mistake("or the endpoint does not support TLS", "search()", the_service_speaks_no_tls),
    Mistake("endpoint_url in the connection is not a valid URL", "search()", connection(endpoint_url="127.0.0.1:5000")),
    Mistake("is malformed: the id of a data store has 32 characters", "search(datastore_id='my-data-store')"),
    # The window.
    Mistake("owns no time window", "search()", schedule=None),
    Mistake("has no time zone", "search(window_start=datetime(2026, 1, 1))"),
    Mistake("has no time zone", "search(window_start='2026-01-01')"),
    Mistake("Its start must be before its end", "search(window_start=DAY[1], window_end=DAY[0])"),
    Mistake("A template of this task cannot be rendered", "search(window_start='{{ data_interval_strat }}')"),
    Mistake("A template in match cannot be rendered", "search(match={'DICOMStudyId': '{{ params.study }}'})"),
    Mistake(
        "A template of this task cannot be rendered",
        "search(window_start='{{ data_interval_start }}')",
        schedule=None,
        run=ASSET,
        airflow=">=3",
    ),
    Mistake("rendered to 'None'", "search(window_start='{{ dag_run.conf.get(\"start\") }}')"),
    Mistake(
        "render_template_as_native_obj=True",
        "search(search_criteria=filters(DICOMAccessionNumber=\"{{ '4711' }}\"))",
        native=True,
    ),
    Mistake("holds a template, but Airflow does not render it", "search(max_workers='{{ params.workers }}')"),
    Mistake("ends more than a year from now", "search(window_start=DAY[0], window_end='9999-12-31T23:59:59Z')"),
    Mistake("is too long: give at most", "search(delay=timedelta(days=10**6))"),
    Mistake("must be a datetime.timedelta or a number of seconds", "search(delay='60 seconds')"),
    # What is searched for.
    Mistake("Unknown attribute in search_criteria", "search(search_criteria=filters(DICOMPatientID='1'))"),
    Mistake("Unknown attribute in search_criteria", "search(search_criteria=filters(AccessionNumber='1'))"),
    Mistake("Unknown key in search_criteria", "search(search_criteria={'DICOMPatientId': '1'})"),
    Mistake("the service cannot filter on", "search(search_criteria=filters(DICOMSeriesModality='CT'))"),
    Mistake("the service cannot filter on", "search(search_criteria=filters(PatientName='x'))"),
    Mistake("and the window needs one of", "search(search_criteria=filters(DICOMPatientId='1', DICOMStudyId='2'))"),
    Mistake(
        "and so does the window on",
        "search(search_criteria={'filters': [{'operator': 'BETWEEN', 'values': [{'createdAt': at} for at in DAY]}]})",
    ),
    Mistake("Unknown field in match", "search(match={'Modality': 'CT'})"),
    Mistake("Unknown DICOM tag", "search(dicom_tags=['PatientName'])"),
    Mistake("dicom_tags must be a list", "search(dicom_tags='DICOMPatientName')"),
    Mistake("is out of range. Give a whole number", "search(pagination_config={'PageSize': 100})"),
    Mistake("has no argument", "search(search_criterea={})"),
    # The result.
    Mistake("XCom is not made for that", "search(max_xcom_items=5)", arrived(6)),
    Mistake(
        "a task can be mapped over at most",
        "process.expand(image_set=search(max_xcom_items=2000).output)",
        arrived(1025),
    ),
    Mistake(
        "Another task is mapped over the result of this task",
        "process.expand(image_set=search(s3_uri='s3://image-sets/').output)",
    ),
    Mistake("expand() got an unexpected type", "process.expand(image_set=search())"),
    Mistake("names no bucket", "search(s3_uri='image-sets/arrivals/')"),
    Mistake(
        "names an access point by its ARN",
        "search(s3_uri='s3://arn:aws:s3:us-east-1:123456789012:accesspoint/scans/arrivals/')",
    ),
    Mistake("names a connection before the '@'", "search(s3_uri='s3://aws_default@image-sets/arrivals/')"),
    Mistake("Unknown argument for S3", "search(s3_extra_args={'Encryption': 'aws:kms'})"),
    Mistake("answered NoSuchBucket", "search(s3_uri='s3://no-such-bucket/arrivals/')", arrived(1)),
    Mistake("Unknown file_format", "search(s3_uri='s3://image-sets/', file_format='parqet')"),
    Mistake("needs pyarrow", "search(s3_uri='s3://image-sets/', file_format='parquet')", pyarrow_is_missing),
    Mistake("and on_empty='fail'", "search(on_empty='fail')"),
    # Waiting.
    Mistake("Unknown mode", "Sensor(task_id='wait', datastore_id=STORE, mode='rescedule')"),
    Mistake("Sensor has timed out", "Sensor(task_id='wait', datastore_id=STORE, timeout=0.1, poke_interval=0.1)"),
    Mistake(
        "but [core] fernet_key is empty",
        "Sensor(task_id='wait', datastore_id=STORE, match={'DICOMSeriesModality': 'CT'}, deferrable=True)",
        no_fernet_key_is_set,
    ),
    Mistake("which Airflow has since 3.3", "Trigger(datastore_id=STORE)", airflow="<3.3"),
]
