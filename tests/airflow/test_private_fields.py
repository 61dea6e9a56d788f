"""``search_criteria`` and ``match`` stay masked whoever sets them, and no word of a template that fails is shown."""

from __future__ import annotations

import copy
import inspect
import json
import logging
import re
import traceback
import uuid
from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator, XComArg, task

from airflow_provider_healthimaging.exceptions import (
    InvalidArgumentError,
    RenderingFailedError,
    UndeterminedWindowError,
)
from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.privacy.masking import MaskedValue
from airflow_provider_healthimaging.task.private_fields import PrivateFields

from .evidence import AIRFLOW_3_0, NOON, criteria, kept_by_airflow, of_the_task
from .places import DATASTORE_ID

PATIENT = "{{ var.value.canary }}"
FAILING = {
    "a name that is undefined beside a value": {"DICOMPatientId": "CANARY", "DICOMStudyId": "{{ nope }}"},
    "a value for a key": {"DICOMPatientId": "{{ {'a': 1}[var.value.canary] }}"},
    "an attribute of a value": {"DICOMPatientId": "{{ var.value.canary.nope.nope }}"},
    "a value that is no date": {"DICOMStudyDate": "{{ macros.datetime.fromisoformat(var.value.canary) }}"},
    "a value that is no number": {"DICOMSeriesNumber": "{{ macros.json.loads(var.value.canary) }}"},
    "a filter for times": {"DICOMStudyDate": "{{ var.value.canary | ds }}"},
    "a template that is no Jinja": {"DICOMPatientId": "CANARY", "DICOMStudyId": "{{ var.value.canary | }}"},
}
PASSING = {"DICOMPatientId": "CANARY", "DICOMAccessionNumber": "{{ var.value.not_there }}"}


@pytest.fixture
def canary(monkeypatch, store):
    value = f"canary{uuid.uuid4().hex}"
    monkeypatch.setenv("AIRFLOW_VAR_CANARY", value)
    monkeypatch.setattr(logging.getLogger("airflow.task"), "propagate", True)
    store.put_image_set(DATASTORE_ID, created_at=NOON - timedelta(minutes=10), dicom_tags={"DICOMPatientId": value})
    store.put_image_set(DATASTORE_ID, created_at=NOON - timedelta(minutes=20), dicom_tags={"DICOMPatientId": "other"})
    return value


@pytest.fixture
def shown(canary, capfd, caplog, failures, all_text):
    """``shown()`` returns the places where the canary is, in what Airflow keeps, logs and tells of errors."""

    def look(but=()):
        captured = capfd.readouterr()
        printed = "\n".join(of_the_task(captured.out + captured.err))
        told = "\n".join(all_text(error) + variables(error) for error in (*failures, *failures.retried))
        places = [*kept_by_airflow(), ("printed", printed.encode()), ("told", told.encode())]
        places.append(("logged", "\n".join(of_the_task(caplog.text)).encode()))
        refusals = (b"cannot be rendered", b"were not rendered")
        assert any(each in content for _, content in places for each in refusals) or not failures
        return [name for name, content in places if canary.encode() in content and not name.startswith(tuple(but))]

    return look


def variables(error):
    """Return what services that collect errors are sent of the frames; what is in the context is Airflow's to show."""
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)]
    return "\n".join(repr(value) for each in frames for name, value in each.items() if "context" not in name)


@pytest.fixture
def hourly(request):
    return DAG(
        re.sub(r"\W", "_", request.node.name), schedule="@hourly", start_date=NOON - timedelta(days=1), catchup=False
    )


SEARCH = {"task_id": "search", "retry_delay": timedelta(0)}


def unmapped(**arguments):
    return HealthImagingSearchImageSetsOperator(**SEARCH, datastore_id=DATASTORE_ID, **arguments)


def mapped(**arguments):
    return HealthImagingSearchImageSetsOperator.partial(**SEARCH, **arguments).expand(datastore_id=[DATASTORE_ID])


KEPT_BY_AIRFLOW = {
    unmapped: (),
    mapped: ("airflow.db", "serialized_dag", *(["printed"] if AIRFLOW_3_0 else [])),
}
"""Where Airflow keeps the arguments of mapped tasks as they are given; 3.0 prints the variables of its frames, too."""


