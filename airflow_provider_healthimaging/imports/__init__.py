"""An import job: its request and client token, and the files of its output; it imports neither Airflow nor boto3."""
