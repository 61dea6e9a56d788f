"""Which operation a request is, by its method and path, as botocore's model of the service says."""

import re
from functools import cache

import botocore.session


def operation_of(method: str, path: str) -> str | None:
    """Return the name of the operation, or ``None`` if the service has none for the request."""
    request = f"{method} {path}"
    return next((name for name, pattern in _patterns() if pattern.fullmatch(request)), None)


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    model = botocore.session.get_session().get_service_model("medical-imaging")
    routes = ((name, model.operation_model(name).http) for name in model.operation_names)
    # DICOMweb is not in botocore's model.
    dicomweb = "GET /datastore/[^/]+/studies/[^/]+/series/[^/]+/instances/[^/]+"
    return [
        ("GetDICOMInstance", re.compile(dicomweb)),
        *(
            (name, re.compile(http["method"] + " " + re.sub(r"{\w+}", "[^/]+", http["requestUri"])))
            for name, http in routes
        ),
    ]