@pytest.mark.parametrize("make", [unmapped, mapped])
@pytest.mark.parametrize("case", FAILING)
def test_a_template_that_fails_for_good_fails_the_task_at_once_and_shows_nothing(
    canary, hourly, run_dag, failures, shown, case, make
):
    match = json.loads(json.dumps(FAILING[case]).replace("CANARY", canary))
    with hourly:
        make(match=match, retries=1, **failures.callbacks)

    run = run_dag(hourly, NOON)

    assert run.states("search") == ["failed"]
    assert [isinstance(error, InvalidArgumentError) for error in (*failures, *failures.retried)] == [True]
    assert "A template in match cannot be rendered: " in str(failures[0])
    assert shown(but=KEPT_BY_AIRFLOW[make]) == []


@pytest.mark.parametrize("make", [unmapped, mapped])
def test_a_template_whose_variable_is_not_there_yet_takes_the_retries_and_shows_nothing(
    canary, hourly, run_dag, failures, shown, make
):
    value = json.dumps({"filters": [], "sort": PASSING}).replace("CANARY", canary)
    with hourly:
        make(search_criteria=json.loads(value), retries=1, **failures.callbacks)

    run_dag(hourly, NOON)

    assert [type(error) for error in (*failures.retried, *failures)] == [RenderingFailedError] * 2
    assert "search_criteria cannot be rendered: " in str(failures[0])
    assert "no Variable 'not_there'" in str(failures[0])
    assert shown(but=KEPT_BY_AIRFLOW[make]) == []


class Late(HealthImagingSearchImageSetsOperator):
    """Knows whom to search for only after its base was made."""

    def __init__(self, patient, **arguments):
        super().__init__(**arguments)
        self.search_criteria = criteria("DICOMPatientId", patient)


def test_what_a_subclass_or_a_policy_sets_later_is_searched_for_and_shown_nowhere(canary, hourly, run_dag, shown):
    with hourly:
        Late(task_id="literal", datastore_id=DATASTORE_ID, patient=canary)
        Late(task_id="template", datastore_id=DATASTORE_ID, patient=PATIENT)
        by_policy = unmapped()
    by_policy.match = {"DICOMPatientId": [canary]}

    run = run_dag(hourly, NOON)

    assert [len(run.xcom(name)) for name in ("literal", "template", "search")] == [1, 1, 1]
    assert shown() == []


def test_what_is_mapped_over_is_masked_where_it_is_rendered(canary, hourly, run_dag, shown):
    patients = [criteria("DICOMPatientId", each) for each in (PATIENT, "other")]
    with hourly:
        HealthImagingSearchImageSetsOperator.partial(**SEARCH, datastore_id=DATASTORE_ID).expand(
            search_criteria=patients
        )

    run = run_dag(hourly, NOON)

    assert [len(run.xcom("search", map_index=index)) for index in (0, 1)] == [1, 1]
    assert shown() == []


def test_what_another_task_gives_to_a_mapped_one_is_not_taken_for_a_template(canary, hourly, run_dag):
    @task
    def items():
        return [criteria("DICOMPatientId", PATIENT)]

    with hourly:
        HealthImagingSearchImageSetsOperator.partial(**SEARCH, datastore_id=DATASTORE_ID).expand(
            search_criteria=items()
        )

    assert run_dag(hourly, NOON).xcom("search", map_index=0) == []


@pytest.mark.parametrize("malformed", [{"filters": ["CANARY"]}, {"CANARY": 7}, '{"filters": CANARY'])
def test_a_malformed_item_of_a_mapped_task_fails_at_once_and_shows_nothing(
    canary, hourly, run_dag, failures, all_text, malformed
):
    @task
    def items():
        return [json.loads(json.dumps(malformed).replace("CANARY", canary))]

    with hourly:
        HealthImagingSearchImageSetsOperator.partial(
            **SEARCH, datastore_id=DATASTORE_ID, retries=1, **failures.callbacks
        ).expand(search_criteria=items())

    run = run_dag(hourly, NOON)

    assert run.states("search") == ["failed"]
    assert [isinstance(error, InvalidArgumentError) for error in (*failures, *failures.retried)] == [True]
    assert "search_criteria" in str(failures[0])
    assert canary not in all_text(failures[0]) + variables(failures[0])


