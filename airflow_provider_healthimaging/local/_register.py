"""Registers HealthImaging with moto. It knows moto's import path and URL index, and not the backend."""

import re
import sys
from pathlib import Path

_SERVICE = "medicalimaging"
_FOLDER = str(Path(__file__).with_name("moto_backend"))
# The pattern requires a region, because "medical-imaging.s3.amazonaws.com" is an S3 bucket.
_URL = re.compile(r"https?://(runtime-)?medical-imaging\.[a-z]{2}(-[a-z]+)+-[0-9]+\.amazonaws\.com")


def register() -> None:
    """Make ``moto.medicalimaging`` importable, and route HealthImaging's hosts to it.

    A second call changes nothing. It also works if ``mock_aws`` is imported or active already. If moto has a
    HealthImaging backend of its own, this one replaces it, because the rest of this package needs it.

    :raises RuntimeError: if moto's own backend is imported already, because then there would be two states.
    """
    import moto
    from moto import backend_index

    imported = sys.modules.get(f"moto.{_SERVICE}")
    if imported is not None and not (imported.__file__ or "").startswith(_FOLDER):
        raise RuntimeError(
            f"moto.{_SERVICE} is already imported from {imported.__file__}; import "
            "airflow_provider_healthimaging.local before using moto's own HealthImaging"
        )
    if _FOLDER not in moto.__path__:
        moto.__path__.insert(0, _FOLDER)
    # Changed in place, because moto's server keeps a reference to this list.
    index = backend_index.backend_url_patterns
    index[:] = [(_SERVICE, _URL), *(entry for entry in index if entry[0] != _SERVICE)]
