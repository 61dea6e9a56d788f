"""How Airflow is told to talk to a local server instead of AWS; knows a URL and nothing of servers."""

import json
import shlex

# Any key will do; this is the one in moto's documentation.
KEY = "testing"


def airflow_connection(url: str, region: str = "us-east-1") -> str:
    """Return an Airflow connection of type ``aws`` as JSON, for the server at ``url``.

    S3 behind an IP address is addressed path-style by botocore itself, so it needs no option.

    :param url: of the server, such as ``http://127.0.0.1:5000``.
    :param region: the region that its data stores and buckets are in.
    """
    extra = {"region_name": region, "endpoint_url": url}
    return json.dumps({"conn_type": "aws", "login": KEY, "password": KEY, "extra": extra}, separators=(",", ":"))


def export_line(url: str, region: str = "us-east-1", conn_id: str = "aws_default") -> str:
    """Return the shell line that makes it Airflow's connection ``conn_id``."""
    return f"export AIRFLOW_CONN_{conn_id.upper()}={shlex.quote(airflow_connection(url, region))}"
