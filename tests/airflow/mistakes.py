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

import boto3
from moto.core.exceptions import JsonRESTError
from moto.s3.models import s3_backends

from airflow_provider_healthimaging.local import airflow_connection, load_dicom
from airflow_provider_healthimaging.local.dicom import pydicom_sample_files
from tests.dicom_files import dicom_file, upload

DATASTORE_ID = "d" * 32
ELEVEN = datetime(2026, 3, 1, 11, tzinfo=UTC)

DAG_FILE = """\
from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, task
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator as Operator
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingStartDicomImportJobOperator as Import
from airflow_provider_healthimaging.pixels import read_frame, read_frames
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor as Sensor
from airflow_provider_healthimaging.transfers.healthimaging_to_s3 import HealthImagingToS3Operator as ToS3
from airflow_provider_healthimaging.triggers.healthimaging import HealthImagingNewImageSetsTrigger as Trigger

STORE = "d" * 32
DAY = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]

def search(**arguments):
    return Operator(**{{"task_id": "search", "datastore_id": STORE, **arguments}})

ROLE = "arn:aws:iam::123456789012:role/import"
S3 = "s3://image-sets/"
IN_AND_OUT = {{"input_s3_uri": S3 + "inbox/", "output_s3_uri": S3 + "reports/", "data_access_role_arn": ROLE}}

def imports(**arguments):
    given = {{"task_id": "import", "datastore_id": STORE, "waiter_delay": 0.1, "waiter_max_attempts": 3}}
    return Import(**{{**given, **IN_AND_OUT, **arguments}})

def copies(**arguments):
    record = {{"datastoreId": STORE, "imageSetId": "e" * 32, "version": 1}}
    return ToS3(**{{"task_id": "copy", "image_sets": record, "s3_uri": S3 + "copies/", **arguments}})

def filters(**attributes):
    return {{"filters": [{{"operator": "EQUAL", "values": [{{name: value}}]}} for name, value in attributes.items()]}}

@task
def process(image_set):
    return image_set["imageSetId"]

MAPPINGS = {{"studyInstanceUID": "1.2", "metadataFilePath": "a.json"}}

def mappings(*given):
    return {{"dicomJsonMetadataImportConfiguration": {{"dicomMetadataMappings": [*given]}}}}

@task(task_id="import")
def report_at_once():
    hook = HealthImagingHook()
    job = hook.start_dicom_import_job(STORE, **IN_AND_OUT)
    return hook.read_import_report(STORE, job["jobId"], wait=0).failed

def everything():
    return search(task_id="find", time_field=None).output

@task
def first_version(image_sets):
    return [{{**each, "version": 1}} for each in image_sets]

@task(task_id="copy")
def pixels(image_sets, from_s3=False):
    hook = S3Hook() if from_s3 else HealthImagingHook()
    return [frame.samples.mean() for record in image_sets for frame in read_frames(record, hook=hook)]

@task(task_id="copy")
def second_instance(image_sets):
    return [read_frame(record, hook=HealthImagingHook(), instance=2).frame for record in image_sets]

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


def the_service_answers(operation: str, code: str) -> Callable[[World], None]:
    """Answer one operation with an error code."""

    def where(world: World) -> None:
        def refuse(asked: str) -> None:
            if asked == operation:
                raise JsonRESTError(code, "")

        connection()(world)
        uploaded()(world)
        world.patch.setattr(world.store, "admit", refuse)

    return where


def a_proxy_answers(world: World) -> None:
    """Answer as a proxy does that speaks JSON, too."""
    from moto.medicalimaging import responses

    blocked = (200, {"Content-Type": "application/json"}, b'{"message": "blocked"}')
    connection()(world)
    world.patch.setattr(responses.MedicalImagingResponse, "search_image_sets", lambda _: blocked)


def calls_cannot_be_recognized(world: World) -> None:
    world.patch.delattr("botocore.client.BaseClient._make_api_call")


def no_fernet_key_is_set(world: World) -> None:
    world.patch.setenv("AIRFLOW__CORE__FERNET_KEY", "")


def pyarrow_is_missing(world: World) -> None:
    world.patch.setitem(sys.modules, "pyarrow", None)


def openjpeg_is_missing(world: World) -> None:
    world.patch.setitem(sys.modules, "openjpeg", None)


def arrived(count: int) -> Callable[[World], None]:
    """Put ``count`` image sets into the hour that is searched."""

    def where(world: World) -> None:
        for second in range(count):
            world.store.put_image_set(DATASTORE_ID, created_at=ELEVEN + timedelta(seconds=second))

    return where


def uploaded(**options: Any) -> Callable[[World], None]:
    """Put DICOM files into the local S3, and change settings of the local service."""

    def where(world: World) -> None:
        bucket = boto3.resource("s3", endpoint_url=world.url).Bucket("image-sets")
        files = {name: options[name] for name in ("series", "broken") if name in options}
        upload(bucket, **files)
        for name, value in options.items():
            if name not in files:
                setattr(world.store.settings, name, value)

    return where


def a_report_that_is_no_json(world: World) -> None:
    uploaded()(world)
    world.patch.setattr("moto.medicalimaging.import_output._lines", lambda documents: b"{\n")


def mappings_are_not_known(world: World) -> None:
    uploaded()(world)
    world.patch.setattr("airflow_provider_healthimaging.aws.import_jobs._knows_import_configuration", lambda _: False)


def stored(*names: str) -> Callable[[World], None]:
    """Load files of pydicom's into the data store."""

    def where(world: World) -> None:
        files = [path for path in pydicom_sample_files() if path.name in names]
        load_dicom(files, DATASTORE_ID, backend=world.store)

    return where


