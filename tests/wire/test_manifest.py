"""Manifests joined into one: of datasets that searches over HTTP wrote to the local S3."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from airflow_provider_healthimaging.exceptions import AccessDeniedError, HealthImagingError, InvalidArgumentError
from airflow_provider_healthimaging.manifest import join_manifests
from airflow_provider_healthimaging.output.dataset import S3Dataset, window_folder
from airflow_provider_healthimaging.output.destination import OutputRequest
from airflow_provider_healthimaging.output.file_formats import file_format
from airflow_provider_healthimaging.output.records import to_record
from airflow_provider_healthimaging.window import TimeWindow

DATASTORE_ID = "d" * 32
URI = "s3://image-sets/backfill/"
YEAR = TimeWindow("2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z")
QUARTERS = YEAR.split(4)
FOLDER = "backfill/window=20250101T000000Z_20260101T000000Z/"


@pytest.fixture
def s3(bucket):
    """amazon's hook on the local S3, which has a bucket."""
    return S3Hook()


@pytest.fixture
def written(s3, store, hook):
    """``written(window)`` searches a window, writes its dataset with three records a part, and returns the result."""
    for number in range(20):
        store.put_image_set(DATASTORE_ID, created_at=YEAR.start + number * timedelta(days=16))

    def write(window, uri=URI):
        found = hook.search_image_sets(DATASTORE_ID, window=window)
        records = (to_record(each, DATASTORE_ID) for each in found)
        about = {"datastore_id": DATASTORE_ID, "time_field": "createdAt", "window": window.to_dict()}
        destination = OutputRequest.parse(s3_uri=uri, rows_per_file=3).s3
        dataset = S3Dataset(s3, destination, window_folder(window), file_format("jsonl", ()))
        return dataset.write(records, about, dataset.load_checkpoint(None, "createdAt"))

    return write


@pytest.fixture
def quarters(written):
    """The manifests of the four quarters of the year."""
    return [written(quarter)["manifest"] for quarter in QUARTERS]


@pytest.fixture
def change(bucket):
    """``change(manifest, **keys)`` writes a manifest again with other values."""

    def write(uri, **keys):
        stored = bucket.Object(uri.removeprefix("s3://image-sets/"))
        manifest = json.load(stored.get()["Body"]) | keys
        stored.put(Body=json.dumps(manifest))

    return write


def load(bucket, uri):
    return json.load(bucket.Object(uri.removeprefix("s3://image-sets/")).get()["Body"])


def rows(bucket, manifest):
    """Return the records of the parts that a manifest lists, in its order."""
    lines = []
    for part in load(bucket, manifest)["parts"]:
        body = bucket.Object(part["uri"].removeprefix("s3://image-sets/")).get()["Body"].read()
        lines += [json.loads(line) for line in gzip.decompress(body).splitlines()]
    return lines


def test_joined_dataset_has_every_image_set_once_in_order_of_time(bucket, store, s3, quarters):
    joined = join_manifests(s3, quarters, URI)

    by_time = sorted(store.image_sets(DATASTORE_ID), key=lambda row: row.created_at)
    assert [row["imageSetId"] for row in rows(bucket, joined["manifest"])] == [row.image_set_id for row in by_time]


def test_joined_dataset_is_described_as_one_that_a_search_of_the_whole_window_wrote(bucket, s3, written, quarters):
    joined = join_manifests(s3, quarters, URI)

    at_once = written(YEAR, "s3://image-sets/at-once/")
    assert joined.keys() == at_once.keys()
    assert joined == {
        "s3_uri": f"s3://image-sets/{FOLDER}",
        "manifest": f"s3://image-sets/{FOLDER}_manifest.json",
        "image_sets": 20,
        "parts": 7,
    }
    manifest, whole = load(bucket, joined["manifest"]), load(bucket, at_once["manifest"])
    assert manifest.keys() == whole.keys()
    own = {"parts"}
    assert {key: manifest[key] for key in manifest.keys() - own} == {key: whole[key] for key in whole.keys() - own}
    assert sum(part["rows"] for part in manifest["parts"]) == 20


def test_order_of_the_manifests_and_joining_again_change_no_byte(bucket, s3, quarters):
    def joined(manifests):
        return bucket.Object(FOLDER + "_manifest.json").get()["Body"].read(), join_manifests(s3, manifests, URI)

    join_manifests(s3, quarters, URI)
    first = joined(quarters)
    assert joined(reversed(quarters)) == first
    assert joined(iter(quarters)) == first


def test_joining_copies_no_part_and_leaves_what_is_there(bucket, s3, quarters):
    before = {stored.key: stored.e_tag for stored in bucket.objects.all()}

    join_manifests(s3, quarters, URI)

    after = {stored.key: stored.e_tag for stored in bucket.objects.all()}
    assert after.keys() - before.keys() == {FOLDER + "_manifest.json"}
    assert before.items() <= after.items()


def test_windows_without_image_sets_are_joined_too(bucket, store, s3, written, quarters):
    for row in store.image_sets(DATASTORE_ID):
        store.delete_image_set(DATASTORE_ID, row.image_set_id)
    manifests = [written(quarter)["manifest"] for quarter in QUARTERS]

    joined = join_manifests(s3, manifests, URI)

    assert (joined["image_sets"], joined["parts"]) == (0, 0)
    assert load(bucket, joined["manifest"])["parts"] == []


def test_joined_manifests_can_be_joined_again(bucket, s3, quarters):
    halves = [join_manifests(s3, half, URI)["manifest"] for half in (quarters[:2], quarters[2:])]

    year = join_manifests(s3, halves, URI)

    at_once = join_manifests(s3, quarters, "s3://image-sets/at-once")
    assert load(bucket, year["manifest"]) == load(bucket, at_once["manifest"])


