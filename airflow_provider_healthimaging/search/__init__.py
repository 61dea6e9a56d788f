"""What to ask of SearchImageSets, and how to read it; it imports neither Airflow nor boto3."""
