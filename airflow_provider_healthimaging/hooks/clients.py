"""Makes clients. Errors of amazon's provider about a connection become errors of this package."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_healthimaging.aws.error_table import HEALTHIMAGING
from airflow_provider_healthimaging.aws.errors import translate_errors
from airflow_provider_healthimaging.exceptions import ConfigurationError, HealthImagingError

T = TypeVar("T")


def translate_client_errors(make: Callable[[], T], location: str, service: str = HEALTHIMAGING) -> T:
    """Return the client that ``make`` makes. For this, amazon's provider reads the connection, and may ask STS."""
    try:
        return translate_errors(make, location, service)
    except HealthImagingError:
        raise
    except AirflowException:
        # amazon's provider raises it for some settings of a role. Its text shows them.
        problem = ConfigurationError(
            f"amazon's provider rejects a setting of the connection ({location}). Check assume_role_kwargs, and the "
            "settings of the assume_role_method, in the extra of the connection."
        )
    raise problem
