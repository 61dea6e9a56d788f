"""Registers HealthImaging with moto. This module knows moto's import path and URL index, but not the backend."""

import re
import sys
from pathlib import Path

_MOTO_SERVICE = "medicalimaging"
_BACKEND_FOLDER = str(Path(__file__).with_name("moto_backend"))
# The pattern requires a region, because "medical-imaging.s3.amazonaws.com" is an S3 bucket.
_HOST_PATTERN = re.compile(r"https?://((runtime|dicom)-)?medical-imaging\.[a-z]{2}(-[a-z]+)+-[0-9]+\.amazonaws\.com")


def register() -> None:
    """Make ``moto.medicalimaging`` importable, and route HealthImaging's hosts to it.

    A second call changes nothing. It also works if ``mock_aws`` is imported or active already. If moto has a
    HealthImaging backend of its own, this one replaces it, because the rest of this package needs it.

    :raises RuntimeError: if moto's own backend is already imported, because then there would be two backends.
    """
    import moto
    from moto import backend_index

    imported = sys.modules.get(f"moto.{_MOTO_SERVICE}")
    if imported is not None and not (imported.__file__ or "").startswith(_BACKEND_FOLDER):
        raise RuntimeError(
            f"moto.{_MOTO_SERVICE} is already imported from {imported.__file__}. Change the order: "
            "import airflow_provider_healthimaging.local before moto's own HealthImaging."
        )
    if _BACKEND_FOLDER not in moto.__path__:
        moto.__path__.insert(0, _BACKEND_FOLDER)
    # Changed in place, because moto's server keeps a reference to this list.
    index = backend_index.backend_url_patterns
    index[:] = [(_MOTO_SERVICE, _HOST_PATTERN), *(entry for entry in index if entry[0] != _MOTO_SERVICE)]
