"""The settings of the local service over HTTP, like moto's own ``/moto-api``. It knows JSON and the backend.

``GET /healthimaging-api/settings`` returns all settings. ``POST`` with some settings as JSON changes these, and returns
all. ``?region=`` selects the backend (default: us-east-1).
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.wrappers import Request, Response

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from .moto_backend.medicalimaging.models import MedicalImagingBackend

PATH = "/healthimaging-api/settings"


def with_settings_endpoint(
    app: "WSGIApplication", backend: "Callable[..., MedicalImagingBackend]"
) -> "WSGIApplication":
    """Return ``app`` with the settings of ``backend(region=...)`` at ``PATH``."""

    @Request.application
    def settings(request: Request) -> Response | HTTPException:
        if request.method not in {"GET", "POST"}:
            return MethodNotAllowed(["GET", "POST"])
        try:
            known = backend(region=request.args.get("region", "us-east-1")).settings
            if request.method == "POST":
                known.update(_structure(request.get_data()))
        except KeyError as error:
            return _json({"message": f"there is no HealthImaging in region {error}"}, 400)
        except (ValueError, RecursionError) as error:
            return _json({"message": str(error)}, 400)
        return _json(asdict(known))

    return lambda environ, start: (settings if environ["PATH_INFO"] == PATH else app)(environ, start)


def _structure(body: bytes) -> dict[str, object]:
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError("the body must be a JSON structure of settings")  # noqa: TRY004 - a request's, not a caller's
    return document


def _json(document: object, status: int = 200) -> Response:
    return Response(json.dumps(document), status, mimetype="application/json")
