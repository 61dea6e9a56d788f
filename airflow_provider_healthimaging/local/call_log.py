"""A log of the HealthImaging calls that a server answered, so that tests can count the calls of a feature.

This module knows HTTP. The backend tells it the operation of a request.
"""

from collections.abc import Iterable, Iterator
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


CUT_HEADER = "X-Cut-Connection"
"""A response header: cut the connection before, during or after the body. The header itself is not sent. After
"during" stands the share of the body that is sent, from 0 to 1."""


class Call(NamedTuple):
    """One call. ``status`` is the HTTP status, or ``None`` if the connection was closed without a response."""

    operation: str
    status: int | None


class CallLog:
    """The HealthImaging calls that were answered, in order. Thread-safe."""

    def __init__(self) -> None:
        """Create an empty log."""
        self._calls: list[Call] = []
        self._lock = Lock()

    def count(self, operation: str | None = None, *, status: int | None = None) -> int:
        """Return the number of calls: all, or those of one operation (``"SearchImageSets"``) or with one status."""
        return sum(operation in {None, call.operation} and status in {None, call.status} for call in self)

    def reset(self) -> None:
        """Remove all calls."""
        with self._lock:
            self._calls.clear()

    def __iter__(self) -> Iterator[Call]:
        with self._lock:
            return iter(self._calls.copy())

    def __len__(self) -> int:
        return self.count()

    def wrap(self, app: "WSGIApplication") -> "WSGIApplication":
        """Return ``app`` with a log. Each call is logged before its response is sent."""

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
    # The signature names the service. The path is not enough: an S3 bucket may be named "datastore".
    if "/medical-imaging/aws4_request" not in environ.get("HTTP_AUTHORIZATION", ""):
        return None
    from moto.medicalimaging.operations import operation_of

    operation: str | None = operation_of(environ["REQUEST_METHOD"], environ["PATH_INFO"])
    return operation
