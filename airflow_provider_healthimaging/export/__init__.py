"""What of an image set goes to S3, under which keys, and how it is checked; it imports neither Airflow nor boto3."""
