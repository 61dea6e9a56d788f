"""The hook over real HTTP: what it finds, in how many calls, at which endpoint, and how it fails."""

import json
import time
from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest
from botocore.config import Config

from airflow_provider_healthimaging.exceptions import (
    AccessDeniedError,
    ConfigurationError,
    ConnectionFailedError,
    DatastoreNotFoundError,
    InvalidArgumentError,
    RejectedRequestError,
    ServiceError,
)
from airflow_provider_healthimaging.hooks.healthimaging import HealthImagingHook
from airflow_provider_healthimaging.local import LocalServer, airflow_connection
from airflow_provider_healthimaging.search import pages
from airflow_provider_healthimaging.search.pages import ScanStats
from airflow_provider_healthimaging.window import TimeWindow

DATASTORE_ID = "d" * 32
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
WINDOW = TimeWindow(NOON, NOON + HOUR)
CANARY = "CANARY-4711"

OLD_TAGS = {
    "DICOMPatientId": "p1",
    "DICOMAccessionNumber": "a1",
    "DICOMStudyId": "s1",
    "DICOMStudyInstanceUID": "1.2.3",
    "DICOMSeriesInstanceUID": "1.2.3.4",
    "DICOMStudyDate": "20250131",
    "DICOMStudyTime": "120000",
    "DICOMSeriesModality": "CT",
}
NEW_TAGS = {name: value.replace("1", "7") for name, value in OLD_TAGS.items()} | {
    "DICOMStudyDate": "20260130",
    "DICOMStudyTime": "080000",
    "DICOMSeriesModality": "MR",
}


def study(date, clock="000000"):
    return {"DICOMStudyDate": date, "DICOMStudyTime": clock}


def equal(attribute, content):
    return {"filters": [{"operator": "EQUAL", "values": [{attribute: content}]}]}


def between(attribute, lower, upper):
    return {"filters": [{"operator": "BETWEEN", "values": [{attribute: lower}, {attribute: upper}]}]}


@pytest.fixture
def two(store):
    """Two image sets that differ in everything, by name."""
    put = store.put_image_set
    old, new = "0" * 32, "f" * 32
    put(DATASTORE_ID, image_set_id=old, created_at=NOON, updated_at=NOON + 3 * HOUR, dicom_tags=OLD_TAGS)
    times = {"created_at": NOON + HOUR, "updated_at": NOON + 2 * HOUR}
    put(DATASTORE_ID, image_set_id=new, **times, is_primary=False, dicom_tags=NEW_TAGS)
    return {old: "old", new: "new"}


def fill(store, count, **more):
    return [
        store.put_image_set(DATASTORE_ID, created_at=NOON + number * SECOND, **more).image_set_id
        for number in range(count)
    ]


def found(hook, **more):
    return [hit["imageSetId"] for hit in hook.search_image_sets(DATASTORE_ID, **more)]


def connect(monkeypatch, url, **extra):
    """Point Airflow's default connection at ``url``, with more in its extra."""
    connection = json.loads(airflow_connection(url, "us-east-1"))
    connection["extra"] |= extra
    connection["extra"] = {key: value for key, value in connection["extra"].items() if value is not None}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))


def failing(code, status, times=10**6):
    """Make a middleware that answers so many requests with an error whose text repeats a search value."""
    left = iter(range(times))

    def middleware(app):
        def answer(environ, start_response):
            if next(left, None) is None:
                return app(environ, start_response)
            start_response(f"{status} Error", [("x-amzn-ErrorType", code), ("Content-Type", "application/json")])
            return [json.dumps({"message": f"Value {CANARY!r} at 'filters' is invalid"}).encode()]

        return answer

    return middleware


# What it finds


