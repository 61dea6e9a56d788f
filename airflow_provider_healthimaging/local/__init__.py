"""A HealthImaging to develop and test against: no AWS account, no network, no patient data.

Three ways in, over one and the same moto backend:

* ``mock_aws``: moto's own, with HealthImaging in it, for tests of code that makes boto3 clients;
* ``LocalServer``: HealthImaging and S3 over HTTP, for everything that takes an ``endpoint_url``;
* ``python -m airflow_provider_healthimaging.local serve``: the same from the command line.

``backend()`` is where a test fills it. Importing this package registers the backend with moto. Nothing here
knows Airflow or the rest of the provider, and nothing outside this folder imports it.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if not (find_spec("moto") and find_spec("pydicom")):
    raise ModuleNotFoundError(
        "The local HealthImaging needs moto and pydicom: pip install 'airflow-provider-healthimaging[local]'."
    )

from ._register import register

if TYPE_CHECKING:
    from .moto_backend.medicalimaging.models import MedicalImagingBackend

register()

from moto import mock_aws  # noqa: E402 - after register(), so that a mock knows of HealthImaging

from .call_log import Call, CallLog  # noqa: E402
from .connection import airflow_connection  # noqa: E402
from .dicom import load_dicom  # noqa: E402
from .server import LocalServer  # noqa: E402

__all__ = ["Call", "CallLog", "LocalServer", "airflow_connection", "backend", "load_dicom", "mock_aws", "register"]

# What moto answers for credentials that it has not been told of.
DEFAULT_ACCOUNT_ID = "123456789012"


def backend(account_id: str = DEFAULT_ACCOUNT_ID, region: str = "us-east-1") -> "MedicalImagingBackend":
    """Return the state that ``mock_aws`` and ``LocalServer`` in this process answer from.

    Ask again after a moto reset, which ``mock_aws`` does when it starts and ends: a reset drops the object.

    :param account_id: of AWS, 12 digits; credentials are those of the default one unless moto is told otherwise.
    :param region: the region that the data stores are in.
    :raises KeyError: for a region without HealthImaging.
    """
    models: Any = import_module("moto.medicalimaging.models")
    found: MedicalImagingBackend = models.medicalimaging_backends[account_id][region]
    return found
