"""searchCriteria: what the service takes passes, what it would refuse is refused here, and no value is ever shown."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_healthimaging.exceptions import InvalidArgumentError
from airflow_provider_healthimaging.search.criteria import (
    build_request_criteria,
    check_filter_slot_free,
    parse_criteria,
)
from airflow_provider_healthimaging.search.validation import check_time_field
from airflow_provider_healthimaging.window import TimeWindow

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
WINDOW = TimeWindow(NOON, NOON + timedelta(hours=1))
CANARY = "CANARY-4711"

CONTENTS = {
    "DICOMPatientId": "p1",
    "DICOMAccessionNumber": "a1",
    "DICOMStudyId": "s1",
    "DICOMStudyInstanceUID": "1.2.3",
    "DICOMSeriesInstanceUID": "1.2.4",
    "createdAt": NOON,
    "updatedAt": NOON,
    "DICOMStudyDateAndTime": {"DICOMStudyDate": "20260131", "DICOMStudyTime": "120000"},
    "isPrimary": True,
}
RANGES = ("createdAt", "updatedAt", "DICOMStudyDateAndTime")


def equal(attribute, content=None):
    content = CONTENTS[attribute] if content is None else content
    return {"operator": "EQUAL", "values": [{attribute: content}]}


def between(attribute, lower=None, upper=None):
    lower, upper = (CONTENTS[attribute] if each is None else each for each in (lower, upper))
    return {"operator": "BETWEEN", "values": [{attribute: lower}, {attribute: upper}]}


# What is taken


@pytest.mark.parametrize("attribute", CONTENTS)
def test_every_attribute_of_the_api_can_be_asked_for(attribute):
    criteria = {"filters": [equal(attribute)]}
    assert parse_criteria(criteria) == criteria


@pytest.mark.parametrize("attribute", RANGES)
def test_the_three_attributes_with_an_order_take_a_range(attribute):
    criteria = {"filters": [between(attribute)]}
    assert parse_criteria(criteria) == criteria


@pytest.mark.parametrize("order", ["ASC", "DESC"])
@pytest.mark.parametrize("field", RANGES)
def test_every_sort_of_the_api_is_taken(field, order):
    criteria = {"sort": {"sortField": field, "sortOrder": order}}
    assert parse_criteria(criteria) == criteria
    assert build_request_criteria(criteria, None, None) == criteria


@pytest.mark.parametrize("nothing", [None, "", "  ", {}, "{}", {"filters": None, "sort": None}])
def test_no_criteria_means_everything(nothing):
    assert parse_criteria(nothing) == {}


def test_json_text_is_read_and_its_times_become_utc():
    text = json.dumps({"filters": [equal("createdAt", "2026-01-31T13:00:00+01:00"), equal("DICOMPatientId")]})
    assert parse_criteria(text) == {"filters": [equal("createdAt", NOON), equal("DICOMPatientId")]}
    parsed = parse_criteria({"filters": [equal("updatedAt", NOON.astimezone(timezone(timedelta(hours=9))))]})
    assert parsed["filters"][0]["values"][0]["updatedAt"].tzinfo is UTC


@pytest.mark.parametrize(("text", "truth"), [("true", True), ("False", False), (True, True), (False, False)])
def test_a_template_may_render_is_primary_as_text(text, truth):
    criteria = {"filters": [{"operator": "EQUAL", "values": [{"isPrimary": text}]}]}
    assert parse_criteria(criteria)["filters"][0]["values"] == [{"isPrimary": truth}]


def test_what_was_given_is_left_as_it_was():
    given_ = {"filters": [equal("createdAt", "2026-01-31T13:00:00+01:00")]}
    before = json.dumps(given_)
    build_request_criteria(parse_criteria(given_), None, None)
    assert json.dumps(given_) == before


# What is refused

REFUSED = {
    "three filters": (
        {"filters": [equal("DICOMPatientId"), equal("DICOMStudyId"), equal("isPrimary")]},
        "1 or 2 filters, not 3",
    ),
    "empty filters": ({"filters": []}, "not 0. Leave 'filters' out"),
    "filters that are no list": ({"filters": equal("DICOMPatientId")}, "not dict"),
    "two filters on one attribute": (
        {"filters": [equal("DICOMStudyId"), equal("DICOMStudyId", "s2")]},
        "two filters on DICOMStudyId",
    ),
    "an unknown key": ({"filter": []}, "Did you mean 'filters'"),
    "an unknown attribute": (
        {"filters": [{"operator": "EQUAL", "values": [{"DICOMPatientID": "x"}]}]},
        "Did you mean 'DICOMPatientId'",
    ),
    "modality, which cannot be filtered on": (
        {"filters": [{"operator": "EQUAL", "values": [{"DICOMSeriesModality": "CT"}]}]},
        "the service cannot filter on DICOMSeriesModality. Remove the filter, and use match",
    ),
    "a tag without its prefix": (
        {"filters": [{"operator": "EQUAL", "values": [{"StudyDate": "20260101"}]}]},
        "Did you mean 'DICOMStudyDateAndTime'",
    ),
    "a tag without its prefix, which cannot be filtered on": (
        {"filters": [{"operator": "EQUAL", "values": [{"BodyPartExamined": "CHEST"}]}]},
        "the service cannot filter on DICOMSeriesBodyPart.",
    ),
    "an attribute without filters": ({"DICOMPatientId": "x"}, 'Write {"filters": [{"operator": "EQUAL"'),
    "an unknown operator": (
        {"filters": [{"operator": "EQUALS", "values": [{"DICOMPatientId": "x"}]}]},
        "Did you mean 'EQUAL'",
    ),
    "an operator in lower case": (
        {"filters": [{"operator": "between", "values": [{"createdAt": NOON}] * 2}]},
        "Known: BETWEEN, EQUAL",
    ),
    "an unknown sort field": ({"sort": {"sortField": "createAt", "sortOrder": "ASC"}}, "Did you mean 'createdAt'"),
    "an unknown sort order": ({"sort": {"sortField": "createdAt", "sortOrder": "ASCENDING"}}, "Known: ASC, DESC"),
    "a sort without an order": ({"sort": {"sortField": "createdAt"}}, "must have 'sortField' and 'sortOrder'"),
    "a range of patients": ({"filters": [between("DICOMPatientId")]}, "use EQUAL for DICOMPatientId"),
    "a range over two attributes": (
        {"filters": [{"operator": "BETWEEN", "values": [{"createdAt": NOON}, {"updatedAt": NOON}]}]},
        "must have the same attribute",
    ),
    "a reversed range": (
        {"filters": [between("createdAt", NOON, NOON - timedelta(seconds=1))]},
        "later than the second",
    ),
    "a range with one end": (
        {"filters": [{"operator": "BETWEEN", "values": [{"createdAt": NOON}]}]},
        "exactly 2 value",
    ),
    "two values to equal": (
        {"filters": [{"operator": "EQUAL", "values": [{"DICOMStudyId": "a"}, {"DICOMStudyId": "b"}]}]},
        "exactly 1 value",
    ),
    "no values": ({"filters": [{"operator": "EQUAL", "values": []}]}, "exactly 1 value"),
    "two attributes in one value": (
        {"filters": [{"operator": "EQUAL", "values": [{"DICOMStudyId": "a", "DICOMPatientId": "b"}]}]},
        "exactly one attribute",
    ),
    "a filter without an operator": ({"filters": [{"values": [{"DICOMStudyId": "a"}]}]}, "'operator' and 'values'"),
    "a naive time": ({"filters": [equal("createdAt", NOON.replace(tzinfo=None))]}, "datetime with a time zone"),
    "a naive ISO time": ({"filters": [equal("updatedAt", "2026-01-31T12:00:00")]}, "datetime with a time zone"),
    "a UID with letters": ({"filters": [equal("DICOMStudyInstanceUID", "1.2.x")]}, "digits and dots"),
    "an empty UID": ({"filters": [equal("DICOMSeriesInstanceUID", "")]}, "digits and dots"),
    "a patient id that is too long": ({"filters": [equal("DICOMPatientId", "x" * 513)]}, "at most 512"),
    "a number for a patient id": ({"filters": [equal("DICOMPatientId", 4711)]}, "must be a string"),
    "an isPrimary that is neither": ({"filters": [equal("isPrimary", "yes")]}, "true or false"),
    "a study time without a date": (
        {"filters": [equal("DICOMStudyDateAndTime", {"DICOMStudyTime": "12"})]},
        "must have 'DICOMStudyDate'",
    ),
    "text that is not JSON": ("{'filters': []}", "not JSON"),
    "JSON that is no object": ("[]", "must be a JSON object, not a list"),
    "a list": ([], "must be a JSON object, not a list"),
}


@pytest.mark.parametrize("criteria", [each for each, _ in REFUSED.values()], ids=REFUSED)
def test_what_the_service_would_refuse_is_refused_before_it_is_asked(criteria):
    says = next(says for each, says in REFUSED.values() if each is criteria)
    with pytest.raises(InvalidArgumentError) as caught:
        parse_criteria(criteria)
    assert says in str(caught.value)


@pytest.mark.parametrize("time_field", ["createdAt", "updatedAt"])
@pytest.mark.parametrize("attribute", ["createdAt", "updatedAt"])
def test_a_time_filter_beside_a_window_is_refused_with_both_ways_out(attribute, time_field):
    with pytest.raises(InvalidArgumentError, match="Remove the filter, or set time_field=None") as caught:
        build_request_criteria({"filters": [between(attribute)]}, WINDOW, time_field)
    assert f"filters on {attribute}, and so does the window on {time_field}" in str(caught.value)


def test_two_filters_beside_a_window_are_refused_with_both_ways_out():
    with pytest.raises(InvalidArgumentError, match="Move one to match, or set time_field=None") as caught:
        build_request_criteria({"filters": [equal("DICOMStudyId"), equal("isPrimary")]}, WINDOW, "createdAt")
    assert "2 filters (DICOMStudyId, isPrimary)" in str(caught.value)


def test_two_time_filters_are_refused_without_a_window_too():
    criteria = {"filters": [between("createdAt"), between("updatedAt")]}
    with pytest.raises(InvalidArgumentError, match="two time filters"):
        build_request_criteria(criteria, None, None)
    with pytest.raises(InvalidArgumentError, match="so does the window"):
        build_request_criteria(criteria, WINDOW, "createdAt")


# Joined with a window


@pytest.mark.parametrize("time_field", ["createdAt", "updatedAt"])
def test_a_window_is_one_filter_within_its_server_bounds_oldest_first(time_field):
    lower, upper = WINDOW.query_bounds()
    criteria = {"filters": [equal("DICOMPatientId")], "sort": {"sortField": "updatedAt", "sortOrder": "DESC"}}
    assert build_request_criteria(criteria, WINDOW, time_field) == {
        "filters": [between(time_field, lower, upper), equal("DICOMPatientId")],
        "sort": {"sortField": time_field, "sortOrder": "ASC"},
    }


def test_the_order_is_never_left_to_the_service():
    assert build_request_criteria({}, None, None) == {"sort": {"sortField": "createdAt", "sortOrder": "ASC"}}
    assert (
        build_request_criteria({}, WINDOW, None)
        == build_request_criteria({}, None, "createdAt")
        == build_request_criteria({}, None, None)
    )


# No value is shown

canaries = st.sampled_from([CANARY, f"{CANARY}^JANE", f"2026-{CANARY}"]) | st.text(max_size=3).map(lambda t: CANARY + t)
leaves = canaries | st.sampled_from(
    ["1.2.3", "EQUAL", "BETWEEN", "ASC", NOON, NOON.replace(tzinfo=None), None, True, 7]
)
names = st.sampled_from(
    ["filters", "sort", "operator", "values", "sortField", "sortOrder", "DICOMStudyDate", "createdat", *CONTENTS]
)
junk = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=8
)


@st.composite
def nearly_criteria(draw):
    """Draw criteria that are right except where they are not, so that every check is reached."""

    def maybe(good):
        return st.one_of(good, good, good, good, junk)

    content = maybe(canaries | st.sampled_from(list(CONTENTS.values())))
    values = maybe(st.lists(maybe(st.dictionaries(names, content, min_size=1, max_size=1)), min_size=1, max_size=2))
    words = st.sampled_from(["EQUAL", "BETWEEN"])
    filters = maybe(st.lists(maybe(st.fixed_dictionaries({"operator": maybe(words), "values": values})), max_size=3))
    sort = maybe(st.fixed_dictionaries({"sortField": maybe(st.sampled_from(RANGES)), "sortOrder": maybe(leaves)}))
    return draw(maybe(st.fixed_dictionaries({}, optional={"filters": filters, "sort": sort})))


VALID = [
    *({"filters": [equal(attribute)]} for attribute in CONTENTS),
    *({"filters": [between(attribute)]} for attribute in RANGES),
    {"filters": [equal("DICOMPatientId"), equal("isPrimary")]},
    {"sort": {"sortField": "createdAt", "sortOrder": "ASC"}},
]
PLANTS = [CANARY, CANARY * 99, [CANARY], {"DICOMPatientId": CANARY}, {"DICOMStudyDate": CANARY, "other": CANARY}]


def planted(value, plant):
    """Return copies of ``value``, each with ``plant`` in place of one of the values in it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    copies = [plant]
    for key, content in inner:
        for changed in planted(content, plant):
            copy = value.copy()
            copy[key] = changed
            copies.append(copy)
    return copies


