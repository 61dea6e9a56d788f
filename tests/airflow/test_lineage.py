"""What OpenLineage's own provider makes of a search that is done."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.providers.openlineage.extractors.base import DefaultExtractor

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator
from airflow_provider_healthimaging.output.lineage import export_lineage, import_lineage
from airflow_provider_healthimaging.sensors.healthimaging import HealthImagingImageSetSensor

DATASTORE_ID = "d" * 32
CANARY = "CANARY-4711"
S3 = {"s3_uri": "s3://image-sets/arrivals/", "rows_per_file": 2}


@pytest.fixture
def lineage(store, bucket):
    """Return a function that runs a task which finds three image sets, and gives inputs and outputs of its lineage."""
    moment = datetime(2026, 3, 1, 11, 30, tzinfo=UTC)
    for _ in range(3):
        store.put_image_set(DATASTORE_ID, created_at=moment, dicom_tags={"DICOMPatientId": CANARY})

    def run(task_class, **arguments):
        task = task_class(
            task_id="find",
            datastore_id=DATASTORE_ID,
            window_start="2026-03-01T11:00:00Z",
            window_end="2026-03-01T12:00:00Z",
            search_criteria={"filters": [{"operator": "EQUAL", "values": [{"DICOMPatientId": CANARY}]}]},
            do_xcom_push=False,
            **arguments,
        )
        task.execute({"ti": SimpleNamespace()})
        found = DefaultExtractor(task).extract_on_complete(task_instance=SimpleNamespace())
        return found.inputs, found.outputs

    return run


@pytest.mark.parametrize("task_class", [HealthImagingSearchImageSetsOperator, HealthImagingImageSetSensor])
def test_a_dataset_is_an_output_of_the_data_store_with_its_rows_and_columns(lineage, task_class):
    (source,), (dataset,) = lineage(task_class, dicom_tags=["DICOMPatientId", "DICOMSeriesNumber"], **S3)

    assert (source.namespace, source.name) == ("healthimaging://us-east-1", DATASTORE_ID)
    assert dataset.namespace == "s3://image-sets"
    assert dataset.name == "arrivals/window=20260301T110000Z_20260301T120000Z"
    statistics = dataset.outputFacets["outputStatistics"]
    assert (statistics.rowCount, statistics.fileCount) == (3, 2)
    *columns, tags = dataset.facets["schema"].fields
    assert [column.name for column in columns] == [
        *("datastoreId", "imageSetId", "version"),
        *("createdAt", "updatedAt", "isPrimary"),
    ]
    assert [(tag.name, tag.type) for tag in tags.fields] == [
        ("DICOMPatientId", "string"),
        ("DICOMSeriesNumber", "integer"),
    ]
    assert CANARY not in f"{source!r} {dataset!r}"


def test_what_went_to_xcom_is_no_dataset(lineage):
    (source,), outputs = lineage(HealthImagingSearchImageSetsOperator)

    assert source.name == DATASTORE_ID
    assert outputs == []


def test_a_dataset_without_tags_has_no_column_for_them(lineage):
    _, (dataset,) = lineage(HealthImagingSearchImageSetsOperator, **S3)

    assert "DICOMTags" not in [column.name for column in dataset.facets["schema"].fields]


def test_an_import_that_was_not_waited_for_has_the_data_store_as_its_only_output():
    found = import_lineage(None, DATASTORE_ID, "us-east-1", None)
    assert found.inputs == []
    assert [(each.namespace, each.name) for each in found.outputs] == [("healthimaging://us-east-1", DATASTORE_ID)]


def test_a_copy_that_wrote_nothing_has_no_output():
    found = export_lineage([DATASTORE_ID], "us-east-1", None)
    assert [(each.namespace, each.name) for each in found.inputs] == [("healthimaging://us-east-1", DATASTORE_ID)]
    assert found.outputs == []
