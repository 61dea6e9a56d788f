"""The searches that are under way at the local service: counted, and held while a test looks around."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Condition
from typing import Any


class Traffic:
    """Put before the service; sees each call of SearchImageSets from its arrival to its answer."""

    def __init__(self) -> None:
        self.most = 0
        self._under_way = 0
        self._held = False
        self._changed = Condition()

    @property
    def under_way(self) -> int:
        """How many calls have come and have no answer yet."""
        return self._under_way

    def hold(self) -> None:
        """Let no call go on that comes from now on; begin to count anew."""
        with self._changed:
            self._held, self.most = True, 0

    def let_go(self) -> None:
        """Let all go on."""
        with self._changed:
            self._held = False
            self._changed.notify_all()

    def before(self, app: Any) -> Any:
        """Return ``app`` behind this."""

        def seen(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            if not environ["PATH_INFO"].endswith("/searchImageSets"):
                return app(environ, start_response)
            with self._changed:
                self._under_way += 1
                self.most = max(self.most, self._under_way)
                self._changed.wait_for(lambda: not self._held)
            try:
                return list(app(environ, start_response))
            finally:
                with self._changed:
                    self._under_way -= 1

        return seen