@pytest.mark.parametrize(
    ("criteria", "names"),
    [
        (equal("DICOMPatientId", "p1"), ["old"]),
        (equal("DICOMAccessionNumber", "a7"), ["new"]),
        (equal("DICOMStudyId", "s1"), ["old"]),
        (equal("DICOMStudyInstanceUID", "7.2.3"), ["new"]),
        (equal("DICOMSeriesInstanceUID", "1.2.3.4"), ["old"]),
        (equal("createdAt", NOON), ["old"]),
        (equal("createdAt", "2026-01-31T14:00:00+01:00"), ["new"]),
        (equal("updatedAt", NOON + 2 * HOUR), ["new"]),
        (equal("DICOMStudyDateAndTime", study("20250131", "120000")), ["old"]),
        (equal("isPrimary", False), ["new"]),
        (equal("isPrimary", "true"), ["old"]),
        (equal("DICOMPatientId", "p2"), []),
        (between("createdAt", NOON - SECOND, NOON + SECOND), ["old"]),
        (between("updatedAt", NOON + HOUR, NOON + 4 * HOUR), ["old", "new"]),
        (between("DICOMStudyDateAndTime", study("20260101"), study("20261231")), ["new"]),
        ({"filters": equal("DICOMPatientId", "p1")["filters"] + equal("isPrimary", True)["filters"]}, ["old"]),
        ({"filters": equal("DICOMPatientId", "p1")["filters"] + equal("isPrimary", False)["filters"]}, []),
        (None, ["old", "new"]),
    ],
)
def test_every_filter_of_the_api_means_what_it_says(hook, two, criteria, names):
    assert [two[each] for each in found(hook, search_criteria=criteria)] == names
    if criteria:
        assert [two[each] for each in found(hook, search_criteria=json.dumps(criteria, default=str))] == names


@pytest.mark.parametrize("time_field", ["createdAt", "updatedAt", None])
@pytest.mark.parametrize(
    ("field", "ascending"),
    [
        ("createdAt", ["old", "new"]),
        ("updatedAt", ["new", "old"]),
        ("DICOMStudyDateAndTime", ["old", "new"]),
    ],
)
def test_without_a_window_the_order_is_the_one_asked_for(hook, two, field, ascending, time_field):
    for order, names in (("ASC", ascending), ("DESC", ascending[::-1])):
        criteria = {"sort": {"sortField": field, "sortOrder": order}}
        assert [two[each] for each in found(hook, search_criteria=criteria, time_field=time_field)] == names


@pytest.mark.parametrize("time_field", ["createdAt", "updatedAt"])
def test_a_window_that_is_still_open_is_read_oldest_first_too(hook, store, time_field):
    now = datetime.now(UTC)
    ids = [f"{number:032}" for number in (3, 1, 2)]
    for number, image_set_id in enumerate(ids):
        store.put_image_set(DATASTORE_ID, image_set_id=image_set_id, created_at=now - (9 - number) * SECOND)
    assert found(hook, window=TimeWindow(now - HOUR, now + HOUR), time_field=time_field) == ids


@pytest.mark.parametrize(
    "criteria",
    [{"sort": {"sortField": field, "sortOrder": "ASC"}} for field in ("updatedAt", "DICOMStudyDateAndTime")],
)
def test_a_window_is_read_oldest_first_whatever_the_criteria_sort_by(hook, two, criteria):
    window = TimeWindow(NOON, NOON + 2 * HOUR)
    assert [two[each] for each in found(hook, window=window, search_criteria=criteria)] == ["old", "new"]


def test_a_window_narrows_a_filter_and_match_narrows_both(hook, two):
    whole = TimeWindow(NOON, NOON + 4 * HOUR)
    assert [two[i] for i in found(hook, window=WINDOW)] == ["old"]
    assert [two[i] for i in found(hook, window=whole, time_field="updatedAt")] == ["new", "old"]
    assert [two[i] for i in found(hook, window=whole, search_criteria=equal("DICOMPatientId", "p7"))] == ["new"]
    assert found(hook, window=WINDOW, search_criteria=equal("DICOMPatientId", "p7")) == []
    assert [two[i] for i in found(hook, window=whole, match={"DICOMSeriesModality": ["MR", "US"]})] == ["new"]
    assert found(hook, window=WINDOW, match={"DICOMSeriesModality": "MR"}) == []


def test_hits_are_shaped_as_boto3_gives_them(hook, two):
    hit = next(hook.search_image_sets(DATASTORE_ID, window=WINDOW))
    (page,) = hook.paginate_image_sets(DATASTORE_ID, equal("DICOMPatientId", "p1"))
    assert page["imageSetsMetadataSummaries"] == [hit]
    assert hit["DICOMTags"] == OLD_TAGS
    assert (hit["version"], hit["isPrimary"], hit["storageTier"]) == (1, True, "FREQUENT_ACCESS")


