"""Use this to find the image sets of an accession number without showing the number anywhere.

Airflow keeps the parameters of a run, and shows them in clear: on the run's page, in the REST API, and to every task.
So the parameter names an Airflow Variable that holds the number, in a secrets backend or encrypted in Airflow's
database. If the Variable's name contains ``secret``, Airflow's page of Variables and its logs show ``***`` instead of
the value.

    airflow variables set secret_of_order_17 <the accession number>
    airflow dags trigger healthimaging_by_accession_number --conf '{"variable": "secret_of_order_17"}'

The Airflow Variable ``healthimaging_datastore_id`` holds the id of the data store. Its default is the one that
``python -m airflow_provider_healthimaging.local serve`` creates.
"""

from datetime import datetime

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

from airflow_provider_healthimaging.operators.healthimaging import HealthImagingSearchImageSetsOperator

with DAG(
    "healthimaging_by_accession_number",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    params={"variable": "secret_of_order"},
):
    search = HealthImagingSearchImageSetsOperator(
        task_id="search",
        datastore_id="{{ var.value.get('healthimaging_datastore_id', 'local' ~ '0' * 27) }}",
        time_field=None,
        search_criteria={
            "filters": [{"values": [{"DICOMAccessionNumber": "{{ var.value[params.variable] }}"}], "operator": "EQUAL"}]
        },
        on_empty="fail",
    )

    @task(map_index_template="{{ task.op_kwargs['image_set']['imageSetId'] }}")
    def process(image_set: dict) -> str:
        """Handle one image set of the study."""
        return f"{image_set['imageSetId']}, version {image_set['version']}"

    process.expand(image_set=search.output)