def test_a_misspelt_argument_of_a_mapped_task_is_named_without_its_value(canary, all_text):
    with pytest.raises(InvalidArgumentError, match="has no argument search_criterias") as caught:
        unmapped(search_criterias=canary, _airflow_from_mapped=True).execute({})

    assert canary not in all_text(caught.value)


def test_another_tasks_output_that_is_set_later_comes_before(hourly):
    class Later(HealthImagingSearchImageSetsOperator):
        def __init__(self, given, **arguments):
            super().__init__(**arguments)
            self.match = given

    @task
    def before():
        return {}

    with hourly:
        in_init = Later(task_id="in_init", datastore_id=DATASTORE_ID, given=before())
        after_it = unmapped()
        after_it.search_criteria = {"filters": before()}

    assert in_init.upstream_task_ids == {"before"}
    assert after_it.upstream_task_ids == {"before__1"}
    assert isinstance(in_init.match.value, XComArg)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_task_is_rendered_without_touching_the_original(copied):
    original = unmapped(match={"DICOMStudyId": "{{ params.study }}"})
    task_of_a_run = copied(original)

    task_of_a_run.render_template_fields({"params": {"study": "4711"}})

    assert task_of_a_run.match.value == {"DICOMStudyId": "4711"}
    assert original.match.value == {"DICOMStudyId": "{{ params.study }}"}
    assert isinstance(task_of_a_run.match, MaskedValue)


def test_what_a_template_rendered_to_is_not_rendered_again(hourly):
    with hourly:
        search = unmapped(match={"DICOMStudyId": "{{ params.study }}"})

    search.render_template_fields({"params": {"study": "{{ params.other }}"}})

    assert search.match.value == {"DICOMStudyId": "{{ params.other }}"}


def test_an_error_of_the_provider_in_a_template_stays_what_it_is(hourly):
    def refuse():
        raise UndeterminedWindowError("the run has no window")

    with hourly:
        search = unmapped(match={"DICOMStudyId": "{{ params.refuse() }}"})
    with pytest.raises(UndeterminedWindowError, match="the run has no window"):
        search.render_template(search.match, {"params": {"refuse": refuse}})


def test_a_field_that_was_not_set_is_missing_as_any_attribute():
    assert not hasattr(object.__new__(HealthImagingSearchImageSetsOperator), "match")
    assert not hasattr(HealthImagingSearchImageSetsOperator, "match")


def test_a_dag_of_native_objects_renders_to_those():
    with DAG("native", start_date=NOON, schedule=None, render_template_as_native_obj=True):
        search = unmapped(match={"DICOMSeriesNumber": "{{ params.number }}"})

    search.render_template_fields({"params": {"number": 7}})

    assert search.match.value == {"DICOMSeriesNumber": 7}


@pytest.mark.parametrize("make", [unmapped, mapped])
def test_a_task_refuses_to_run_if_the_guard_of_its_templates_was_not_called(
    canary, hourly, run_dag, failures, shown, make, monkeypatch
):
    """As on a version of Airflow that renders templates in another way."""
    monkeypatch.delattr(PrivateFields, "render_template")
    match = {"DICOMPatientId": canary, "DICOMStudyId": "{{ nope }}"}
    with hourly:
        make(match=match, retries=1, **failures.callbacks)

    run = run_dag(hourly, NOON)

    assert run.states("search") == ["failed"]
    assert [type(error).__name__ for error in (*failures, *failures.retried)] == ["ConfigurationError"]
    assert "The templates in match were not rendered" in str(failures[0])
    assert shown(but=KEPT_BY_AIRFLOW[make]) == []


def test_airflow_has_the_method_that_the_guard_overrides():
    assert "render_template" in dir(BaseOperator)
    assert list(inspect.signature(BaseOperator.render_template).parameters)[:3] == ["self", "content", "context"]
