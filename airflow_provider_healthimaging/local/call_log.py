"""A log of the HealthImaging operations that a server answered, as tests count what a feature costs.

It knows HTTP and botocore's model of the service, from which it has the operations' names; nothing of moto.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import botocore.session

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


CUT_HEADER = "X-Cut-Connection"
"""A header of answers whose connection is to be cut: before, during or after the body. It is not sent."""


class Call(NamedTuple):
    """One request answered; ``status`` is ``None`` where the connection was closed without an answer."""

    operation: str
    status: int | None


class CallLog:
    """The HealthImaging requests that were answered, in order. Thread-safe."""

    def __init__(self) -> None:
        """Begin empty."""
        self._calls: list[Call] = []
        self._lock = Lock()

    def count(self, operation: str | None = None, *, status: int | None = None) -> int:
        """Return how many calls there were: of one operation (``"SearchImageSets"``), with one status."""
        return sum(operation in {None, call.operation} and status in {None, call.status} for call in self)

    def reset(self) -> None:
        """Forget them all."""
        with self._lock:
            self._calls.clear()

    def __iter__(self) -> Iterator[Call]:
        with self._lock:
            return iter(self._calls.copy())

    def __len__(self) -> int:
        return self.count()

    def wrap(self, app: "WSGIApplication") -> "WSGIApplication":
        """Return ``app`` with its calls logged, each before any of its answer is sent."""

        def logged(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
            operation = _operation(environ)
            if operation is None:
                return app(environ, start_response)

            def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
                self._add(Call(operation, None if (CUT_HEADER, "before") in headers else int(status[:3])))
                return start_response(status, headers, *rest)

            try:
                return app(environ, start)
            except ConnectionError:
                self._add(Call(operation, None))
                raise

        return logged

    def _add(self, call: Call) -> None:
        with self._lock:
            self._calls.append(call)


def _operation(environ: "WSGIEnvironment") -> str | None:
    # The signature's scope tells it from S3, where a bucket may be called "datastore".
    if "/medical-imaging/aws4_request" not in environ.get("HTTP_AUTHORIZATION", ""):
        return None
    request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
    return next((name for name, pattern in _operations() if pattern.fullmatch(request)), None)


@cache
def _operations() -> list[tuple[str, re.Pattern[str]]]:
    model = botocore.session.get_session().get_service_model("medical-imaging")
    routes = ((name, model.operation_model(name).http) for name in model.operation_names)
    return [
        (name, re.compile(http["method"] + " " + re.sub(r"{\w+}", "[^/]+", http["requestUri"])))
        for name, http in routes
    ]
