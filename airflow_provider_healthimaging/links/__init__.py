"""Airflow links for AWS HealthImaging."""
