"""What the tasks of this package share in Airflow: arguments, run window, waiting, delivery and failure."""