@pytest.fixture(params=["UTC", "Asia/Kolkata", "America/St_Johns", "Europe/Berlin"])
def zone_of_the_machine(request, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def test_timestamps_are_in_utc_wherever_the_machine_is(hook, store, zone_of_the_machine):
    # In Berlin, the hour that comes twice.
    moment = datetime(2026, 10, 25, 0, 30, 0, 123000, tzinfo=UTC)
    store.put_image_set(DATASTORE_ID, created_at=moment, updated_at=moment + HOUR)
    (hit,) = hook.search_image_sets(DATASTORE_ID, window=TimeWindow(moment, moment + SECOND))
    assert (hit["createdAt"], hit["updatedAt"]) == (moment, moment + HOUR)
    assert {hit[key].utcoffset() for key in ("createdAt", "updatedAt", "lastAccessedAt")} == {timedelta(0)}
    assert hit["createdAt"].tzinfo is UTC


# In how many calls


@pytest.mark.parametrize(("count", "calls"), [(0, 1), (1, 1), (49, 1), (50, 1), (51, 2), (100, 2), (101, 3), (237, 5)])
@pytest.mark.parametrize("time_field", ["createdAt", "updatedAt"])
def test_a_window_costs_a_call_for_every_fifty_image_sets_and_never_less_than_one(
    hook, server, store, count, calls, time_field
):
    ids = fill(store, count)
    stats = ScanStats()
    assert found(hook, window=WINDOW, time_field=time_field, stats=stats) == ids
    assert server.calls.count() == server.calls.count("SearchImageSets", status=200) == calls
    assert (stats.calls, stats.pages, stats.image_sets, stats.read) == (calls, calls, count, count)


def test_nothing_is_asked_before_the_first_image_set_is_wanted_and_no_more_than_is_wanted(hook, server, store):
    fill(store, 120)
    hits = hook.search_image_sets(DATASTORE_ID, window=WINDOW)
    assert server.calls.count() == 0
    next(hits)
    assert server.calls.count() == 1


@pytest.mark.parametrize(
    ("limit", "count", "calls"), [(1, 1, 1), (49, 49, 1), (51, 51, 2), (999, 120, 3), (None, 120, 3)]
)
def test_counting_asks_no_more_than_it_takes_to_know(hook, server, store, limit, count, calls):
    fill(store, 120)
    assert hook.count_image_sets(DATASTORE_ID, window=WINDOW, limit=limit) == count
    assert server.calls.count() == calls


def test_counting_counts_what_a_search_would_give(hook, two):
    whole = TimeWindow(NOON, NOON + 4 * HOUR)
    assert hook.count_image_sets(DATASTORE_ID, window=whole, limit=9) == 2
    assert hook.count_image_sets(DATASTORE_ID, window=whole, match={"DICOMSeriesModality": "MR"}, limit=9) == 1
    assert hook.count_image_sets(DATASTORE_ID, search_criteria=equal("DICOMPatientId", "p9"), limit=9) == 0


# Resuming


@pytest.mark.parametrize(
    ("config", "first", "sizes"),
    [
        ({"MaxItems": 30}, 30, [30]),
        ({"MaxItems": 60}, 60, [50, 10]),
        ({"MaxItems": 60, "PageSize": 20}, 60, [20, 20, 20]),
        ({"MaxItems": 25, "PageSize": 10}, 25, [10, 10, 5]),
        ({"MaxItems": "25", "PageSize": "10"}, 25, [10, 10, 5]),
    ],
)
def test_the_page_iterator_is_boto3s_and_resuming_gives_the_rest(hook, store, config, first, sizes):
    ids = fill(store, 120)
    oldest_first = {"sort": {"sortField": "createdAt", "sortOrder": "ASC"}}
    pages = hook.paginate_image_sets(DATASTORE_ID, oldest_first, config)
    read = [[hit["imageSetId"] for hit in page["imageSetsMetadataSummaries"]] for page in pages]
    assert [len(page) for page in read] == sizes
    assert list(chain.from_iterable(read)) == ids[:first]
    rest = hook.paginate_image_sets(DATASTORE_ID, oldest_first, {"StartingToken": pages.resume_token})
    assert [hit["imageSetId"] for hit in rest.build_full_result()["imageSetsMetadataSummaries"]] == ids[first:]
    assert rest.resume_token is None


@pytest.mark.parametrize("config", [{"MaxItems": 30}, {"MaxItems": 50}, {"MaxItems": 7, "PageSize": 3}])
@pytest.mark.parametrize("window", [None, WINDOW])
def test_a_search_in_portions_gives_everything_once(hook, store, config, window):
    ids = fill(store, 120)
    got, token = [], ""
    while token is not None:
        stats = ScanStats()
        portion = found(hook, window=window, pagination_config={**config, "StartingToken": token}, stats=stats)
        assert len(portion) <= config["MaxItems"]
        got += portion
        token = stats.next_token
    assert got == ids


def test_there_is_no_token_where_nothing_was_left_out(hook, store):
    fill(store, 60)
    stats = ScanStats()
    assert len(found(hook, pagination_config={"MaxItems": 60}, stats=stats)) == 60
    assert stats.next_token is None


# How it is set up


@pytest.mark.parametrize(
    ("connection", "caller", "retries"),
    [
        (None, None, {"mode": "standard", "total_max_attempts": 10}),
        ({"retries": {"max_attempts": 3}}, None, {"mode": "standard", "total_max_attempts": 4}),
        ({"retries": {"mode": "adaptive"}}, None, {"mode": "adaptive", "total_max_attempts": 10}),
        (
            {"retries": {"mode": "adaptive"}},
            {"retries": {"total_max_attempts": 2}},
            {"mode": "adaptive", "total_max_attempts": 2},
        ),
        ({"retries": {"max_attempts": 3}}, {"read_timeout": 7}, {"mode": "standard", "total_max_attempts": 4}),
        ({"read_timeout": 8}, {"retries": {"mode": "legacy"}}, {"mode": "legacy", "total_max_attempts": 10}),
    ],
)
def test_retries_are_those_of_connection_and_caller_merged(server, store, monkeypatch, connection, caller, retries):
    connect(monkeypatch, server.url, config_kwargs=connection)
    config = HealthImagingHook(config=caller and Config(**caller)).conn.meta.config
    assert config.retries == retries
    given = (connection or {}) | (caller or {})
    assert config.read_timeout == given.get("read_timeout", Config().read_timeout)


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_MEDICAL_IMAGING"])
def test_an_endpoint_from_the_environment_is_used_as_it_is_given(server, store, monkeypatch, variable):
    connect(monkeypatch, "", endpoint_url=None)
    monkeypatch.setenv(variable, server.url)
    ids = fill(store, 3)
    assert found(HealthImagingHook(), window=WINDOW) == ids


@pytest.mark.parametrize("how", ["connection", "caller"])
def test_the_host_prefix_can_be_turned_on(server, store, monkeypatch, how):
    hosts = []
    wanted = {"inject_host_prefix": True, "retries": {"total_max_attempts": 1}}
    connect(monkeypatch, server.url, config_kwargs=wanted if how == "connection" else None)
    hook = HealthImagingHook(config=Config(**wanted) if how == "caller" else None)
    hook.conn.meta.events.register("before-send", lambda request, **_: hosts.append(request.url.split("/")[2]))
    with pytest.raises(ConnectionFailedError):
        found(hook, window=WINDOW)
    assert hosts == [f"runtime-127.0.0.1:{server.port}"]


def test_awss_own_endpoint_has_its_prefix(store, monkeypatch):
    hosts = []
    connect(monkeypatch, "", endpoint_url=None)
    hook = HealthImagingHook()

    def answer(request, **_):
        from botocore.awsrequest import AWSResponse

        hosts.append(request.url.split("/")[2])
        response = AWSResponse(request.url, 200, {}, None)
        response._content = b"{}"
        return response

    hook.conn.meta.events.register("before-send", answer)
    assert found(hook, window=WINDOW) == []
    assert hosts == ["runtime-medical-imaging.us-east-1.amazonaws.com"]


# How it fails


@pytest.mark.parametrize(
    ("how", "kind", "says"),
    [
        ("not-found", DatastoreNotFoundError, "ResourceNotFoundException (HTTP 404"),
        ("access-denied", AccessDeniedError, "AccessDeniedException (HTTP 403"),
    ],
)
def test_an_unknown_data_store_is_no_matter_for_retries(hook, server, store, all_text, how, kind, says):
    store.settings.unknown_datastore = how
    with pytest.raises(kind) as caught:
        list(hook.search_image_sets("e" * 32, window=WINDOW, search_criteria=equal("DICOMPatientId", CANARY)))
    assert says in str(caught.value)
    assert "e" * 32 + ", region us-east-1, connection 'aws_default'" in str(caught.value)
    assert caught.value.retryable is False
    assert server.calls.count() == 1
    assert "ClientError" not in all_text(caught.value)
    assert CANARY not in all_text(caught.value)


def test_a_token_of_another_search_is_refused_by_the_service(hook, server, store, all_text):
    fill(store, 60)
    stats = ScanStats()
    found(hook, window=WINDOW, pagination_config={"MaxItems": 50}, stats=stats)
    with pytest.raises(RejectedRequestError, match="that StartingToken belongs to the same search") as caught:
        found(
            hook,
            search_criteria=equal("DICOMPatientId", CANARY),
            pagination_config={"StartingToken": stats.next_token},
        )
    assert caught.value.code == "ValidationException"
    assert caught.value.retryable is False
    assert stats.next_token not in all_text(caught.value)
    assert CANARY not in all_text(caught.value)


@pytest.mark.parametrize("narrowed", [{"time_field": None}, {"window": WINDOW, "pagination_config": {"PageSize": 10}}])
def test_a_token_that_expires_while_a_result_is_read_is_an_error_that_a_retry_may_cure(hook, store, narrowed):
    fill(store, 60)
    store.settings.expired_token_rate = 1.0
    with pytest.raises(ServiceError, match=r"They may have expired\. Retry\.") as caught:
        found(hook, **narrowed)
    assert caught.value.retryable


def test_a_token_that_is_no_token_is_refused(hook, store):
    with pytest.raises((RejectedRequestError, InvalidArgumentError)):
        found(hook, window=WINDOW, pagination_config={"StartingToken": "nonsense"})


@pytest.mark.parametrize(
    ("code", "status", "kind", "calls"),
    [
        ("ValidationException", 400, RejectedRequestError, 1),
        ("AccessDeniedException", 403, AccessDeniedError, 1),
        ("ThrottlingException", 429, ServiceError, 3),
        ("InternalServerException", 500, ServiceError, 3),
        ("ServiceUnavailable", 503, ServiceError, 3),
    ],
)
def test_the_services_own_text_is_never_passed_on(behind, logged, all_text, code, status, kind, calls):
    server, hook = behind(failing(code, status), config=Config(retries={"total_max_attempts": 3}))
    with pytest.raises(kind) as caught:
        found(hook, window=WINDOW, search_criteria=equal("DICOMPatientId", CANARY))
    assert caught.value.code == code
    assert caught.value.__cause__ is None
    assert "ClientError" not in all_text(caught.value)
    assert CANARY not in all_text(caught.value) + logged()
    assert server.calls.count() == calls


def test_counting_fails_as_searching_does(behind):
    _, hook = behind(failing("AccessDeniedException", 403))
    with pytest.raises(AccessDeniedError):
        hook.count_image_sets(DATASTORE_ID, window=WINDOW)


@pytest.mark.parametrize(("code", "status"), [("ThrottlingException", 429), ("InternalServerException", 500)])
@pytest.mark.parametrize("times", [1, 4, 9])
def test_what_passes_is_waited_out_and_each_call_is_counted(behind, store, code, status, times):
    ids = fill(store, 60)
    server, hook = behind(failing(code, status, times))
    stats = ScanStats()
    assert found(hook, window=WINDOW, stats=stats) == ids
    assert stats.calls == server.calls.count() == 2 + times
    assert server.calls.count(status=status) == times
    assert stats.pages == 2


def test_an_endpoint_that_is_not_there_is_named_as_such(store, monkeypatch, all_text):
    with LocalServer() as gone:
        url = gone.url
    connect(monkeypatch, url)
    hook = HealthImagingHook(config=Config(retries={"total_max_attempts": 1}))
    with pytest.raises(ConnectionFailedError, match="EndpointConnectionError") as caught:
        found(hook, window=WINDOW, search_criteria=equal("DICOMPatientId", CANARY))
    assert caught.value.retryable
    assert "Check the network, endpoint_url" in str(caught.value)
    assert CANARY not in all_text(caught.value)


def test_a_connection_that_ends_without_an_answer_is_tried_again(behind, store):
    ids = fill(store, 3)
    left = iter(range(2))

    def hanging_up(app):
        def answer(environ, start_response):
            if next(left, None) is not None:
                raise ConnectionAbortedError
            return app(environ, start_response)

        return answer

    server, hook = behind(hanging_up)
    assert found(hook, window=WINDOW) == ids
    assert server.calls.count() == 3


@pytest.fixture
def nothing_from_the_machine(monkeypatch, tmp_path):
    """Hide what the environment and the AWS configuration files of this machine say."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "DEFAULT_REGION", "REGION", "PROFILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(tmp_path / name))
    for name in ("RELATIVE_URI", "FULL_URI"):
        monkeypatch.delenv(f"AWS_CONTAINER_CREDENTIALS_{name}", raising=False)


@pytest.mark.parametrize("call", ["search_image_sets", "paginate_image_sets", "count_image_sets"])
def test_no_region_is_a_matter_of_configuration(server, store, monkeypatch, nothing_from_the_machine, call, all_text):
    connect(monkeypatch, server.url, region_name=None)
    with pytest.raises(ConfigurationError, match="Set region_name in the connection's extra") as caught:
        list(getattr(HealthImagingHook(), call)(DATASTORE_ID))
    assert "us-east-1, us-west-2" in str(caught.value)
    assert caught.value.retryable is False
    assert "NoRegionError" not in all_text(caught.value)


def test_no_credentials_are_a_matter_of_configuration(server, store, monkeypatch, nothing_from_the_machine):
    extra = {"region_name": "us-east-1", "endpoint_url": server.url}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws", "extra": extra}))
    with pytest.raises(ConfigurationError, match="No usable AWS credentials") as caught:
        found(HealthImagingHook(), window=WINDOW)
    assert caught.value.retryable is False
    assert server.calls.count() == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"max_workers": 0}, "max_workers=0"),
        ({"window": WINDOW, "time_field": None}, "A window needs a time_field"),
        ({"time_field": "created"}, "Did you mean 'createdAt'"),
        ({"pagination_config": {"PageSize": 51}}, "PageSize=51"),
        ({"match": {"modality": "CT"}}, "Unknown field in match"),
        ({"search_criteria": {"filters": []}}, "Leave 'filters' out"),
    ],
)
def test_bad_arguments_are_refused_when_the_hook_is_called_and_not_while_it_is_read(hook, server, arguments, says):
    with pytest.raises(InvalidArgumentError) as caught:
        hook.search_image_sets(DATASTORE_ID, **arguments)
    assert says in str(caught.value)
    with pytest.raises(InvalidArgumentError):
        hook.search_image_sets("malformed")
    with pytest.raises(InvalidArgumentError):
        hook.paginate_image_sets("malformed")
    with pytest.raises(InvalidArgumentError, match="limit=0"):
        hook.count_image_sets(DATASTORE_ID, limit=0)
    assert server.calls.count() == 0


# What is logged


def test_progress_is_logged_and_no_search_value(hook, store, logged, monkeypatch):
    monkeypatch.setattr(pages, "PROGRESS_LOG_SECONDS", 0.0)
    ids = fill(store, 60, dicom_tags={"DICOMPatientId": CANARY, "DICOMPatientName": CANARY})
    criteria = equal("DICOMPatientId", CANARY)
    assert found(hook, window=WINDOW, search_criteria=criteria, match={"DICOMPatientName": CANARY}) == ids
    said = logged()
    assert "Read 60 image sets in 2 calls, 100% of the window" in said
    assert CANARY not in said
