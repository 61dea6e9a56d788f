"""A request is parsed once, cannot change, and shows no search value."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.request import SearchRequest
from airflow_provider_healthimaging.window import TimeWindow

DATASTORE_ID = "d" * 32
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = TimeWindow(NOON, NOON + timedelta(hours=1))
CANARY = "CANARY-4711"
PATIENT = {"filters": [{"operator": "EQUAL", "values": [{"DICOMPatientId": CANARY}]}]}


def equal(*attributes):
    return {"filters": [{"operator": "EQUAL", "values": [{attribute: "1"}]} for attribute in attributes]}


def test_a_request_shows_no_search_value():
    request = SearchRequest.parse(DATASTORE_ID, window=HOUR, search_criteria=PATIENT, match={"DICOMStudyId": CANARY})
    assert CANARY not in f"{request!r} {request}"
    assert DATASTORE_ID in repr(request)


def test_a_request_cannot_change():
    request = SearchRequest.parse(DATASTORE_ID)
    assert request.max_workers == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.datastore_id = "e" * 32


def test_criteria_may_be_json_text_and_numbers_may_be_text():
    request = SearchRequest.parse(
        DATASTORE_ID,
        search_criteria='{"filters": [{"operator": "EQUAL", "values": [{"isPrimary": "True"}]}]}',
        pagination_config='{"MaxItems": "7"}',
        max_workers="3",
    )
    assert request.search_criteria["filters"][0]["values"] == [{"isPrimary": True}]
    assert (request.pagination_config, request.max_workers) == ({"MaxItems": 7}, 3)


def test_the_window_is_the_first_filter_and_sets_the_order():
    request = SearchRequest.parse(DATASTORE_ID, window=HOUR, time_field="updatedAt", search_criteria=PATIENT)
    criteria = request.service_criteria()
    assert [next(iter(each["values"][0])) for each in criteria["filters"]] == ["updatedAt", "DICOMPatientId"]
    assert (request.sort_field, request.ascending) == ("updatedAt", True)
    assert request.filtered_attributes == ["DICOMPatientId"]


def test_without_a_window_the_order_is_the_callers():
    sort = {"sort": {"sortField": "updatedAt", "sortOrder": "DESC"}}
    request = SearchRequest.parse(DATASTORE_ID, search_criteria=sort)
    assert (request.sort_field, request.ascending) == ("updatedAt", False)


def test_another_window_is_another_request():
    request = SearchRequest.parse(DATASTORE_ID, search_criteria=PATIENT)
    assert request.with_window(HOUR).window == HOUR
    assert request.with_window(HOUR).with_window(None) == request


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"datastore_id": "arrivals"}, "malformed"),
        ({"window": HOUR, "time_field": None}, r"^A window needs a time_field: 'createdAt' or 'updatedAt'\.$"),
        ({"window": (NOON, NOON)}, r"^window must be a TimeWindow, not tuple\.$"),
        ({"time_field": "created"}, "Unknown time_field"),
        ({"window": HOUR, "search_criteria": equal("DICOMStudyId", "DICOMPatientId")}, "the window needs one of"),
        ({"max_workers": 0}, "max_workers=0"),
        ({"match": {"Modality": "CT"}}, "Unknown field in match"),
    ],
)
def test_what_cannot_be_searched_is_an_error_when_it_is_parsed(arguments, says):
    with pytest.raises(InvalidArgumentError, match=says):
        SearchRequest.parse(**{"datastore_id": DATASTORE_ID, **arguments})


def test_a_window_that_leaves_no_filter_is_an_error_when_it_is_set():
    request = SearchRequest.parse(DATASTORE_ID, search_criteria=equal("DICOMStudyId", "DICOMPatientId"))
    with pytest.raises(InvalidArgumentError, match="the window needs one of"):
        request.with_window(HOUR)
