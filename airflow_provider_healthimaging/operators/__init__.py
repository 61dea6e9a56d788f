"""Airflow operators for AWS HealthImaging."""
