"""The settings of the local service over HTTP, like moto's own ``/moto-api``.

``GET /healthimaging-api/settings`` returns all settings. ``POST`` with some settings as JSON changes these, and returns
all settings. ``?region=`` selects the backend (default: us-east-1). This module knows JSON and the backend.
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

SETTINGS_PATH = "/healthimaging-api/settings"


def with_settings_endpoint(
    app: "WSGIApplication", backend: "Callable[..., MedicalImagingBackend]"
) -> "WSGIApplication":
    """Return ``app`` with the settings of ``backend(region=...)`` at ``SETTINGS_PATH``."""

    @Request.application
    def answer(request: Request) -> Response | HTTPException:
        if request.method not in {"GET", "POST"}:
            return MethodNotAllowed(["GET", "POST"])
        try:
            settings = backend(region=request.args.get("region", "us-east-1")).settings
            if request.method == "POST":
                settings.update(_parse_changes(request.get_data()))
        except (KeyError, ValueError) as error:
            return _json_response({"message": error.args[0]}, 400)
        return _json_response(asdict(settings))

    return lambda environ, start: (answer if environ["PATH_INFO"] == SETTINGS_PATH else app)(environ, start)


def _parse_changes(body: bytes) -> dict[str, object]:
    try:
        changes = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is not JSON: {error}") from None
    if not isinstance(changes, dict):
        raise ValueError("the body must be a JSON object with settings")  # noqa: TRY004 - the client's error
    return changes


def _json_response(document: object, status: int = 200) -> Response:
    return Response(json.dumps(document), status, mimetype="application/json")
