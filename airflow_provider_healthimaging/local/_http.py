"""A werkzeug server that keeps connections open (HTTP keep-alive), and closes them when it stops.

Werkzeug closes each connection after one response. AWS clients reuse connections, and timings and faults depend
on this. This module knows HTTP and WSGI only.
"""

import io
import socket
import sys
from contextlib import suppress
from functools import cache
from threading import Lock
from traceback import format_exc
from typing import TYPE_CHECKING, Any

from moto.moto_server import werkzeug_app
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Response

from .call_log import CUT_HEADER

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# moto has its own handler since version 5.2.5, for S3 metadata with underscores in the names.
_MotoRequestHandler: Any = getattr(werkzeug_app, "MotoRequestHandler", WSGIRequestHandler)


class KeepAliveHandler(_MotoRequestHandler):  # type: ignore[misc]
    """Answers several requests on one connection. Writes only tracebacks to stderr."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # Buffered, so that head and body are sent together.

    def run_wsgi(self) -> None:
        """Answer one request. After a body shorter than its ``Content-Length``, close the connection."""
        environ = self.make_environ()
        # Read completely, because the next request begins after the body, even if the application reads less.
        chunked = environ.get("wsgi.input_terminated", False)
        stream = environ["wsgi.input"]
        body = stream.read() if chunked else stream.read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        try:
            chunks, status, headers = run_wsgi_app(self.server.app, environ, buffered=True)
        except ConnectionError:
            self.close_connection = True
            return
        except Exception:  # noqa: BLE001 - the server must survive all errors of its application
            self.server.log("error", format_exc())
            chunks, status, headers = run_wsgi_app(Response("Internal Server Error", 500), environ, buffered=True)
        cut_at, _, share = headers.pop(CUT_HEADER, "").partition(" ")
        if cut_at == "before":
            self.close_connection = True
            return
        content = b"".join(chunks)
        code, _, reason = status.partition(" ")
        bodiless = environ["REQUEST_METHOD"] == "HEAD" or code in {"204", "304"}
        if not bodiless:
            headers.setdefault("Content-Length", str(len(content)))
        headers.setdefault("Date", self.date_time_string())
        self.send_response_only(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if not bodiless:
            self.wfile.write(content[: int(len(content) * float(share))] if cut_at == "during" else content)
            self.close_connection |= bool(cut_at) or len(content) != int(headers["Content-Length"])

    def handle_expect_100(self) -> bool:
        """Ask for the body at once, without waiting for the buffer to fill."""
        proceed: bool = super().handle_expect_100()
        self.wfile.flush()
        return proceed

    def log_request(self, *_: object) -> None:
        """Log nothing."""

    def log_error(self, *_: object) -> None:
        """Log nothing if a client does not send HTTP."""


class KeepAliveServer(ThreadedWSGIServer):
    """Serves each connection in its own thread, on a socket that is listening already."""

    def __init__(self, listener: socket.socket, app: "WSGIApplication") -> None:
        self._connections: set[Any] = set()
        self._connections_lock = Lock()
        host, port = listener.getsockname()[:2]
        super().__init__(host, port, app, KeepAliveHandler, fd=listener.fileno())

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle a connection, and remember that it is open."""
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log errors, but not if the client closed the connection before the response."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        """Stop listening, and close the connections, because their threads would continue to answer."""
        super().server_close()
        with self._connections_lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _CachingDispatcher(werkzeug_app.DomainDispatcherApplication):
    """Moto's dispatcher with a cache. Without it, moto lists its own folder in each request: a third of the time."""

    def __init__(self) -> None:
        super().__init__(werkzeug_app.create_backend_app)
        self._applications: dict[str | None, Any] = {}

    def get_backend_for_host(self, host: str | None) -> Any:
        """Return the application for ``host``."""
        if host not in self._applications:
            self._applications[host] = super().get_backend_for_host(host)
        return self._applications[host]


@cache
def moto_application() -> "WSGIApplication":
    """Return all moto services as one WSGI application. The signature of a request says which service answers.

    The servers of a process share it, as they share the state behind it: to make it takes about 10 ms for each service.
    """
    return _CachingDispatcher()
