"""What templates render to by mistake is an error that says so: the text None, numbers, proxies of nothing.

``{{ nothing }}`` renders to ``None``, ``{{ digits }}`` to text that native rendering makes a number of.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import lazy_object_proxy
import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor

DATASTORE_ID = "d" * 32
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONTEXT = {
    "data_interval_start": NOON - HOUR,
    "data_interval_end": NOON,
    "nothing": None,
    "digits": "4711",
    "store": "12345678901234567890123456789012",
}
CLASSES = pytest.mark.parametrize("kind", [HealthImagingSearchImageSetsOperator, HealthImagingImageSetSensor])


def equal(attribute, content):
    return {"filters": [{"operator": "EQUAL", "values": [{attribute: content}]}]}


def every_field(template):
    """Return each template field with ``template`` in each place that holds text."""
    criteria, token, match = (
        equal("DICOMPatientId", template),
        {"StartingToken": template},
        {"DICOMStudyId": [template]},
    )
    extra = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": template}
    return [
        {"aws_conn_id": template},
        {"datastore_id": template},
        {"dicom_tags": template},
        {"dicom_tags": ["DICOMPatientId", template]},
        {"match": match},
        {"match": json.dumps(match)},
        {"match": {"DICOMStudyId": template}},
        {"pagination_config": token},
        {"pagination_config": json.dumps(token)},
        {"region_name": template},
        {"s3_uri": "s3://bucket/", "s3_conn_id": template},
        {"s3_uri": "s3://bucket/", "s3_extra_args": extra},
        {"s3_uri": "s3://bucket/", "s3_extra_args": json.dumps(extra)},
        {"s3_uri": template},
        {"search_criteria": criteria},
        {"search_criteria": json.dumps(criteria)},
        {"search_criteria": equal("DICOMStudyDateAndTime", {"DICOMStudyDate": template})},
        {"verify": template},
        {"window_start": template},
        {"window_end": template},
    ]


@pytest.fixture
def no_call(store, server):
    """Fail where HealthImaging was asked anything."""
    yield
    assert list(server.calls) == []


@pytest.fixture
def rendered():
    """``rendered(kind, native=False, **arguments)`` makes a task, and renders its templates as Airflow does."""

    def render(kind, *, native=False, **arguments):
        dag = DAG("rendered", schedule=None, start_date=NOON, render_template_as_native_obj=native)
        task = kind(**{"task_id": "search", "datastore_id": DATASTORE_ID, "dag": dag, **arguments})
        task.render_template_fields(dict(CONTEXT))
        return task

    return render


def test_the_fields_of_these_tests_are_all_template_fields():
    for kind in (HealthImagingSearchImageSetsOperator, HealthImagingImageSetSensor):
        assert {name for each in every_field("") for name in each} == set(kind.template_fields)


@CLASSES
@pytest.mark.parametrize("arguments", every_field("{{ nothing }}"), ids=lambda each: list(each)[-1])
def test_a_template_that_renders_to_none_fails_the_task_at_once(kind, arguments, rendered, no_call):
    task = rendered(kind, **arguments)
    with pytest.raises(AirflowFailException, match="rendered to 'None'") as caught:
        task.execute(CONTEXT)
    assert isinstance(caught.value, InvalidArgumentError)
    assert list(arguments)[-1] in str(caught.value)


@CLASSES
def test_a_template_that_renders_to_nothing_is_not_given(kind, rendered, store):
    nothing = "{{ nothing or '' }}"
    task = rendered(
        kind,
        **dict.fromkeys(("region_name", "s3_conn_id", "verify", "window_start", "window_end", "dicom_tags"), nothing),
        **dict.fromkeys(("search_criteria", "match", "s3_extra_args", "s3_uri"), nothing),
        pagination_config={"StartingToken": nothing, "MaxItems": " "},
        do_xcom_push=False,
    )
    store.put_image_set(DATASTORE_ID, created_at=NOON - HOUR)
    assert len(task.execute({**CONTEXT, "ti": None})) == 1


NUMBERS = {
    "aws_conn_id": "{{ digits }}",
    "datastore_id": "{{ store }}",
    "region_name": "{{ digits }}",
    "s3_uri": "{{ digits }}",
    "verify": "{{ digits }}",
    "window_start": "{{ digits }}",
    "match": {"DICOMAccessionNumber": "{{ digits }}"},
    "pagination_config": {"StartingToken": "{{ digits }}"},
    "search_criteria": equal("DICOMAccessionNumber", "{{ digits }}"),
}


@CLASSES
@pytest.mark.parametrize("field", NUMBERS)
def test_a_number_of_native_rendering_is_called_by_its_name(kind, field, rendered, no_call):
    task = rendered(kind, native=True, **{field: NUMBERS[field]})
    with pytest.raises(AirflowFailException) as caught:
        task.execute(CONTEXT)
    assert isinstance(caught.value, InvalidArgumentError)
    for words in ("render_template_as_native_obj=True", "| tojson", ".output"):
        assert words in str(caught.value)
    assert "at most" not in str(caught.value)


def test_what_the_error_says_to_write_works_and_keeps_leading_zeros(rendered, store):
    ids = {}
    for number in ("4711", "0012", "1e5"):
        row = store.put_image_set(
            DATASTORE_ID, created_at=NOON - HOUR, dicom_tags={"DICOMAccessionNumber": number, "DICOMStudyId": number}
        )
        ids[number] = row.image_set_id
    for number, image_set_id in ids.items():
        CONTEXT["number"] = number
        task = rendered(
            HealthImagingSearchImageSetsOperator,
            native=True,
            search_criteria=equal("DICOMAccessionNumber", "{{ number | tojson }}"),
            match={"DICOMStudyId": "{{ number | tojson }}"},
            do_xcom_push=False,
        )
        (record,) = task.execute({**CONTEXT, "ti": None})
        assert record["imageSetId"] == image_set_id


@CLASSES
def test_a_proxy_of_an_edge_that_is_not_there_is_not_given(kind, rendered, store):
    CONTEXT["previous"] = lazy_object_proxy.Proxy(lambda: None)
    CONTEXT["end"] = lazy_object_proxy.Proxy(lambda: NOON - HOUR / 2)
    task = rendered(kind, native=True, window_start="{{ previous }}", window_end="{{ end }}")
    window = task.resolve(CONTEXT).request.window
    assert (window.start, window.end) == (NOON - HOUR, NOON - HOUR / 2)


@CLASSES
@pytest.mark.parametrize("value", [7, ["x"], {"a": 1}, object(), b"4711", NOON], ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("field", ["aws_conn_id", "datastore_id", "region_name", "s3_conn_id", "s3_uri", "verify"])
def test_a_text_of_another_type_is_refused(kind, field, value, no_call):
    task = kind(**{"task_id": "search", "datastore_id": DATASTORE_ID, "s3_uri": "s3://bucket/", field: value})
    with pytest.raises(AirflowFailException) as caught:
        task.execute(CONTEXT)
    assert isinstance(caught.value, InvalidArgumentError)
    assert field in str(caught.value)


@pytest.mark.parametrize(("text", "verify"), [("False", False), ("true", True), ("/ca.pem", "/ca.pem"), ("", None)])
def test_verify_may_be_rendered_to_text(text, verify, store):
    task = HealthImagingSearchImageSetsOperator(task_id="search", datastore_id=DATASTORE_ID, verify=text)
    task.resolve(CONTEXT)
    assert task.hook._verify == verify


@pytest.mark.parametrize("tags", ['["DICOMPatientId", "DICOMStudyId"]', '"all"', "all", "[]", ""])
def test_dicom_tags_take_json_text(tags, store):
    task = HealthImagingSearchImageSetsOperator(task_id="search", datastore_id=DATASTORE_ID, dicom_tags=tags)
    expected = {"": 0, "[]": 0, "all": 16, '"all"': 16}.get(tags, 2)
    assert len(task.parse_output().dicom_tags) == expected


def test_dicom_tags_that_are_no_json_are_refused(store):
    task = HealthImagingSearchImageSetsOperator(task_id="search", datastore_id=DATASTORE_ID, dicom_tags='["DICOM')
    with pytest.raises(InvalidArgumentError, match="dicom_tags must be a list of tag names"):
        task.parse_output()
