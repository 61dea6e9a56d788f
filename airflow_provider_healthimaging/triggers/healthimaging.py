"""The triggers, where users and Airflow look for them."""

from airflow_provider_healthimaging.triggers.waiting import HealthImagingImageSetTrigger
from airflow_provider_healthimaging.triggers.watching import HealthImagingNewImageSetsTrigger

__all__ = ["HealthImagingImageSetTrigger", "HealthImagingNewImageSetsTrigger"]
