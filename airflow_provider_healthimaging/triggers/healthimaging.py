"""The triggers, where users and Airflow look for them."""

from airflow_provider_healthimaging.triggers.import_job import HealthImagingDicomImportJobTrigger
from airflow_provider_healthimaging.triggers.new_image_sets import HealthImagingNewImageSetsTrigger
from airflow_provider_healthimaging.triggers.search import HealthImagingImageSetTrigger

__all__ = ["HealthImagingDicomImportJobTrigger", "HealthImagingImageSetTrigger", "HealthImagingNewImageSetsTrigger"]
