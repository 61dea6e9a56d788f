"""The sensors, where users and Airflow look for them."""

from airflow_provider_healthimaging.sensors.import_job import HealthImagingDicomImportJobSensor
from airflow_provider_healthimaging.sensors.search import HealthImagingImageSetSensor

__all__ = ["HealthImagingDicomImportJobSensor", "HealthImagingImageSetSensor"]
