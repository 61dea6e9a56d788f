"""Airflow hooks for AWS HealthImaging."""
