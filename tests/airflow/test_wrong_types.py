"""Values of wrong types in real runs, as literals and through templates: each task ends with our error, at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from airflow.providers.common.compat.sdk import DAG
from cryptography.fernet import Fernet

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.operators.healthimaging import (
    HealthImagingSearchImageSetsOperator,
    HealthImagingStartDicomImportJobOperator,
)
from airflow_provider_healthimaging.sensors.healthimaging import (
    HealthImagingDicomImportJobSensor,
    HealthImagingImageSetSensor,
)
from tests.dicom_files import ROLE

DATASTORE_ID = "d" * 32
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CANARY = "CANARY-4711"

SEARCH = [
    {"search_criteria": 7},
    {"search_criteria": [CANARY]},
    {"search_criteria": {"filters": CANARY}},
    {"search_criteria": f'{{"filters": "{CANARY}"}}'},
    {"search_criteria": {"filters": [{"operator": "EQUAL", "values": [{"DICOMPatientId": {CANARY: 1}}]}]}},
    {"search_criteria": "{{ params.number }}"},
    {"search_criteria": "{{ params.nothing }}"},
    {"match": CANARY},
    {"match": {"DICOMPatientId": {CANARY: 1}}},
    {"match": "{{ params.canary }}"},
    {"datastore_id": 7},
    {"datastore_id": "{{ params.nothing }}"},
    {"pagination_config": "{{ params.number }}"},
    {"pagination_config": {"MaxItems": "{{ params.number }} of them"}},
    {"dicom_tags": 7},
    {"dicom_tags": "{{ params.number }}"},
    {"s3_uri": 7},
    {"s3_uri": "{{ params.nothing }}"},
    {"s3_extra_args": "{{ params.canary }}"},
    {"region_name": 7},
    {"verify": 1.5},
    {"aws_conn_id": ["x"]},
    {"window_start": 7},
    {"window_end": "{{ params.number }}"},
    {"max_workers": "many"},
    {"batch_size": [1]},
    {"time_field": 7},
    {"botocore_config": CANARY},
]
IMPORTS = [
    {"input_s3_uri": 7},
    {"input_s3_uri": f"s3://image-sets/{CANARY}"},
    {"input_s3_uri": "s3://{{ params.canary }}@image-sets/a/"},
    {"input_s3_uri": "{{ params.nothing }}"},
    {"output_s3_uri": ["s3://image-sets/"]},
    {"output_s3_uri": "s3://image-sets/{{ params.canary }}/ "},
    {"data_access_role_arn": 7},
    {"job_name": {"a": 1}},
    {"client_token": "{{ params.nothing }}"},
    {"input_owner_account_id": 123456789012},
    {"import_configuration": CANARY},
    {"import_configuration": {"x": "{{ params.canary }}"}},
    {"import_configuration": "{{ params.number }}"},
    {"s3_conn_id": 7},
    {"s3_uri": "{{ params.number }}"},
    {"on_failed_files": 7},
    {"waiter_delay": "soon"},
]
OF_A_JOB = [
    {"job_id": 7},
    {"job_id": "{{ params.nothing }}"},
    {"job_id": ["x"]},
    {"datastore_id": None},
    {"s3_conn_id": 7},
    {"s3_uri": "{{ params.number }}"},
    {"verify": {"a": 1}},
]
REQUEST = {
    "input_s3_uri": "s3://image-sets/inbox/",
    "output_s3_uri": "s3://image-sets/reports/",
    "data_access_role_arn": ROLE,
}
SOON = {"poke_interval": 0.1, "timeout": 0.5}
"""A sensor that took a wrong value would wait for image sets in vain."""

CASES = {
    "operator": (HealthImagingSearchImageSetsOperator, {}, SEARCH),
    "poke": (HealthImagingImageSetSensor, {"deferrable": False, **SOON}, SEARCH[::2]),
    "deferrable": (HealthImagingImageSetSensor, {"deferrable": True, **SOON}, SEARCH[1::2]),
    "import": (HealthImagingStartDicomImportJobOperator, REQUEST, IMPORTS),
    "job, poke": (HealthImagingDicomImportJobSensor, {"job_id": "1" * 32, "deferrable": False, **SOON}, OF_A_JOB),
    "job, deferrable": (HealthImagingDicomImportJobSensor, {"job_id": "1" * 32, "deferrable": True, **SOON}, OF_A_JOB),
}


@pytest.mark.parametrize("native", [False, True], ids=["text", "native"])
@pytest.mark.parametrize("case", CASES)
def test_a_task_with_a_value_of_a_wrong_type_ends_at_once_with_our_error_and_shows_no_value(
    case, native, store, bucket, server, run_dag, failures, all_text, monkeypatch
):
    kind, common, wrong = CASES[case]
    # With native rendering, what refers to nothing is None, which most arguments take as "not given".
    given = [each for each in wrong if not (native and "nothing" in str(each))]
    # Half of the cases with each kind of rendering, because a run of all takes long.
    cases = [{"datastore_id": DATASTORE_ID, **common, **each} for each in given[native::2]]
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    name = f"wrong_types_{case.replace(', ', '_')}_{native}"
    params = {"number": 7, "nothing": None, "canary": CANARY}
    with DAG(
        name, schedule="@hourly", start_date=NOON, catchup=False, params=params, render_template_as_native_obj=native
    ) as dag:
        kind.partial(task_id="task", retries=2, retry_delay=timedelta(0), **failures.callbacks).expand_kwargs(cases)
    server.calls.reset()

    run = run_dag(dag, NOON)

    succeeded = [each for each, state in zip(cases, run.states("task"), strict=True) if state != "failed"]
    assert succeeded == []
    assert failures.retried == []
    assert [error for error in failures if not isinstance(error, InvalidArgumentError)] == []
    assert len(failures) == len(cases)
    assert CANARY not in "".join(map(all_text, failures))
    assert server.calls.count() == 0
