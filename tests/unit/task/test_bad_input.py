"""An argument that cannot work is an error before any call: a template field when the task runs, others at once.

Each message says what is wrong, with which value (unless it may be patient data), and what to do.
"""

import math
import re
from datetime import UTC, datetime, timedelta

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, TaskGroup

from airflow_provider_healthimaging.exceptions import HealthImagingError, InvalidArgumentError
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.privacy.masking import MaskedValue

DATASTORE_ID = "d" * 32
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONTEXT = {"data_interval_start": NOON - HOUR, "data_interval_end": NOON}
CANARY = "CANARY-4711"


def operator(**arguments):
    return HealthImagingSearchImageSetsOperator(**({"task_id": "search", "datastore_id": DATASTORE_ID} | arguments))


def equal(attribute, content=CANARY):
    return {"operator": "EQUAL", "values": [{attribute: content}]}


def filters(*each):
    return {"search_criteria": {"filters": list(each)}}


BETWEEN_TIMES = {
    "operator": "BETWEEN",
    "values": [{"createdAt": "2026-01-01T00:00:00Z"}, {"createdAt": "2026-01-02T00:00:00Z"}],
}

# Values of template fields, and what the message must say.
TEMPLATE_FIELDS = {
    "a naive start": (
        {"window_start": "2026-01-31T11:00:00", "window_end": "2026-01-31T12:00:00Z"},
        ["window_start='2026-01-31T11:00:00'", "no time zone", "Add an offset"],
    ),
    "a naive end": (
        {"window_end": "2026-01-31 12:00:00"},
        ["window_end='2026-01-31 12:00:00'", "no time zone", "Add an offset"],
    ),
    "an end that is no time": ({"window_end": "tomorrow"}, ["window_end='tomorrow'", "Give one such as"]),
    "a start that rendered to None": ({"window_start": "None"}, ["window_start rendered to 'None'", "empty string"]),
    "a reversed window": (
        {"window_start": "2026-01-31T12:00:00Z", "window_end": "2026-01-31T11:00:00Z"},
        ["2026-01-31T12:00:00Z/2026-01-31T11:00:00Z is reversed", "start must be before its end"],
    ),
    "an empty window": (
        {"window_start": "2026-01-31T12:00:00Z", "window_end": "2026-01-31T13:00:00+01:00"},
        ["2026-01-31T12:00:00Z/2026-01-31T12:00:00Z is empty", "start must be before its end"],
    ),
    "three filters": (
        filters(equal("DICOMPatientId"), equal("DICOMStudyId"), equal("DICOMAccessionNumber")),
        ["1 or 2 filters, not 3", "Use match for further conditions"],
    ),
    "no filters": (filters(), ["1 or 2 filters, not 0", "Leave 'filters' out"]),
    "two filters beside the window": (
        filters(equal("DICOMPatientId"), equal("DICOMStudyId")),
        ["2 filters (DICOMPatientId, DICOMStudyId)", "Move one to match"],
    ),
    "a time filter beside the window": (
        filters(BETWEEN_TIMES),
        ["filters on createdAt, and so does the window on createdAt", "set time_field=None"],
    ),
    "an unknown attribute": (
        filters(equal("DICOMPatientID")),
        ["Unknown attribute in search_criteria filters[0]. Did you mean 'DICOMPatientId'"],
    ),
    "an unknown operator": (
        filters({"operator": "EQUALS", "values": [{"DICOMPatientId": CANARY}]}),
        ["operator", "Did you mean 'EQUAL'"],
    ),
    "a range of something without order": (
        filters({"operator": "BETWEEN", "values": [{"DICOMPatientId": CANARY}, {"DICOMPatientId": CANARY}]}),
        ["BETWEEN works on createdAt", "use EQUAL for DICOMPatientId"],
    ),
    "an unknown sort field": (
        {"search_criteria": {"sort": {"sortField": "createAt", "sortOrder": "ASC"}}},
        ["sortField", "Did you mean 'createdAt'"],
    ),
    "criteria that are not JSON": (
        {"search_criteria": "{'filters': [{'DICOMPatientId': '" + CANARY + "'}]}"},
        ["search_criteria is a string that is not JSON", "tojson"],
    ),
    "a match that is not JSON": ({"match": f"modality={CANARY}"}, ["match is a string that is not JSON", "tojson"]),
    "a match on an unknown field": (
        {"match": {"SeriesModality": CANARY}},
        ["Unknown field in match. Did you mean 'DICOMSeriesModality'"],
    ),
    "a page of 51": ({"pagination_config": {"PageSize": 51}}, ["PageSize=51", "from 1 to 50"]),
    "no items at most": ({"pagination_config": {"MaxItems": 0}}, ["MaxItems=0", "of 1 or more"]),
    "a malformed data store id": ({"datastore_id": "D" * 32}, ["'" + "D" * 32 + "'", "32 characters of 0-9 and a-z"]),
    "an empty data store id": ({"datastore_id": ""}, ["datastore_id=''", "32 characters of 0-9 and a-z"]),
    "an S3 address without a bucket": (
        {"s3_uri": "s3:///prefix/"},
        ["s3_uri='s3:///prefix/'", "'s3://bucket/prefix/'"],
    ),
    "an S3 address that is a path": ({"s3_uri": "bucket/prefix"}, ["s3_uri='bucket/prefix'", "'s3://bucket/prefix/'"]),
    "an unknown tag": ({"dicom_tags": ["DICOMPatientNme"]}, ["Unknown DICOM tag. Did you mean 'DICOMPatientName'"]),
    "tags in one string": ({"dicom_tags": "DICOMStudyId"}, ["list of tag names or 'all', not a str"]),
    "tags with values": ({"dicom_tags": {"DICOMPatientId": CANARY}}, ["list of tag names or 'all', not a dict"]),
    "a value in the place of a tag": ({"dicom_tags": [CANARY]}, ["Unknown DICOM tag. Known: DICOMAccessionNumber"]),
    "a value in the place of all tags": ({"dicom_tags": CANARY}, ["list of tag names or 'all', not a str"]),
}

