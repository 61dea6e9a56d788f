"""Airflow triggers for AWS HealthImaging."""
