"""Runs due import jobs before each request to the server, also to S3: a client may wait for the output files there.

Without the server, in ``mock_aws``, jobs run in the requests to HealthImaging.
"""

from typing import TYPE_CHECKING

from moto.medicalimaging.models import medicalimaging_backends

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def with_due_imports(app: "WSGIApplication") -> "WSGIApplication":
    """Return ``app``, with the due import jobs of all accounts and regions before each request."""

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> "Iterable[bytes]":
        for regions in list(medicalimaging_backends.values()):
            for backend in list(regions.values()):
                backend.import_jobs.run_due()
        return app(environ, start_response)

    return answer