# Values of template fields that are no text.
OBJECTS = {
    "a naive datetime": (
        {"window_start": datetime(2026, 1, 31)},  # noqa: DTZ001
        ["window_start='2026-01-31 00:00:00'", "no time zone", "Add an offset"],
    ),
    "a number for a time": ({"window_end": 1769860800}, ["window_end is a int", "Give an aware datetime"]),
    "a reversed window of datetimes": (
        {"window_start": NOON, "window_end": NOON - HOUR},
        ["is reversed", "before its end"],
    ),
    "edges without a time field": (
        {"time_field": None, "window_start": NOON},
        ["need a time_field", "'createdAt' or 'updatedAt'"],
    ),
    "two time filters": (
        {"time_field": None}
        | filters(BETWEEN_TIMES, {"operator": "EQUAL", "values": [{"updatedAt": "2026-01-01T00:00:00Z"}]}),
        ["two time filters", "Keep one"],
    ),
    "batches in S3": ({"batch_size": 2, "s3_uri": "s3://bucket/"}, ["batch_size is for XCom", "Give only one of them"]),
}

# Arguments that are not template fields.
OTHERS = {
    "an unknown time field": ({"time_field": "created_at"}, ["'created_at'", "Did you mean 'createdAt'"]),
    "a batch of none": ({"batch_size": 0}, ["batch_size=0", "whole number of 1 or more"]),
    "a batch of half": ({"batch_size": 0.5}, ["batch_size=0.5", "whole number of 1 or more"]),
    "no XCom items": ({"max_xcom_items": 0}, ["max_xcom_items=0", "of 1 or more"]),
    "no rows in a file": ({"rows_per_file": -1}, ["rows_per_file=-1", "of 1 or more"]),
    "a lookback into the future": (
        {"lookback": -HOUR},
        ["lookback=", "a datetime.timedelta or a number of seconds, zero or more"],
    ),
    "a lookback of an infinite time": ({"lookback": math.inf}, ["lookback=inf", "is too long"]),
    "a lookback of the longest timedelta": ({"lookback": timedelta.max}, ["is too long"]),
    "a lookback in text": ({"lookback": "60 s"}, ["lookback='60 s'", "a number of seconds"]),
    "a delay in the past": ({"delay": -HOUR}, ["delay=", "a datetime.timedelta or a number of seconds, zero or more"]),
    "a deferrable that is neither": ({"deferrable": "maybe"}, ["deferrable must be true or false"]),
    "an unknown on_empty": ({"on_empty": "skipped"}, ["'skipped'", "Did you mean 'skip'"]),
}


@pytest.fixture
def no_call(store, server):
    """Fail where HealthImaging was asked anything."""
    yield
    assert list(server.calls) == []


def render_to(task, values):
    """Do to a task what rendering does, for values that no template needs to be written for."""
    for name, given in values.items():
        value = given
        if name in {"search_criteria", "match"}:
            value = MaskedValue(given, rendered=True)
        setattr(task, name, value)


def assert_told(error, says, all_text):
    message = str(error)
    assert [words for words in says if words not in message] == []
    assert CANARY not in all_text(error)


@pytest.mark.parametrize("case", OTHERS)
def test_an_argument_that_cannot_work_is_an_error_when_the_dag_is_parsed(case, no_call, all_text):
    arguments, says = OTHERS[case]
    with pytest.raises(InvalidArgumentError) as caught:
        operator(**arguments)
    assert_told(caught.value, says, all_text)


@pytest.mark.parametrize("case", TEMPLATE_FIELDS | OBJECTS)
def test_a_template_field_that_cannot_work_fails_the_task_at_once(case, no_call, all_text):
    arguments, says = (TEMPLATE_FIELDS | OBJECTS)[case]
    task = operator(**arguments)
    with pytest.raises(AirflowFailException) as caught:
        task.execute(CONTEXT)
    assert isinstance(caught.value, InvalidArgumentError)
    assert_told(caught.value, says, all_text)


