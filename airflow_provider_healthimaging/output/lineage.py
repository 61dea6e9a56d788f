"""The OpenLineage facets of a search: which data store was read, and which dataset was written.

They hold names of columns and counts, but neither search values nor values of tags. The names of data stores and
datasets follow https://openlineage.io/docs/spec/naming.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_healthimaging.output.destination import parse_s3_uri
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
    from airflow.providers.common.compat.openlineage.facet import (
        Dataset,
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
        SchemaDatasetFacet,
        SchemaDatasetFacetFields,
    )
    from airflow.providers.openlineage.extractors import OperatorLineage

    source = Dataset(namespace=f"healthimaging://{region}", name=datastore_id)
    if dataset is None:
        return OperatorLineage(inputs=[source])
    columns = [SchemaDatasetFacetFields(name=name, type=kind) for name, kind in COLUMNS.items()]
    if tags:
        fields = [SchemaDatasetFacetFields(name=tag, type=tag_column_type(tag)) for tag in tags]
        columns.append(SchemaDatasetFacetFields(name="DICOMTags", type="struct", fields=fields))
    bucket, folder = parse_s3_uri(dataset["s3_uri"])
    written = OutputDataset(
        namespace=f"s3://{bucket}",
        name=folder.rstrip("/"),
        facets={"schema": SchemaDatasetFacet(fields=columns)},
        outputFacets={
            "outputStatistics": OutputStatisticsOutputDatasetFacet(
                rowCount=dataset["image_sets"], fileCount=dataset["parts"]
            )
        },
    )
    return OperatorLineage(inputs=[source], outputs=[written])