def a_newer_version(world: World) -> None:
    stored("CT_small.dcm")(world)
    (image_set,) = world.store.image_sets(DATASTORE_ID)
    world.store.update_image_set(DATASTORE_ID, image_set.image_set_id)


def another_size_in_the_metadata(world: World) -> None:
    from moto.medicalimaging.stored_pixels import Frame

    stored("CT_small.dcm")(world)
    as_json = Frame.as_json
    world.patch.setattr(Frame, "as_json", lambda frame: {**as_json(frame), "FrameSizeInBytes": 1})


def a_file_that_conflicts(world: World) -> None:
    bucket = boto3.resource("s3", endpoint_url=world.url).Bucket("image-sets")
    for number, patient in enumerate(("one", "another")):
        bucket.put_object(Key=f"inbox/{number}.dcm", Body=dicom_file(number + 1, patient=patient))


def too_many_files(world: World) -> None:
    for number in range(5001):
        s3_backends["123456789012"]["aws"].put_object("image-sets", f"inbox/{number}", b"")


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
    Mistake("answered ThrottlingException", "search()", the_service_answers("SearchImageSets", "ThrottlingException")),
    Mistake("Check for a proxy or a firewall", "search()", a_proxy_answers),
    Mistake(
        "rejects a setting of the connection",
        "search()",
        connection(
            role_arn="arn:aws:iam::123456789012:role/search",
            assume_role_method="assume_role_with_web_identity",
            assume_role_with_web_identity_federation="saml",
        ),
    ),
    Mistake("Unknown key in botocore_config", "search(botocore_config={'retry': 3})"),
    Mistake("in a way that the provider does not know", "search()", calls_cannot_be_recognized),
    Mistake("EndpointConnectionError", "search()", connection(endpoint_url="http://127.0.0.1:1")),
    Mistake("or the endpoint does not support TLS", "search()", the_service_speaks_no_tls),
    Mistake("endpoint_url in the connection is not a valid URL", "search()", connection(endpoint_url="127.0.0.1:5000")),
    Mistake("is malformed: the id of a data store has 32 characters", "search(datastore_id='my-data-store')"),
    # The window.
    Mistake("owns no time window", "search()", schedule=None),
    Mistake("has no time zone", "search(window_start=datetime(2026, 1, 1))"),
    Mistake("has no time zone", "search(window_start='2026-01-01')"),
    Mistake("is not an ISO 8601 time", "search(window_start='yesterday')"),
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
    Mistake("is a string that is not JSON", "search(search_criteria='DICOMPatientId=1')"),
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
    Mistake("batch_size is for XCom", "search(s3_uri='s3://image-sets/', batch_size=5)"),
    Mistake("needs pyarrow", "search(s3_uri='s3://image-sets/', file_format='parquet')", pyarrow_is_missing),
    Mistake("and on_empty='fail'", "search(on_empty='fail')"),
    # Import jobs.
    Mistake("input_s3_uri must end with", "imports(input_s3_uri='s3://image-sets/inbox')"),
    Mistake("is not an S3 address that HealthImaging takes", "imports(output_s3_uri='/reports')"),
    Mistake("output_s3_uri lies under input_s3_uri", "imports(output_s3_uri='s3://image-sets/inbox/reports/')"),
    Mistake("No file lies under input_s3_uri", "imports()"),
    Mistake("lie under input_s3_uri. One import job takes at most", "imports()", too_many_files),
    Mistake("Give the ARN of the IAM role", "imports(data_access_role_arn='import')"),
    Mistake("and have no other keys", "imports(import_configuration={'dicomMetadataMappings': []})"),
    Mistake("mappings. Give 1 to", "imports(import_configuration=mappings())"),
    Mistake(
        "give 'studyInstanceUID' and 'metadataFilePath'",
        "imports(import_configuration=mappings({'studyInstanceUID': '1.2'}))",
    ),
    Mistake(
        "does not know import_configuration",
        "imports(import_configuration=mappings(MAPPINGS))",
        mappings_are_not_known,
    ),
    Mistake("Unknown on_failed_files", "imports(on_failed_files='warning')"),
    Mistake("answered ConflictException", "imports()", the_service_answers("StartDICOMImportJob", "ConflictException")),
    Mistake("and iam:PassRole on data_access_role_arn", "imports()", uploaded(import_permission="pass-role-denied")),
    Mistake("ended as FAILED", "imports()", uploaded(import_permission="input-denied")),
    Mistake("files were not imported", "imports()", uploaded(broken=1)),
    Mistake("image sets are not primary", "imports(require_primary=True)", a_file_that_conflicts),
    Mistake("No import job could be started", "imports()", uploaded(import_max_jobs=0)),
    Mistake("has not ended by", "imports()", uploaded(import_duration=1000)),
    Mistake("is not in the job's output yet", "report_at_once()", uploaded(import_output_lag=1000)),
    Mistake("Look at the file in the job's output", "imports()", a_report_that_is_no_json),
    # Copies in S3.
    Mistake("image_sets must be", "copies(image_sets='e' * 32)"),
    Mistake("has no valid imageSetId", "copies(image_sets=[{'datastoreId': STORE}])"),
    Mistake(
        "has a version that is not a whole number",
        "copies(image_sets={'datastoreId': STORE, 'imageSetId': 'e' * 32, 'version': 'newest'})",
    ),
    Mistake(
        "the task returns a record of each",
        "copies(image_sets=[{'datastoreId': STORE, 'imageSetId': each * 32} for each in 'ef'], max_xcom_items=1)",
    ),
    Mistake("of a dataset: 's3://bucket", "copies(image_sets='s3://image-sets/arrivals/')"),
    Mistake("There is no manifest at", "copies(image_sets='s3://image-sets/arrivals/_manifest.json')"),
    Mistake("Unknown content", "copies(content=['dicoms'])"),
    Mistake("must be a list of one or more of", "copies(content=[])"),
    Mistake("Unknown on_missing", "copies(on_missing='ignore')"),
    Mistake("Unknown verify", "copies(verify='checksums')"),
    Mistake("and content has no 'dicom'", "copies(content=['frames'], transfer_syntax='1.2.840.10008.1.2.1')"),
    Mistake("is not a UID", "copies(transfer_syntax='explicit')"),
    Mistake("Decoding frames needs pydicom", "copies(verify='checksum')", openjpeg_is_missing),
    Mistake("image sets were not copied", "copies()"),
    Mistake("ImageSetChangedError", "copies(image_sets=first_version(everything()))", a_newer_version),
    Mistake("ObjectMismatchError", "copies(image_sets=everything(), content=['frames'])", another_size_in_the_metadata),
    # Pixels.
    Mistake("are not decoded here", "pixels(everything())", stored("SC_rgb_jpeg_dcmtk.dcm")),
    Mistake(
        "Give a HealthImagingHook, or amazon's S3Hook",
        "pixels(everything(), from_s3=True)",
        stored("CT_small.dcm"),
    ),
    Mistake(
        "There is no manifest in",
        "pixels([{'datastoreId': STORE, 'imageSetId': 'e' * 32, 's3_uri': S3 + 'copies/'}], from_s3=True)",
    ),
    Mistake(
        "has no pixels that can be read",
        "pixels(copies(task_id='headers', image_sets=everything(), content=['metadata']).output, from_s3=True)",
        stored("CT_small.dcm"),
    ),
    Mistake("The image set has no frame", "second_instance(everything())", stored("CT_small.dcm")),
    # Waiting.
    Mistake("Unknown mode", "Sensor(task_id='wait', datastore_id=STORE, mode='rescedule')"),
    Mistake("Sensor has timed out", "Sensor(task_id='wait', datastore_id=STORE, timeout=0.1, poke_interval=0.1)"),
    Mistake(
        "but [core] fernet_key is empty",
        "Sensor(task_id='wait', datastore_id=STORE, match={'DICOMSeriesModality': 'CT'}, deferrable=True)",
        no_fernet_key_is_set,
    ),
    Mistake("which Airflow has since 3.3", "Trigger(datastore_id=STORE)", airflow="<3.3"),
    Mistake("Airflow renders no templates of", "Trigger(datastore_id='{{ var.value.store }}')", airflow=">=3.3"),
    Mistake("they say what is new", "Trigger(datastore_id=STORE, time_field=None)", airflow=">=3.3"),
]
