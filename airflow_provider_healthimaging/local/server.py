"""``LocalServer``: HealthImaging and S3 on one port, answering from the moto state of this process."""

import socket
from threading import Thread
from typing import TYPE_CHECKING, Self

from .call_log import CallLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed.wsgi import WSGIApplication

    from ._http import KeepAliveServer


class LocalServer:
    """HealthImaging and S3 at ``url``, from entering the context to leaving it.

    ::

        with LocalServer() as server:
            client = boto3.client("medical-imaging", endpoint_url=server.url,
                                  config=Config(inject_host_prefix=False))

    botocore puts ``runtime-`` before the host of a custom endpoint too, unless told not to as above.
    ``calls`` logs what was asked of HealthImaging.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        middleware: "Callable[[WSGIApplication], WSGIApplication] | None" = None,
    ) -> None:
        """Take note of where to listen; ``start`` does.

        :param host: address to listen on, IPv4 or IPv6.
        :param port: 0 for a free one.
        :param middleware: wrapped around the services, for faults. A body shorter than its
            ``Content-Length`` ends the connection after it; raising ``ConnectionError`` ends it without an
            answer.
        """
        self.calls = CallLog()
        self._host, self._wanted_port = host, port
        self._middleware = middleware
        self._running: tuple[KeepAliveServer, Thread] | None = None

    def start(self) -> Self:
        """Bind, and serve from a thread of its own; once it returns no connection is refused.

        :raises OSError: where the address cannot be had.
        """
        from . import backend
        from ._http import KeepAliveServer, moto_application
        from .settings_endpoint import with_settings_endpoint

        if self._running:
            raise RuntimeError("LocalServer is running")
        app = moto_application()
        if self._middleware:
            app = self._middleware(app)
        # Bound here, as werkzeug ends the process when it cannot bind.
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.create_server((self._host, self._wanted_port), family=family, backlog=128) as listener:
            server = KeepAliveServer(listener, with_settings_endpoint(self.calls.wrap(app), backend))
        thread = Thread(target=server.serve_forever, args=(0.02,), name="LocalServer", daemon=True)
        thread.start()
        self._running = server, thread
        return self

    def stop(self) -> None:
        """Stop listening and end every connection; nothing happens when not running."""
        if self._running:
            server, thread = self._running
            server.shutdown()
            thread.join()
            self._running = None

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    @property
    def port(self) -> int:
        """The port bound; ``RuntimeError`` when not running."""
        if not self._running:
            raise RuntimeError("LocalServer is not running")
        return self._running[0].port

    @property
    def url(self) -> str:
        """``http://host:port``, for ``endpoint_url``; ``RuntimeError`` when not running."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"
