"""``LocalServer``: HealthImaging and S3 on one port. It serves the moto backends of this process."""

import socket
from threading import Thread
from typing import TYPE_CHECKING, Self

from .call_log import CallLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed.wsgi import WSGIApplication

    from ._http import KeepAliveServer


class LocalServer:
    """Serves HealthImaging and S3 at ``url``, until the ``with`` block ends.

    ::

        with LocalServer() as server:
            client = boto3.client("medical-imaging", endpoint_url=server.url,
                                  config=Config(inject_host_prefix=False))

    Without ``inject_host_prefix=False``, botocore adds ``runtime-`` to the host of a custom endpoint too.
    ``calls`` is a log of the calls of HealthImaging.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        middleware: "Callable[[WSGIApplication], WSGIApplication] | None" = None,
    ) -> None:
        """Create a server that does not listen yet; ``start`` begins to listen.

        :param host: address to listen on, IPv4 or IPv6.
        :param port: port to listen on; 0 for a free port.
        :param middleware: a function that wraps the WSGI application, to inject faults. After a body that is
            shorter than its ``Content-Length``, the server closes the connection. If the middleware raises
            ``ConnectionError``, the server closes it without a response.
        """
        self.calls = CallLog()
        self._host, self._requested_port = host, port
        self._middleware = middleware
        self._running: tuple[KeepAliveServer, Thread] | None = None

    def start(self) -> Self:
        """Listen, and serve in a new thread. When it returns, clients can connect.

        :raises OSError: if the address is in use or not available.
        :raises RuntimeError: if the server is running already.
        """
        from . import backend
        from ._http import KeepAliveServer, moto_application
        from .due_imports import with_due_imports
        from .settings_endpoint import with_settings_endpoint

        if self._running:
            raise RuntimeError("LocalServer is already running. Call stop() first.")
        app = with_due_imports(moto_application())
        if self._middleware:
            app = self._middleware(app)
        # Bound here, because werkzeug exits the process if it cannot bind.
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.create_server((self._host, self._requested_port), family=family, backlog=128) as listener:
            server = KeepAliveServer(listener, with_settings_endpoint(self.calls.wrap(app), backend))
        thread = Thread(target=server.serve_forever, args=(0.02,), name="LocalServer", daemon=True)
        thread.start()
        self._running = server, thread
        return self

    def stop(self) -> None:
        """Stop listening, and close all connections. Does nothing if the server is not running."""
        if self._running:
            server, thread = self._running
            server.shutdown()
            thread.join()
            self._running = None

    def __enter__(self) -> Self:
        """Start the server."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.stop()

    @property
    def port(self) -> int:
        """The port that the server listens on. Raises ``RuntimeError`` if it is not running."""
        if not self._running:
            raise RuntimeError("LocalServer is not running. Call start() first, or use a with block.")
        return self._running[0].port

    @property
    def url(self) -> str:
        """``http://host:port``, for ``endpoint_url``. Raises ``RuntimeError`` if it is not running."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"
