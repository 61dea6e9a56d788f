"""The example DAGs do what they say, on pydicom's DICOM files in the local service."""

from __future__ import annotations

import gzip
import json
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import airflow
import pytest
from packaging.version import Version

from airflow_provider_healthimaging.local.__main__ import DATASTORE_ID
from airflow_provider_healthimaging.local.dicom import load_dicom, pydicom_sample_files

from .evidence import kept_by_airflow

EXAMPLES = Path(__file__).parents[2] / "example_dags"
ALL = sorted(EXAMPLES.glob("*.py"))
NEEDS_ASSET_STATE = {"healthimaging_on_arrival"}

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def samples(store):
    """What the local service's own data store holds: pydicom's files, which came at half past eleven."""
    store.create_datastore("local", datastore_id=DATASTORE_ID)
    load_dicom(pydicom_sample_files(), DATASTORE_ID, backend=store, created_at=NOON - timedelta(minutes=30))
    return store.image_sets(DATASTORE_ID)


@pytest.fixture
def example(parse):
    """``example(name)`` returns the DAG of that name, from the file of that name."""
    return lambda name: parse(EXAMPLES / f"{name}.py")[name]


def test_hourly_runs_a_task_for_each_image_set_named_after_it(samples, example, run_dag):
    run = run_dag(example("healthimaging_hourly"), NOON + timedelta(minutes=5))

    tasks = [run.task("process", index) for index in range(len(samples))]
    assert run.states("process") == ["success"] * len(samples)
    assert {ti.rendered_map_index: run.xcom("process", map_index=ti.map_index) for ti in tasks} == {
        row.image_set_id: f"{row.image_set_id}, version 1" for row in samples
    }


def test_to_s3_counts_the_modalities_in_the_parts_that_the_manifest_lists(samples, example, run_dag, bucket):
    run = run_dag(example("healthimaging_to_s3"), NOON + timedelta(minutes=5))

    modalities = Counter(row.dicom_tags["DICOMSeriesModality"] or "none" for row in samples)
    assert run.xcom("count_modalities") == modalities
    assert [stored.key for stored in bucket.objects.all()] == [
        "arrivals/window=20260301T110000Z_20260301T120000Z/_manifest.json",
        "arrivals/window=20260301T110000Z_20260301T120000Z/part-00000.parquet",
    ]


def test_copies_hourly_copies_each_image_set_in_batches(samples, example, run_dag, bucket):
    run = run_dag(example("healthimaging_copies_hourly"), NOON + timedelta(minutes=5))

    assert run.states("copy") == ["success"]
    summary = run.xcom("copy", "summary", map_index=0)
    assert (summary["image_sets"], summary["image_sets_failed"]) == (len(samples), 0)
    manifests = [stored for stored in bucket.objects.all() if stored.key.endswith("/_manifest.json")]
    assert {stored.key.split("/")[1] for stored in manifests} == {row.image_set_id for row in samples}


def test_import_to_pixels_reads_the_samples_of_what_was_imported(store, example, run_dag, bucket):
    import numpy as np
    import pydicom

    store.create_datastore("local", datastore_id=DATASTORE_ID)
    (path,) = (path for path in pydicom_sample_files() if path.name == "CT_small.dcm")
    bucket.upload_file(str(path), "inbox/1.dcm")

    run = run_dag(example("healthimaging_import_to_pixels"), NOON)

    (image_set,) = run.xcom("copy")
    assert run.xcom("measure") == {image_set["imageSetId"]: float(np.mean(pydicom.dcmread(path).pixel_array))}


def test_contact_sheet_draws_the_first_frame_of_each_image_set_that_has_pixels(
    samples, store, example, run_dag, bucket
):
    from PIL import Image

    empty = store.put_image_set(DATASTORE_ID, created_at=NOON - HOUR / 2).image_set_id

    run = run_dag(example("healthimaging_contact_sheet"), NOON + timedelta(minutes=5))

    drawn = run.xcom("draw", map_index=0)
    by_id = {row.image_set_id: row for row in samples}
    assert len(drawn) > len(samples) / 2
    assert empty not in drawn
    assert [each.key for each in bucket.objects.filter(Prefix="pictures/")] == sorted(drawn.values())
    for image_set_id, key in drawn.items():
        row = by_id[image_set_id]
        assert key == f"pictures/{image_set_id}-{row.dicom_tags['DICOMSeriesModality'] or 'none'}.png"
        picture = Image.open(bucket.Object(key).get()["Body"])
        sizes = {(int(each.Columns), int(each.Rows)) for each in headers(row)}
        assert picture.format == "PNG"
        assert picture.size in sizes


def headers(image_set):
    """Return the attributes of the image set's files."""
    import io

    import pydicom

    for instance in image_set.instances.values():
        with instance.open() as file:
            dataset = pydicom.dcmread(io.BytesIO(file.read()), stop_before_pixels=True)
            if "Rows" in dataset:
                yield dataset


