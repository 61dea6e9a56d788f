"""The triggers, where users and Airflow look for them."""

from airflow_provider_healthimaging.triggers.search import HealthImagingImageSetTrigger
from airflow_provider_healthimaging.triggers.new_image_sets import HealthImagingNewImageSetsTrigger

__all__ = ["HealthImagingImageSetTrigger", "HealthImagingNewImageSetsTrigger"]
