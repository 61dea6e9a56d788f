"""The operators, where users and Airflow look for them."""

from airflow_provider_healthimaging.operators.import_job import HealthImagingStartDicomImportJobOperator
from airflow_provider_healthimaging.operators.search import HealthImagingSearchImageSetsOperator

__all__ = ["HealthImagingSearchImageSetsOperator", "HealthImagingStartDicomImportJobOperator"]
