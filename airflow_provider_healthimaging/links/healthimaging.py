"""The links from a task to its data store and to its import job in the AWS console."""

from __future__ import annotations

from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink


class HealthImagingDatastoreLink(BaseAwsLink):
    """Link to the data store's page in the HealthImaging console.

    AWS documents the list (``#/dataStores``) and not the page of one data store; where the console does not know
    the page, it shows the list.
    """

    name = "HealthImaging Data Store"
    key = "healthimaging_datastore"
    format_str = BASE_AWS_CONSOLE_LINK + "/medical-imaging/home?region={region_name}#/dataStores/{datastore_id}"


class HealthImagingDicomImportJobLink(BaseAwsLink):
    """Link to an import job's page in the HealthImaging console.

    AWS does not document the address. Where the console does not know it, it shows the list of data stores.
    """

    name = "HealthImaging Import Job"
    key = "healthimaging_import_job"
    format_str = HealthImagingDatastoreLink.format_str + "/importJobs/{job_id}"