def test_updates_handles_each_version_once_though_hours_overlap(store, example, run_dag, bucket):
    dag = example("healthimaging_updates")
    store.create_datastore("local", datastore_id=DATASTORE_ID)
    new, changed = (
        store.put_image_set(DATASTORE_ID, created_at=NOON - HOUR / 2, image_set_id=each * 32).image_set_id
        for each in "ab"
    )
    first = run_dag(dag, NOON + timedelta(minutes=5))
    store.update_image_set(DATASTORE_ID, changed, updated_at=NOON + HOUR / 2)
    second = run_dag(dag, NOON + HOUR + timedelta(minutes=5))
    third = run_dag(dag, NOON + 2 * HOUR + timedelta(minutes=5))

    assert results(first, "process") == [f"{new}/version-1", f"{changed}/version-1"]
    assert second.states("process") == ["skipped", "success"]
    assert results(second, "process") == [f"{changed}/version-2"]
    assert third.states("process") == ["skipped"]
    assert [stored.key for stored in bucket.objects.all()] == [
        f"handled/{new}/version-1",
        f"handled/{changed}/version-1",
        f"handled/{changed}/version-2",
    ]


def test_by_accession_number_finds_the_study_and_shows_the_number_nowhere(
    samples, store, example, run_dag, monkeypatch, capfd
):
    number, name = f"canary{uuid.uuid4().hex}", f"secret_of_order_{uuid.uuid4().hex}"
    series = [store.put_image_set(DATASTORE_ID, dicom_tags={"DICOMAccessionNumber": number}) for _ in range(2)]
    monkeypatch.setenv(f"AIRFLOW_VAR_{name.upper()}", number)

    run = run_dag(example("healthimaging_by_accession_number"), NOON, {"variable": name})

    assert set(results(run, "process")) == {f"{row.image_set_id}, version 1" for row in series}
    printed = "".join(capfd.readouterr()).splitlines()
    # Airflow 3.0's dag.test() prints at DEBUG what a task asks its supervisor for, that a value be masked included.
    shown = kept() + "\n".join(line for line in printed if "type='MaskSecret'" not in line)
    assert number not in shown
    assert name in shown


def test_by_accession_number_says_which_variable_is_missing(samples, example, run_dag, capfd):
    run = run_dag(example("healthimaging_by_accession_number"), NOON + HOUR, {"variable": "secret_of_no_order"})

    assert run.states("search") == ["failed"]
    assert "secret_of_no_order" in "".join(capfd.readouterr())


def test_metadata_of_each_image_set_goes_to_s3_as_it_is_and_nowhere_else(
    samples, store, example, run_dag, bucket, capfd
):
    patient = f"canary{uuid.uuid4().hex}"
    named = store.put_image_set(DATASTORE_ID, created_at=NOON - HOUR / 2, dicom_tags={"DICOMPatientName": patient})

    run = run_dag(example("healthimaging_metadata"), NOON + timedelta(minutes=5))

    written = {
        stored.key: json.loads(gzip.decompress(stored.get()["Body"].read()))
        for stored in bucket.objects.all()
        if stored.key.endswith(".json.gz")
    }
    assert {key: metadata["ImageSetID"] for key, metadata in written.items()} == {
        f"metadata/{row.image_set_id}/v1/metadata.json.gz": row.image_set_id for row in (*samples, named)
    }
    assert [len(copied) for copied in results(run, "copy")] == [20, len(samples) + 1 - 20]
    shown = kept() + "".join(capfd.readouterr())
    assert patient in str(written[f"metadata/{named.image_set_id}/v1/metadata.json.gz"])
    assert patient not in shown
    assert named.image_set_id in shown


def kept():
    """Return all that Airflow has written into its home, its database included."""
    return "".join(value.decode(errors="replace") for _, value in kept_by_airflow())


def results(run, task_id):
    """Return what the mapped tasks returned, but for those that were skipped."""
    found = (run.xcom(task_id, map_index=index) for index in range(len(run.states(task_id))))
    return [each for each in found if each is not None]


@pytest.mark.parametrize("path", ALL, ids=[path.stem for path in ALL])
def test_an_example_has_the_dag_of_its_files_name(path, parse):
    if path.stem in NEEDS_ASSET_STATE and Version(airflow.__version__) < Version("3.3.0.dev0"):
        pytest.skip("needs the asset state store of Airflow 3.3")

    assert list(parse(path)) == [path.stem]


@pytest.mark.parametrize("path", ALL, ids=[path.stem for path in ALL])
def test_an_example_is_short_and_begins_with_what_it_is_for(path):
    text = path.read_text()

    assert text.startswith('"""Use this to ')
    assert len(text.splitlines()) <= 60
