"""The JSON forms of data stores, image sets and import jobs in responses."""

from datetime import datetime
from typing import Any

from .datastore import Datastore
from .image_sets import TAG_TYPES, ImageSet
from .import_job import ImportJob

# The default for all tags. Looking up each tag would take an eighth of the time of a search.
_NULL_TAGS = dict.fromkeys(TAG_TYPES)


def datastore_properties(datastore: Datastore) -> dict[str, Any]:
    """Return ``DatastoreProperties``."""
    return {**datastore_summary(datastore), "losslessStorageFormat": datastore.lossless_storage_format}


def datastore_summary(datastore: Datastore) -> dict[str, Any]:
    """Return a ``DatastoreSummary``."""
    return {
        "datastoreId": datastore.datastore_id,
        "datastoreName": datastore.name,
        "datastoreStatus": datastore.status,
        "datastoreArn": datastore.arn,
        "createdAt": datastore.created_at.timestamp(),
        "updatedAt": datastore.updated_at.timestamp(),
    }


def search_hit(image_set: ImageSet) -> dict[str, Any]:
    """Return an ``ImageSetsMetadataSummary``."""
    return {
        "imageSetId": image_set.image_set_id,
        "version": image_set.version,
        "createdAt": image_set.created_at.timestamp(),
        "updatedAt": image_set.updated_at.timestamp(),
        **access_properties(image_set),
        "isPrimary": image_set.is_primary,
        "DICOMTags": {**_NULL_TAGS, **image_set.dicom_tags},
    }


def version_properties(image_set: ImageSet) -> dict[str, Any]:
    """Return the members that GetImageSet and ListImageSetVersions share."""
    return {
        "imageSetId": image_set.image_set_id,
        "versionId": str(image_set.version),
        "imageSetState": "ACTIVE",
        "createdAt": image_set.created_at.timestamp(),
        "updatedAt": image_set.updated_at.timestamp(),
        "isPrimary": image_set.is_primary,
    }


def access_properties(image_set: ImageSet) -> dict[str, Any]:
    """Return the members about access and storage."""
    return {"lastAccessedAt": image_set.updated_at.timestamp(), "storageTier": "FREQUENT_ACCESS"}


def workflow_status(image_set: ImageSet) -> str:
    """Return the ``imageSetWorkflowStatus``."""
    return "CREATED" if image_set.version == 1 else "UPDATED"


def import_job_summary(job: ImportJob, now: datetime) -> dict[str, Any]:
    """Return a ``DICOMImportJobSummary``. Members without a value are left out."""
    members = {
        "jobId": job.job_id,
        "jobName": job.name,
        "jobStatus": job.status(now),
        "datastoreId": job.datastore_id,
        "dataAccessRoleArn": job.request["dataAccessRoleArn"],
        "submittedAt": job.submitted_at.timestamp(),
        "endedAt": job.ended_at and job.ended_at.timestamp(),
        "message": job.message,
    }
    return {name: value for name, value in members.items() if value is not None}


def import_job_properties(job: ImportJob, now: datetime) -> dict[str, Any]:
    """Return ``DICOMImportJobProperties``. The ``outputS3Uri`` is the folder of this job."""
    members = {"inputS3Uri": job.request["inputS3Uri"], "outputS3Uri": job.output_uri}
    configuration = job.request.get("importConfiguration")
    if configuration:
        members["importConfiguration"] = configuration
    return {**import_job_summary(job, now), **members}
