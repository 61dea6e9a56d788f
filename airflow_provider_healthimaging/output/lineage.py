"""The OpenLineage facets of a search and of an import job: what was read, and what was written.

They hold names of columns and counts, but neither search values nor values of tags. The names of data stores and
datasets follow https://openlineage.io/docs/spec/naming.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_healthimaging.export.s3_address import parse_s3_uri
from airflow_provider_healthimaging.output.records import COLUMNS, tag_column_type

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_healthimaging.output.dataset import DatasetSummary


def dataset_lineage(
    datastore_id: str, region: str | None, dataset: DatasetSummary | None, tags: tuple[str, ...]
) -> OperatorLineage[Any, Any]:
    """Return the lineage of a search that has ended.

    :param region: where the data store is.
    :param dataset: what was written, or ``None`` if the records went to XCom, which is not a dataset.
    :param tags: the DICOM tags in each record.
    """
    from airflow.providers.openlineage.extractors import OperatorLineage

    outputs = [] if dataset is None else [_written(dataset, tags)]
    return OperatorLineage(inputs=[_datastore(region, datastore_id)], outputs=outputs)


def import_lineage(
    input_s3_uri: str | None, datastore_id: str, region: str | None, dataset: DatasetSummary | None
) -> OperatorLineage[Any, Any]:
    """Return the lineage of an import job that has ended: from the input's prefix to the data store.

    :param input_s3_uri: the input's prefix, or ``None`` if the task did not wait for the job.
    :param dataset: the dataset of records that was written, if one was.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    outputs: list[Any] = [_datastore(region, datastore_id)]
    if dataset is not None:
        outputs.append(_written(dataset, ()))
    if input_s3_uri is None:
        return OperatorLineage(outputs=outputs)
    bucket, prefix = parse_s3_uri(input_s3_uri)
    return OperatorLineage(
        inputs=[Dataset(namespace=f"s3://{bucket}", name=prefix.rstrip("/") or "/")], outputs=outputs
    )


def export_lineage(
    datastore_ids: list[str], region: str | None, written: tuple[str, int, int, int] | None
) -> OperatorLineage[Any, Any]:
    """Return the lineage of a copy of image sets to S3.

    :param written: the ``s3://`` address under which everything went, how many image sets are complete there, and how
        many objects and bytes were copied.
    """
    from airflow.providers.common.compat.openlineage.facet import OutputDataset, OutputStatisticsOutputDatasetFacet
    from airflow.providers.openlineage.extractors import OperatorLineage

    outputs = []
    if written is not None:
        uri, image_sets, objects, size = written
        bucket, prefix = parse_s3_uri(uri)
        statistics = OutputStatisticsOutputDatasetFacet(rowCount=image_sets, fileCount=objects, size=size)
        outputs.append(
            OutputDataset(
                namespace=f"s3://{bucket}",
                name=prefix.rstrip("/") or "/",
                outputFacets={"outputStatistics": statistics},
            )
        )
    return OperatorLineage(inputs=[_datastore(region, each) for each in datastore_ids], outputs=outputs)


def _datastore(region: str | None, datastore_id: str) -> Any:  # a Dataset of OpenLineage
    from airflow.providers.common.compat.openlineage.facet import Dataset

    return Dataset(namespace=f"healthimaging://{region}", name=datastore_id)


def _written(dataset: DatasetSummary, tags: tuple[str, ...]) -> Any:  # an OutputDataset of OpenLineage
    from airflow.providers.common.compat.openlineage.facet import (
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
        SchemaDatasetFacet,
        SchemaDatasetFacetFields,
    )

    columns = [SchemaDatasetFacetFields(name=name, type=kind) for name, kind in COLUMNS.items()]
    if tags:
        fields = [SchemaDatasetFacetFields(name=tag, type=tag_column_type(tag)) for tag in tags]
        columns.append(SchemaDatasetFacetFields(name="DICOMTags", type="struct", fields=fields))
    bucket, folder = parse_s3_uri(dataset["s3_uri"])
    return OutputDataset(
        namespace=f"s3://{bucket}",
        name=folder.rstrip("/"),
        facets={"schema": SchemaDatasetFacet(fields=columns)},
        outputFacets={
            "outputStatistics": OutputStatisticsOutputDatasetFacet(
                rowCount=dataset["image_sets"], fileCount=dataset["parts"]
            )
        },
    )
