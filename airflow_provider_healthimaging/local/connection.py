"""The Airflow connection for a local server. This module knows a URL, but not the server."""

import json
import shlex

# The server accepts any key. moto's documentation uses this one.
ACCESS_KEY = "testing"


def airflow_connection(url: str, region: str = "us-east-1") -> str:
    """Return an Airflow connection of type ``aws`` as JSON, for the server at ``url``.

    If the host is an IP address, botocore uses path-style addresses for S3, so no option is needed.

    :param url: URL of the server, such as ``http://127.0.0.1:5000``.
    :param region: region of the data stores and buckets.
    """
    extra = {"region_name": region, "endpoint_url": url}
    return json.dumps(
        {"conn_type": "aws", "login": ACCESS_KEY, "password": ACCESS_KEY, "extra": extra}, separators=(",", ":")
    )


def export_line(url: str, region: str = "us-east-1", conn_id: str = "aws_default") -> str:
    """Return the shell line that sets Airflow's connection ``conn_id`` to this server."""
    return f"export AIRFLOW_CONN_{conn_id.upper()}={shlex.quote(airflow_connection(url, region))}"
