"""What OpenLineage is told of a search to S3: from which data store into which dataset, how much, in what columns.

Names of columns only; neither criteria nor tags' values. https://openlineage.io/docs/spec/naming has the form of names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_healthimaging.search.image_set import DICOM_TAGS, chosen_tags
from airflow_provider_healthimaging.output.dataset import parse_s3_uri

COLUMNS = {
    "datastoreId": "string",
    "imageSetId": "string",
    "version": "integer",
    "createdAt": "timestamp",
    "updatedAt": "timestamp",
    "isPrimary": "boolean",
}
TYPES = {str: "string", int: "integer"}


def dataset_lineage(task: Any, dataset: Mapping[str, Any] | None) -> Any:
    """Return the ``OperatorLineage`` of a task that is done.

    :param dataset: what :meth:`~airflow_provider_healthimaging.output.dataset.S3Dataset.write` returned; ``None`` where
        nothing went to S3, and XCom is no dataset.
    """
    from airflow.providers.common.compat.openlineage.facet import (
        Dataset,
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
        SchemaDatasetFacet,
        SchemaDatasetFacetFields,
    )
    from airflow.providers.openlineage.extractors import OperatorLineage

    source = Dataset(namespace=f"healthimaging://{task.hook.conn_region_name}", name=task.datastore_id)
    if dataset is None:
        return OperatorLineage(inputs=[source])
    columns = [SchemaDatasetFacetFields(name=name, type=kind) for name, kind in COLUMNS.items()]
    tags = [SchemaDatasetFacetFields(name=tag, type=TYPES[DICOM_TAGS[tag]]) for tag in chosen_tags(task.dicom_tags)]
    if tags:
        columns.append(SchemaDatasetFacetFields(name="DICOMTags", type="struct", fields=tags))
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
