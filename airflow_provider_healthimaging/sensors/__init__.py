"""Airflow sensors for AWS HealthImaging."""
