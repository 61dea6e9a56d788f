"""Makes moto know HealthImaging; it may know moto's import path and URL index, and nothing of the backend."""

import re
import sys
from pathlib import Path

_SERVICE = "medicalimaging"
_FOLDER = str(Path(__file__).with_name("moto_backend"))
# The region is spelt out: "medical-imaging.s3.amazonaws.com" is somebody's bucket.
_URL = re.compile(r"https?://(runtime-)?medical-imaging\.[a-z]{2}(-[a-z]+)+-[0-9]+\.amazonaws\.com")


def register() -> None:
    """Make ``moto.medicalimaging`` importable and route HealthImaging's hosts to it; again changes nothing.

    Also works while ``mock_aws`` is imported or active. A HealthImaging backend of moto's own is put in the
    shade, as what fills and steers this one is not in it.

    :raises RuntimeError: when moto's own has been imported before, so that there would be two states.
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
    # In place: moto's server holds on to this very list.
    index = backend_index.backend_url_patterns
    index[:] = [(_SERVICE, _URL), *(entry for entry in index if entry[0] != _SERVICE)]
