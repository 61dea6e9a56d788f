"""A local HealthImaging for development and tests, without an AWS account or a network.

There are three ways to use it. All of them share one moto backend:

* ``mock_aws``: moto's own ``mock_aws`` with HealthImaging, for tests of code that creates boto3 clients.
* ``LocalServer``: HealthImaging and S3 over HTTP, for all code that accepts an ``endpoint_url``.
* ``python -m airflow_provider_healthimaging.local serve``: the same server from the command line.

A test creates image sets with ``backend()``. The import of this package registers the backend with moto. This
package imports neither Airflow nor the rest of the provider, and the rest of the provider does not import it.
"""

import os
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

from moto import mock_aws  # noqa: E402 - after register(), so that mock_aws contains HealthImaging
from moto.core.models import DEFAULT_ACCOUNT_ID  # noqa: E402

from .call_log import Call, CallLog  # noqa: E402
from .connection import airflow_connection  # noqa: E402
from .dicom import load_dicom  # noqa: E402
from .server import LocalServer  # noqa: E402

__all__ = ["Call", "CallLog", "LocalServer", "airflow_connection", "backend", "load_dicom", "mock_aws", "register"]


def backend(account_id: str | None = None, region: str = "us-east-1") -> "MedicalImagingBackend":
    """Return the backend of ``mock_aws`` and ``LocalServer`` in this process.

    A moto reset creates a new backend, so call this function again after it. ``mock_aws`` resets moto when it
    starts and when it ends.

    :param account_id: AWS account, 12 digits; default moto's: the environment variable ``MOTO_ACCOUNT_ID``, else
        123456789012. Unless you configure moto, all credentials belong to it.
    :param region: region of the data stores.
    :raises KeyError: for a region without HealthImaging. The message lists the regions.
    """
    models: Any = import_module("moto.medicalimaging.models")
    if region not in models.REGIONS:
        raise KeyError(f"there is no HealthImaging in region {region}. The regions are {', '.join(models.REGIONS)}")
    account = account_id or os.environ.get("MOTO_ACCOUNT_ID", DEFAULT_ACCOUNT_ID)
    found: MedicalImagingBackend = models.medicalimaging_backends[account][region]
    return found