def test_parts_of_parquet_are_joined_as_they_are(bucket, s3, quarters, change):
    for manifest in quarters:
        change(manifest, format="parquet", compression="zstd")

    joined = load(bucket, join_manifests(s3, quarters, URI)["manifest"])

    assert (joined["format"], joined["compression"]) == ("parquet", "zstd")


def test_arguments_for_objects_go_with_the_manifest(bucket, quarters):
    s3 = S3Hook(extra_args={"ServerSideEncryption": "AES256"})

    join_manifests(s3, quarters, URI)

    assert bucket.Object(FOLDER + "_manifest.json").server_side_encryption == "AES256"


@pytest.mark.parametrize("missing", [1, 2])
def test_gap_is_an_error_that_names_the_windows_beside_it(bucket, s3, quarters, missing):
    del quarters[missing]

    with pytest.raises(InvalidArgumentError) as error:
        join_manifests(s3, reversed(quarters), URI)

    assert f"{QUARTERS[missing - 1]} and {QUARTERS[missing + 1]} leave a gap" in str(error.value)
    assert nothing_joined(bucket)


@pytest.mark.parametrize("early", [timedelta(microseconds=1), timedelta(days=200)], ids=str)
def test_overlap_is_an_error_that_names_the_windows(bucket, s3, quarters, written, early):
    second = TimeWindow(QUARTERS[1].start - early, QUARTERS[1].end)
    quarters[1] = written(second)["manifest"]

    with pytest.raises(InvalidArgumentError, match="overlap") as error:
        join_manifests(s3, quarters, URI)

    assert str(second) in str(error.value)
    assert str(QUARTERS[0]) in str(error.value)
    assert nothing_joined(bucket)


def test_same_manifest_twice_is_an_overlap(bucket, s3, quarters):
    with pytest.raises(InvalidArgumentError, match="overlap"):
        join_manifests(s3, [*quarters, quarters[0]], URI)

    assert nothing_joined(bucket)


@pytest.mark.parametrize(
    ("name", "value"),
    [("datastore_id", "e" * 32), ("time_field", "updatedAt"), ("format", "parquet"), ("compression", None)],
)
def test_datasets_that_are_not_alike_are_an_error_that_says_in_what(bucket, s3, quarters, change, name, value):
    change(quarters[3], **{name: value})

    with pytest.raises(InvalidArgumentError) as error:
        join_manifests(s3, quarters, URI)

    assert f"{QUARTERS[2]} and {QUARTERS[3]} differ in {name}: " in str(error.value)
    assert repr(value) in str(error.value)
    assert nothing_joined(bucket)


def test_manifest_that_is_not_there_is_an_error_that_a_retry_may_cure(bucket, s3, quarters):
    bucket.Object(quarters[2].removeprefix("s3://image-sets/")).delete()

    with pytest.raises(HealthImagingError, match="is not complete") as error:
        join_manifests(s3, quarters, URI)

    assert quarters[2] in str(error.value)
    assert not isinstance(error.value, InvalidArgumentError)
    assert nothing_joined(bucket)


def test_bucket_that_may_not_be_read_is_an_error_that_says_so(s3, quarters, behind, store):
    def deny(app):
        def denying(environ, start_response):
            if environ["PATH_INFO"].startswith("/image-sets/"):
                start_response("403 Forbidden", [("Content-Type", "application/xml")])
                return [b""]
            return app(environ, start_response)

        return denying

    behind(deny)

    with pytest.raises(AccessDeniedError, match=r"S3 answered 403 .*_manifest\.json\)\. Allow s3:PutObject"):
        join_manifests(S3Hook(), quarters, URI)


@pytest.mark.parametrize(
    "body",
    [
        *("", "[]", "null", "{", b"\xff", '{"parts": []}', '{"parts": 3, "image_sets": 3, "window": null}'),
        *('{"parts": [], "image_sets": 0, "window": "today"}', '{"parts": [], "image_sets": 0, "window": {"from": 1}}'),
    ],
)
def test_what_is_no_manifest_is_an_error_that_names_it(bucket, s3, quarters, body):
    bucket.Object("backfill/other.json").put(Body=body)

    with pytest.raises(InvalidArgumentError, match=r"s3://image-sets/backfill/other\.json is not a manifest"):
        join_manifests(s3, [*quarters, "s3://image-sets/backfill/other.json"], URI)


def test_dataset_of_a_search_without_a_window_cannot_be_joined(bucket, s3, quarters, change):
    change(quarters[0], window=None)

    with pytest.raises(InvalidArgumentError, match="without a window"):
        join_manifests(s3, quarters, URI)


def test_nothing_to_join_is_an_error(s3):
    with pytest.raises(InvalidArgumentError, match="No manifest was given"):
        join_manifests(s3, [], URI)


@pytest.mark.parametrize("given", ["s3://image-sets/backfill/_manifest.json", 7, None])
def test_manifests_that_are_no_list_are_an_error(s3, given):
    with pytest.raises(
        InvalidArgumentError, match=f"manifests must be a list of s3:// addresses, not {type(given).__name__}"
    ):
        join_manifests(s3, given, URI)


@pytest.mark.parametrize("uri", ["image-sets/backfill", "https://image-sets/backfill", ""])
def test_uri_without_a_bucket_is_an_error(s3, uri, quarters):
    with pytest.raises(InvalidArgumentError, match="names no bucket"):
        join_manifests(s3, quarters, uri)
    with pytest.raises(InvalidArgumentError, match="names no bucket"):
        join_manifests(s3, [uri], URI)


def nothing_joined(bucket):
    return not list(bucket.objects.filter(Prefix=FOLDER))