@pytest.mark.parametrize("case", TEMPLATE_FIELDS)
def test_a_template_that_renders_to_what_cannot_work_fails_the_task_at_once(case, no_call, all_text):
    arguments, says = TEMPLATE_FIELDS[case]
    task = operator(**{name: "{{ params." + name + " }}" for name in arguments})
    render_to(task, arguments)
    with pytest.raises(AirflowFailException) as caught:
        task.execute(CONTEXT)
    assert isinstance(caught.value, HealthImagingError)
    assert_told(caught.value, says, all_text)


@pytest.mark.parametrize(
    "case", [case for case, (arguments, _) in TEMPLATE_FIELDS.items() if "window_end" not in arguments]
)
def test_what_cannot_work_fails_before_the_window_is_waited_for(case, no_call):
    arguments, says = TEMPLATE_FIELDS[case]
    task = operator(deferrable=True, **dict.fromkeys(arguments, "{{ template }}"))
    render_to(task, arguments)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with pytest.raises(AirflowFailException, match=re.escape(says[0])):
        task.execute({"data_interval_start": tomorrow - HOUR, "data_interval_end": tomorrow})


@pytest.mark.parametrize(
    ("template", "params", "says"),
    [
        ({"window_start": "{{ params.day }}T00:00:00"}, {"day": "2026-01-31"}, "window_start='2026-01-31T00:00:00'"),
        ({"window_start": "{{ params.nothing }}"}, {"nothing": None}, "window_start rendered to 'None'"),
        ({"datastore_id": "{{ params.id }}"}, {"id": "d" * 31}, "datastore_id='" + "d" * 31 + "' is malformed"),
        ({"search_criteria": "{{ params.criteria }}"}, {"criteria": {"filters": [CANARY]}}, "is not JSON"),
        (
            {"search_criteria": {"filters": [equal("DICOMStudyInstanceUID", "{{ params.uid }}")]}},
            {"uid": CANARY},
            "DICOMStudyInstanceUID must be a DICOM UID",
        ),
        ({"pagination_config": {"PageSize": "{{ params.size }}"}}, {"size": 51}, "PageSize='51'"),
        ({"s3_uri": "{{ params.to }}"}, {"to": "/tmp/x"}, "s3_uri='/tmp/x' names no bucket"),
        (
            {"dicom_tags": ["{{ params.tag }}"]},
            {"tag": "PatientName"},
            "Unknown DICOM tag. Did you mean 'DICOMPatientName'",
        ),
        ({"dicom_tags": "{{ params.tags }}"}, {"tags": CANARY}, "dicom_tags must be a list of tag names or 'all'"),
    ],
)
def test_what_airflow_renders_is_checked_before_any_call(template, params, says, no_call, all_text):
    task = operator(**template)
    task.render_template_fields({"params": params})
    with pytest.raises(AirflowFailException) as caught:
        task.execute(CONTEXT)
    assert_told(caught.value, [says], all_text)


@pytest.mark.parametrize("unknown", ["search_criterias", "aws_connid", "retry", "tas_group", "xyzzy"])
@pytest.mark.parametrize("inner", ["_search_criteria", "_match", "args", "kwargs", "context", "arguments"])
def test_an_unknown_argument_is_named_without_its_value(unknown, inner, no_call, all_text):
    class Own(HealthImagingSearchImageSetsOperator):
        def __init__(self, **arguments):
            super().__init__(**arguments)

    for kind in (HealthImagingSearchImageSetsOperator, Own):
        with pytest.raises(InvalidArgumentError) as caught:
            kind(task_id="search", datastore_id=DATASTORE_ID, **{unknown: CANARY, inner: CANARY})
        assert_told(caught.value, [f"{kind.__name__} has no argument", unknown, inner], all_text)


def test_what_airflow_gives_by_itself_is_known(no_call):
    class Own(HealthImagingSearchImageSetsOperator):
        def __init__(self, *, study, **arguments):
            super().__init__(**arguments)

    with (
        DAG("known", schedule=None, start_date=NOON, default_args={"retries": 2}, params={"a": 1}) as dag,
        TaskGroup("group") as group,
    ):
        task = Own(
            task_id="search", datastore_id=DATASTORE_ID, study="1", params={"b": 2}, default_args={"owner": "me"}
        )
        other = Own(
            task_id="other", datastore_id=DATASTORE_ID, study="1", dag=dag, task_group=group, trigger_rule="all_done"
        )

    assert (task.retries, task.owner, other.retries) == (2, "me", 2)


def test_a_template_is_not_taken_for_its_value_when_the_dag_is_parsed(no_call):
    fields = ("datastore_id", "window_start", "window_end", "search_criteria", "match", "s3_uri", "dicom_tags")
    operator(
        **dict.fromkeys(fields, "{{ ti.xcom_pull('before') }}"), pagination_config={"PageSize": "{{ var.value.size }}"}
    )
