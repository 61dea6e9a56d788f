"""What SearchImageSets finds, and in which order, with boto3 over HTTP."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_without_criteria_all_image_sets_are_found(put, post, client, datastore_id):
    ids = {put() for _ in range(3)}
    for body in (b"", b"{}", {"filters": None, "sort": None}):
        reply = post(body)
        assert reply.status == 200
        assert {hit["imageSetId"] for hit in reply.body["imageSetsMetadataSummaries"]} == ids
    assert len(client.search_image_sets(datastoreId=datastore_id)["imageSetsMetadataSummaries"]) == 3


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("DICOMPatientId", "P-1"),
        ("DICOMAccessionNumber", "A 1"),
        ("DICOMStudyId", "æ/1"),
        ("DICOMStudyInstanceUID", "1.2.3"),
        ("DICOMSeriesInstanceUID", "1.2.3.4"),
    ],
)
def test_equal_finds_exactly_the_image_sets_with_that_tag(put, search, attribute, value):
    wanted = put(dicom_tags={attribute: value})
    put(dicom_tags={attribute: value + "0"})
    put(dicom_tags={attribute: None})
    put()
    assert search(**{attribute: value}) == [wanted]


@pytest.mark.parametrize("attribute", ["createdAt", "updatedAt"])
def test_equal_on_a_time_finds_only_that_exact_time(put, search, attribute):
    wanted = put(created_at=NOON)
    put(created_at=NOON + timedelta(microseconds=1))
    assert search(**{attribute: NOON}) == [wanted]


def test_equal_finds_primary_image_sets_or_the_others(put, search):
    primary, other = put(), put(is_primary=False)
    assert search(isPrimary=True) == [primary]
    assert search(isPrimary=False) == [other]


@pytest.mark.parametrize(
    ("date", "time", "matches"),
    [
        ("20240229", "101530", True),
        ("240229", "101530", True),
        ("20240229", "101530.000000", True),
        ("20240229", "1015", False),
        ("20240229", "10", False),
        ("20240229", None, False),
    ],
)
def test_a_study_is_found_by_its_date_and_time(put, search, date, time, matches):
    study = put(dicom_tags={"DICOMStudyDate": "20240229", "DICOMStudyTime": "101530"})
    asked = {"DICOMStudyDate": date} | ({"DICOMStudyTime": time} if time else {})
    assert search(DICOMStudyDateAndTime=asked) == ([study] if matches else [])


@pytest.mark.parametrize(("time", "minutes"), [(None, 0), ("", 0), ("00", 0), ("07", 420), ("0730", 450)])
def test_a_partial_study_time_means_the_start_of_that_time(put, search, time, minutes):
    study = put(dicom_tags={"DICOMStudyDate": "20240229", "DICOMStudyTime": time})
    hours, rest = divmod(minutes, 60)
    assert search(
        DICOMStudyDateAndTime={"DICOMStudyDate": "20240229", "DICOMStudyTime": f"{hours:02}{rest:02}00.000000"}
    ) == [study]


def test_two_digit_years_are_from_1969_to_2068(put, search):
    old = put(dicom_tags={"DICOMStudyDate": "19690101"})
    new = put(dicom_tags={"DICOMStudyDate": "20680101"})
    assert search(DICOMStudyDateAndTime={"DICOMStudyDate": "690101"}) == [old]
    assert search(DICOMStudyDateAndTime={"DICOMStudyDate": "680101"}) == [new]


def test_studies_without_a_valid_date_match_no_date_range_but_are_in_the_order_by_date(put, search):
    dated = put(dicom_tags={"DICOMStudyDate": "20240229"})
    odd = {put(dicom_tags={"DICOMStudyDate": date}) for date in (None, "", "yesterday", "20240230", "2024.02.29")}
    everything = ({"DICOMStudyDate": "00010101"}, {"DICOMStudyDate": "99991231"})
    assert search(DICOMStudyDateAndTime=everything) == [dated]
    found = search(sort="DICOMStudyDateAndTime ASC")
    assert found[-1] == dated
    assert set(found[:-1]) == odd


def test_two_filters_must_both_match(put, search):
    put(dicom_tags={"DICOMPatientId": "p"}, created_at=NOON)
    wanted = put(dicom_tags={"DICOMPatientId": "p"}, created_at=NOON + SECOND)
    put(dicom_tags={"DICOMPatientId": "q"}, created_at=NOON + SECOND)
    assert search(DICOMPatientId="p", createdAt=(NOON + SECOND, NOON + 2 * SECOND)) == [wanted]


@pytest.mark.parametrize(("included", "expected"), [(True, [0, 1, 2]), (False, [1])])
@pytest.mark.parametrize("attribute", ["createdAt", "updatedAt"])
@pytest.mark.parametrize("sort", [None, "createdAt ASC", "updatedAt DESC"])
def test_a_setting_decides_whether_between_includes_its_edges(
    local, put, search, *, included, expected, attribute, sort
):
    local.settings.between_includes_edges = included
    ids = [put(created_at=NOON + n * SECOND) for n in range(3)]
    found = search(sort=sort, **{attribute: (NOON, NOON + 2 * SECOND)})
    assert sorted(found, key=ids.index) == [ids[n] for n in expected]


def test_the_edges_of_study_dates_follow_the_same_setting(local, put, search):
    day = put(dicom_tags={"DICOMStudyDate": "20240229"})
    bounds = ({"DICOMStudyDate": "20240229"}, {"DICOMStudyDate": "20240229"})
    assert search(DICOMStudyDateAndTime=bounds) == [day]
    local.settings.between_includes_edges = False
    assert search(DICOMStudyDateAndTime=bounds) == []
    assert search(DICOMStudyDateAndTime=bounds[0]) == [day]


@pytest.mark.parametrize(("cut", "expected"), [(False, 0), (True, 1)])
def test_a_setting_decides_whether_bounds_lose_their_fraction(local, put, post, criteria, *, cut, expected):
    local.settings.bounds_cut_to_seconds = cut
    put(created_at=NOON + timedelta(milliseconds=100))
    bounds = (NOON.timestamp() + 0.5, NOON.timestamp() + 10.5)
    reply = post(criteria(createdAt=bounds))
    assert len(reply.body["imageSetsMetadataSummaries"]) == expected


def test_study_times_keep_their_fraction_with_that_setting(local, put, search):
    local.settings.bounds_cut_to_seconds = True
    moment = {"DICOMStudyDate": "20240229", "DICOMStudyTime": "101530.500000"}
    study = put(dicom_tags=moment)
    assert search(DICOMStudyDateAndTime=moment) == [study]


@pytest.mark.parametrize(
    "bound",
    [
        NOON.timestamp(),
        int(NOON.timestamp()),
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:00:00",
        "2026-03-01T13:00:00.000+01:00",
    ],
)
def test_bounds_may_be_epoch_seconds_or_iso_8601(put, post, criteria, bound):
    put(created_at=NOON)
    reply = post(criteria(createdAt=bound))
    assert len(reply.body["imageSetsMetadataSummaries"]) == 1


def test_by_default_the_newest_change_comes_first(put, client, search, datastore_id):
    ids = [put(created_at=NOON + n * SECOND, updated_at=NOON + (9 - n) * SECOND) for n in range(3)]
    assert search() == ids
    reply = client.search_image_sets(datastoreId=datastore_id)
    assert reply["sort"] == {"sortField": "updatedAt", "sortOrder": "DESC"}


@pytest.mark.parametrize("order", ["ASC", "DESC"])
@pytest.mark.parametrize("field", ["createdAt", "updatedAt", "DICOMStudyDateAndTime"])
def test_the_response_has_and_names_the_requested_order(put, client, criteria, datastore_id, *, field, order):
    ids = {
        "createdAt": ["a", "b", "c"],
        "updatedAt": ["c", "a", "b"],
        "DICOMStudyDateAndTime": ["b", "c", "a"],
    }
    for name in "abc":
        put(
            image_set_id=name * 32,
            created_at=NOON + ids["createdAt"].index(name) * SECOND,
            updated_at=NOON + ids["updatedAt"].index(name) * SECOND,
            dicom_tags={"DICOMStudyDate": f"2026010{1 + ids['DICOMStudyDateAndTime'].index(name)}"},
        )
    reply = client.search_image_sets(datastoreId=datastore_id, searchCriteria=criteria(sort=f"{field} {order}"))
    found = [hit["imageSetId"][0] for hit in reply["imageSetsMetadataSummaries"]]
    assert found == (ids[field] if order == "ASC" else ids[field][::-1])
    assert reply["sort"] == {"sortField": field, "sortOrder": order}


def test_image_sets_with_the_same_time_have_one_order_for_all_page_sizes(put, search):
    ids = sorted(put(created_at=NOON) for _ in range(20))
    for page_size in (1, 3, 50):
        assert search(sort="createdAt ASC", page_size=page_size) == ids
        assert search(sort="createdAt DESC", page_size=page_size) == ids[::-1]


def test_a_search_hit_has_every_member_and_null_for_missing_tags(put, post):
    image_set_id = put(
        created_at=NOON + timedelta(microseconds=123456),
        updated_at=NOON + timedelta(microseconds=1123457),
        version=3,
        is_primary=False,
        dicom_tags={"DICOMPatientName": "Ærø^Ångström", "DICOMSeriesNumber": -1},
    )
    (hit,) = post().body["imageSetsMetadataSummaries"]
    tags = hit.pop("DICOMTags")
    assert hit == {
        "imageSetId": image_set_id,
        "version": 3,
        "createdAt": NOON.timestamp() + 0.123456,
        "updatedAt": NOON.timestamp() + 1.123457,
        "lastAccessedAt": NOON.timestamp() + 1.123457,
        "storageTier": "FREQUENT_ACCESS",
        "isPrimary": False,
    }
    assert len(tags) == 16
    assert {name for name, value in tags.items() if value is not None} == {"DICOMPatientName", "DICOMSeriesNumber"}


@given(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_times_keep_their_microseconds_through_json(moment):
    json_forms = import_module("moto.medicalimaging.json_forms")
    image_sets = import_module("moto.medicalimaging.image_sets")
    hit = json.loads(json.dumps(json_forms.search_hit(image_sets.ImageSet("a" * 32, moment, moment))))
    assert datetime.fromtimestamp(hit["createdAt"], UTC) == moment
    criteria = {"filters": [{"operator": "EQUAL", "values": [{"createdAt": hit["createdAt"]}]}]}
    query = import_module("moto.medicalimaging.search").parse_criteria(
        json.dumps(criteria), import_module("moto.medicalimaging.settings").Settings()
    )
    assert query.filters[0].lower == moment


# Few values, so that image sets often have the same time as a bound or as each other.
MOMENTS = st.integers(0, 4).map(lambda n: NOON + n * SECOND)
IMAGE_SETS = st.lists(st.tuples(MOMENTS, MOMENTS, st.sampled_from(["p", "q", None])), max_size=25)


@given(
    image_sets_to_put=IMAGE_SETS,
    filters=st.fixed_dictionaries(
        {},
        optional={
            "createdAt": st.tuples(MOMENTS, MOMENTS).map(lambda bounds: tuple(sorted(bounds))),
            "updatedAt": MOMENTS,
            "DICOMPatientId": st.sampled_from(["p", "q"]),
        },
    ).filter(lambda chosen: len(chosen) <= 2),
    field=st.sampled_from(["createdAt", "updatedAt"]),
    order=st.sampled_from(["ASC", "DESC"]),
    limit=st.integers(1, 7),
    edges=st.booleans(),
)
def test_the_pages_of_any_query_equal_a_plain_filter_and_sort(
    *, image_sets_to_put, filters, field, order, limit, edges
):
    models, searching = (import_module(f"moto.medicalimaging.{name}") for name in ("models", "search"))
    state = models.MedicalImagingBackend("us-east-1", "123456789012")
    state.settings.between_includes_edges = edges
    store = state.create_datastore().datastore_id
    put = [
        state.put_image_set(store, created_at=created, updated_at=updated, dicom_tags={"DICOMPatientId": patient})
        for created, updated, patient in image_sets_to_put
    ]

    def accepted(image_set):
        for name, value in filters.items():
            if name == "DICOMPatientId" and image_set.dicom_tags[name] != value:
                return False
            if name == "updatedAt" and image_set.updated_at != value:
                return False
            if name == "createdAt":
                lower, upper = value
                if not (lower <= image_set.created_at <= upper if edges else lower < image_set.created_at < upper):
                    return False
        return True

    def key(image_set):
        moment = image_set.created_at if field == "createdAt" else image_set.updated_at
        return moment, image_set.image_set_id

    query = searching.Query(
        tuple(
            searching.Filter(name, *(value if isinstance(value, tuple) else (value, value)), closed=edges)
            if name == "createdAt"
            else searching.Filter(name, value, value, closed=True)
            for name, value in filters.items()
        ),
        field,
        order,
    )
    found, token = [], None
    while True:
        page, token = state.search_image_sets(store, query, limit=limit, next_token=token)
        found += page
        if token is None:
            break
        assert len(page) == limit
    assert found == sorted(filter(accepted, put), key=key, reverse=order == "DESC")
