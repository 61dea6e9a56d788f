"""An Apache Airflow provider for AWS HealthImaging."""

__version__ = "0.1.0"
