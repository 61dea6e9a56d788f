"""A botocore client for the DICOMweb service of HealthImaging, which boto3 does not have.

Botocore makes clients from descriptions of services. ``models/`` has one of GetDICOMInstance, so botocore signs the
calls, sends and retries them, and reads errors, as it does for the other operations. The AWS HealthImaging developer
guide describes the operation ("Getting DICOM instances").
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import botocore.session
from botocore.loaders import Loader

from airflow_provider_healthimaging.aws.client_config import is_aws_host

if TYPE_CHECKING:
    import boto3
    from botocore.config import Config
    from botocore.credentials import Credentials
    from types_boto3_medical_imaging import HealthImagingClient

SERVICE = "medical-imaging-dicomweb"

_MODELS = Path(__file__).parent / "models"


class _GivenCredentials:
    """Botocore's component that finds credentials: here, those of another session, which renews them."""

    def __init__(self, session: boto3.session.Session) -> None:
        self._session = session

    def load_credentials(self) -> Credentials | None:
        return self._session.get_credentials()


def dicomweb_client(
    session: boto3.session.Session,
    client: HealthImagingClient,
    *,
    config: Config,
    verify: bool | str | None,
    on_class: Callable[..., None] | None,
) -> Any:  # botocore makes its class
    """Return a client with the operation ``get_dicom_instance``.

    :param session: has the credentials.
    :param client: the client of the other operations, whose region and endpoint are used.
    :param config: botocore's configuration.
    :param verify: whether to verify TLS certificates, or the path of a CA bundle.
    :param on_class: a handler of botocore's event ``creating-client-class``, or ``None``.
    """
    own = botocore.session.Session(profile=session.profile_name if session.profile_name != "default" else None)
    own.register_component("data_loader", _loader())
    own.register_component("credential_provider", _GivenCredentials(session))
    if on_class:
        own.register(f"creating-client-class.{SERVICE}", on_class)
    return own.create_client(
        SERVICE,
        region_name=client.meta.region_name,
        endpoint_url=dicomweb_endpoint(client.meta.endpoint_url),
        config=config,
        verify=verify,
    )


@functools.cache
def _loader() -> Loader:
    """Return a loader of descriptions of services that knows ours, too. It keeps what it has read."""
    return Loader(extra_search_paths=[str(_MODELS)])


def dicomweb_endpoint(endpoint_url: str) -> str:
    """Return the endpoint of DICOMweb: AWS's own has the prefix ``dicom-``, and a custom one is used as it is given."""
    parts = urlsplit(endpoint_url)
    if not is_aws_host(parts.hostname):
        return endpoint_url
    return urlunsplit(parts._replace(netloc=f"dicom-{parts.netloc}"))
