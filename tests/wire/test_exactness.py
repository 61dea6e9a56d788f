"""Every image set of a day is in exactly one of the windows that the day is cut into. The promise of this package.

It holds over real HTTP and real botocore, whatever is undocumented about the service: whether ``BETWEEN`` includes
its edges, whether fractions of a second in them count, and whichever of the two timestamps is asked about.
"""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import botocore
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.version import Version

from airflow_provider_healthimaging.local import backend
from airflow_provider_healthimaging.window import TimeWindow

MIDNIGHT = datetime(2026, 1, 31, tzinfo=UTC)
DAY = timedelta(days=1)
PRECISIONS = [timedelta(seconds=1), timedelta(milliseconds=1), timedelta(microseconds=1)]
MICROSECOND = PRECISIONS[-1]

over_http = settings(
    max_examples=25,
    deadline=None,
    # Each example has a data store of its own, so that nothing is left over from the one before.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
time_fields = pytest.mark.parametrize("time_field", ["createdAt", "updatedAt"])
includes_edges = pytest.mark.parametrize("edges", [True, False], ids=["edges included", "edges excluded"])
cuts_to_seconds = pytest.mark.parametrize("cut", [True, False], ids=["bounds cut", "bounds whole"])


def moments(latest=DAY):
    """Times within a day from midnight, at the precision of seconds, milliseconds or microseconds."""
    return st.sampled_from(PRECISIONS).flatmap(
        lambda unit: st.integers(0, latest // unit).map(lambda count: MIDNIGHT + count * unit)
    )


@st.composite
def days(draw, most=12):
    """Draw the edges of windows that cover a day, and timestamps on them, beside them and anywhere."""
    # Edges that are close together are where windows share seconds.
    inner = draw(st.lists(moments() | moments(timedelta(seconds=2)), max_size=4))
    edges = sorted({MIDNIGHT, *inner, MIDNIGHT + DAY})
    beside = st.tuples(
        st.sampled_from(edges),
        st.sampled_from([-1, 0, 1]),
        st.sampled_from([MICROSECOND, timedelta(milliseconds=1), timedelta(seconds=1)]),
    ).map(lambda each: each[0] + each[1] * each[2])
    times = draw(st.lists(beside | moments(), min_size=1, max_size=most))
    return edges, times


def filled(store, times, time_field):
    """Make a data store with one image set for each of ``times``, and return its id and theirs."""
    datastore_id = store.create_datastore().datastore_id
    ids = [
        store.put_image_set(
            datastore_id,
            created_at=time if time_field == "createdAt" else MIDNIGHT - DAY,
            updated_at=time if time_field == "updatedAt" else MIDNIGHT + 9 * DAY,
        ).image_set_id
        for time in times
    ]
    return datastore_id, ids


def found(hook, datastore_id, window, time_field):
    return [hit["imageSetId"] for hit in hook.search_image_sets(datastore_id, window=window, time_field=time_field)]


def assert_each_once(hook, store, edges, times, time_field):
    datastore_id, ids = filled(store, times, time_field)
    windows = [TimeWindow(*each) for each in pairwise(edges)]
    got = [found(hook, datastore_id, window, time_field) for window in windows]
    for window, in_window in zip(windows, got, strict=True):
        due = [i for i, time in zip(ids, times, strict=True) if window.start <= time < window.end]
        assert sorted(in_window) == sorted(due), f"{window}"
    everything = [i for each in got for i in each]
    assert len(everything) == len(set(everything))
    assert set(everything) == {i for i, time in zip(ids, times, strict=True) if edges[0] <= time < edges[-1]}


@time_fields
@includes_edges
@cuts_to_seconds
@over_http
@given(day=days())
def test_each_image_set_of_a_day_is_in_exactly_one_of_its_windows(hook, store, time_field, edges, cut, day):
    store.settings.between_includes_edges, store.settings.bounds_cut_to_seconds = edges, cut
    assert_each_once(hook, store, *day, time_field)


@time_fields
@includes_edges
@cuts_to_seconds
@settings(over_http, max_examples=5)
@given(edge=moments(), number=st.integers(45, 110))
def test_many_image_sets_at_the_same_instant_stay_together_over_pages(
    hook, store, time_field, edges, cut, edge, number
):
    store.settings.between_includes_edges, store.settings.bounds_cut_to_seconds = edges, cut
    start, end = edge - timedelta(hours=1), edge + timedelta(hours=1)
    assert_each_once(hook, store, [start, edge, end], [edge] * number + [edge - MICROSECOND] * 3, time_field)


@time_fields
@includes_edges
@cuts_to_seconds
@settings(over_http, max_examples=10)
@given(edge=moments(), parts=st.integers(2, 9), length=st.sampled_from([*PRECISIONS, timedelta(seconds=3)]))
def test_a_window_however_short_splits_into_windows_that_share_its_image_sets(
    hook, store, time_field, edges, cut, edge, parts, length
):
    store.settings.between_includes_edges, store.settings.bounds_cut_to_seconds = edges, cut
    whole = TimeWindow(edge, edge + max(length, parts * MICROSECOND))
    split = whole.split(parts)
    cuts = [split[0].start, *(part.end for part in split)]
    times = [cut_ + beside * MICROSECOND for cut_ in cuts for beside in (-1, 0, 1)]
    assert_each_once(hook, store, cuts, times, time_field)


@pytest.mark.parametrize(("edges", "cut"), [(True, True), (True, False), (False, True), (False, False)])
def test_the_local_service_does_differ_in_what_is_undocumented(store, hook, edges, cut):
    """The tests above would prove little if these switches did nothing."""
    store.settings.between_includes_edges, store.settings.bounds_cut_to_seconds = edges, cut
    assert backend() is store
    datastore_id, (on_second, within) = filled(store, [MIDNIGHT, MIDNIGHT + MICROSECOND], "createdAt")

    def between(lower, upper):
        values = [{"createdAt": lower}, {"createdAt": upper}]
        pages = hook.paginate_image_sets(datastore_id, {"filters": [{"operator": "BETWEEN", "values": values}]})
        return {hit["imageSetId"] for page in pages for hit in page["imageSetsMetadataSummaries"]}

    assert (on_second in between(MIDNIGHT, MIDNIGHT + DAY)) is edges
    botocore_cuts = Version(botocore.__version__) < Version("1.43.93")
    assert (within in between(MIDNIGHT - DAY, MIDNIGHT + 2 * MICROSECOND)) is (not (cut or botocore_cuts))


def test_an_image_set_that_is_updated_while_it_is_read_is_given_once_at_its_new_version(behind, store, server):
    now = datetime.now(UTC)
    datastore_id, ids = filled(store, [now - timedelta(seconds=200 - i) for i in range(120)], "updatedAt")
    pages = []

    def update_after_the_first_page(app):
        def answer(environ, start_response):
            body = b"".join(app(environ, start_response))
            pages.append(body)
            if len(pages) == 1:
                store.update_image_set(datastore_id, ids[7], updated_at=now - timedelta(seconds=1))
            return [body]

        return answer

    _, hook = behind(update_after_the_first_page)
    window = TimeWindow(now - timedelta(hours=1), now)
    hits = list(hook.search_image_sets(datastore_id, window=window, time_field="updatedAt"))
    assert len(pages) == 3
    assert {hit["imageSetId"]: hit["version"] for hit in hits} == {each: 1 + (each == ids[7]) for each in ids}
    assert len(hits) == len(ids)


def test_the_report_says_which_botocore_this_holds_for(pytestconfig):
    said = pytestconfig.hook.pytest_report_collectionfinish(
        config=pytestconfig, start_path=pytestconfig.rootpath, startdir=None, items=[]
    )
    assert f"botocore {botocore.__version__}" in str(said)
