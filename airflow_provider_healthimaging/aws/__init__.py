"""The boto3 client: its configuration, errors, retries and rate. It does not import Airflow."""
