"""Airflow transfer operators for AWS HealthImaging."""