@pytest.mark.parametrize("plant", PLANTS, ids=["text", "long text", "list", "attribute", "structure"])
@pytest.mark.parametrize("valid", VALID, ids=str)
def test_a_value_that_stands_where_it_should_not_is_never_shown(valid, plant, all_text):
    refused = 0
    for criteria in planted(valid, plant):
        try:
            build_request_criteria(parse_criteria(criteria), None, None)
        except InvalidArgumentError as error:
            refused += 1
            assert CANARY not in all_text(error), criteria  # noqa: PT017 - where text may stand, it is taken
    assert refused >= 3


@settings(max_examples=500)
@given(nearly_criteria() | junk, st.sampled_from(["as it is", "as it is", "as JSON", "as cut JSON"]))
def test_whatever_is_wrong_no_value_is_ever_shown(all_text, criteria, how):
    if how != "as it is":
        criteria = json.dumps(criteria, default=str)
    if how == "as cut JSON":
        criteria = criteria[:-1]
    try:
        build_request_criteria(parse_criteria(criteria), WINDOW, "createdAt")
    except InvalidArgumentError as error:
        assert CANARY not in all_text(error)  # noqa: PT017 - most draws are refused, but not all


@pytest.mark.parametrize(
    "beside", [{"DICOMStudyDateAndTime": CANARY}, f"DICOMPatientId={CANARY}", ["createdAt", CANARY]]
)
def test_a_value_that_slipped_into_a_name_is_not_shown_though_it_is_nearly_one(all_text, beside):
    for criteria in (
        {"sort": {"sortField": beside, "sortOrder": "ASC"}},
        {"filters": [{"operator": "EQUAL", "values": [{str(beside): "x"}]}]},
        {str(beside): "x"},
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            parse_criteria(criteria)
        assert CANARY not in all_text(caught.value)


@pytest.mark.parametrize("attribute", ["createdAt", "updatedAt"])
def test_a_naive_time_in_a_filter_is_refused_unseen(all_text, attribute):
    with pytest.raises(InvalidArgumentError) as caught:
        parse_criteria({"filters": [equal(attribute, "1931-05-17T00:00:00")]})
    assert "1931" not in all_text(caught.value)
    assert f"filters[0].{attribute}" in str(caught.value)


def test_a_time_field_is_one_of_three():
    assert [check_time_field(each) for each in ("createdAt", "updatedAt", None)] == ["createdAt", "updatedAt", None]
    with pytest.raises(InvalidArgumentError, match="Did you mean 'createdAt'"):
        check_time_field("created_at")


# What is said of what is refused


@pytest.mark.parametrize(
    ("attribute", "longest"), [("DICOMPatientId", 512), ("DICOMStudyDate", 36), ("DICOMStudyTime", 56)]
)
def test_a_text_may_be_as_long_as_the_service_takes_and_no_longer(attribute, longest):
    def parse(length):
        text = "1" * length
        if attribute == "DICOMPatientId":
            return parse_criteria({"filters": [equal(attribute, text)]})
        both = {"DICOMStudyDate": "1", "DICOMStudyTime": "1", attribute: text}
        return parse_criteria({"filters": [equal("DICOMStudyDateAndTime", both)]})

    assert parse(longest)
    with pytest.raises(InvalidArgumentError, match=f"at most {longest} characters"):
        parse(longest + 1)


@pytest.mark.parametrize(
    ("attribute", "content", "where"),
    [
        ("DICOMPatientId", 1, "DICOMPatientId"),
        ("DICOMStudyInstanceUID", 1, "DICOMStudyInstanceUID"),
        ("DICOMStudyDateAndTime", {"DICOMStudyDate": 1}, "DICOMStudyDateAndTime.DICOMStudyDate"),
        ("createdAt", CANARY, "createdAt"),
        ("isPrimary", CANARY, "isPrimary"),
    ],
)
def test_an_error_says_which_attribute_it_is_about(attribute, content, where):
    with pytest.raises(InvalidArgumentError) as caught:
        parse_criteria({"filters": [equal(attribute, content)]})

    assert f"{where} must be" in str(caught.value)
    assert "None" not in str(caught.value)


def test_between_on_what_has_no_order_says_what_it_works_on():
    with pytest.raises(InvalidArgumentError, match="BETWEEN works on createdAt, updatedAt, DICOMStudyDateAndTime; use"):
        parse_criteria({"filters": [between("DICOMPatientId")]})


def test_a_mistyped_time_field_is_called_by_the_arguments_name():
    with pytest.raises(InvalidArgumentError, match="Unknown time_field"):
        check_time_field("created")


FILTERABLE = (
    "DICOMAccessionNumber, DICOMPatientId, DICOMSeriesInstanceUID, DICOMStudyDateAndTime, DICOMStudyId, "
    "DICOMStudyInstanceUID, createdAt, isPrimary, updatedAt."
)
HOW_IT_IS_WRITTEN = 'Write {"filters": [{"operator": "EQUAL", "values": [{"DICOMPatientId": "..."}]}]}.'
LATER = {"operator": "BETWEEN", "values": [{"createdAt": f"2026-01-{day}T00:00:00Z"} for day in ("02", "01")]}
TOGETHER = (
    "Unknown attribute in search_criteria filters[0]. Did you mean 'DICOMStudyDateAndTime'? It holds date and "
    "time together: {'DICOMStudyDateAndTime': {'DICOMStudyDate': '...', 'DICOMStudyTime': '...'}}."
)


@pytest.mark.parametrize(
    ("criteria", "message"),
    [
        (
            {"sor": []},
            "Unknown key in search_criteria. Did you mean 'sort'? Known: filters, sort. " + HOW_IT_IS_WRITTEN,
        ),
        ({CANARY: []}, "Unknown key in search_criteria. Known: filters, sort. " + HOW_IT_IS_WRITTEN),
        (
            {"Walters": []},  # a surname is nearly a name, too
            "Unknown key in search_criteria. Did you mean 'filters'? Known: filters, sort. " + HOW_IT_IS_WRITTEN,
        ),
        ({"filters": [LATER]}, "search_criteria filters[0]: the first value of BETWEEN is later than the second."),
        (
            {"filters": [equal("DICOMPatientID", "x")]},
            "Unknown attribute in search_criteria filters[0]. Did you mean 'DICOMPatientId'? Known: " + FILTERABLE,
        ),
        (
            {"filters": [equal("DICOMSeriesModality", "CT")]},
            "search_criteria filters[0]: the service cannot filter on DICOMSeriesModality. Remove the filter, and "
            "use match={'DICOMSeriesModality': [...]}, which is checked in the task. The service filters on "
            + FILTERABLE,
        ),
        ({"filters": [equal("DICOMStudyDate", "20260131")]}, TOGETHER),
        ({"filters": [equal("StudyTime", "12")]}, TOGETHER),
        (
            {"sort": {"sortField": "createdAt"}},
            "search_criteria sort must have 'sortField' and 'sortOrder', and nothing else.",
        ),
    ],
)
def test_what_an_error_says_of_criteria_is_the_whole_of_it(criteria, message):
    with pytest.raises(InvalidArgumentError) as caught:
        parse_criteria(criteria)
    assert str(caught.value) == message


def test_what_an_error_says_of_time_filters_is_the_whole_of_it():
    times = [equal(field, "2026-01-01T00:00:00Z") for field in ("createdAt", "updatedAt")]
    with pytest.raises(InvalidArgumentError) as caught:
        build_request_criteria(parse_criteria({"filters": times}), None, None)
    assert str(caught.value) == "search_criteria has two time filters. Keep one, or use a window for it."
    with pytest.raises(InvalidArgumentError) as caught:
        check_filter_slot_free(parse_criteria({"filters": times[1:]}), "createdAt")
    assert str(caught.value) == (
        "search_criteria filters on updatedAt, and so does the window on createdAt. "
        "Remove the filter, or set time_field=None to search without a window."
    )
    with pytest.raises(InvalidArgumentError) as caught:
        check_time_field("created")
    assert str(caught.value) == "Unknown time_field 'created'. Did you mean 'createdAt'? Known: createdAt, updatedAt."
