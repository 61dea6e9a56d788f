"""The calls of one kind that are under way at the local service: counted, and held while a test looks around."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Condition
from typing import Any


class Traffic:
    """Put before the service; sees each call of one kind from its arrival to its answer.

    :param sees: whether the path of a call is one of that kind.
    """

    def __init__(self, sees: Callable[[str], bool]) -> None:
        self._sees = sees
        self._spared = 0
        self.most = 0
        self._under_way = 0
        self._held = False
        self._changed = Condition()

    @property
    def under_way(self) -> int:
        """How many calls have come and have no answer yet."""
        return self._under_way

    def hold(self, *, after: int = 0) -> None:
        """Let no call go on that comes from now on, but for the first ones; begin to count anew."""
        with self._changed:
            self._held, self._spared, self.most = True, after, 0

    def let_go(self) -> None:
        """Let all go on."""
        with self._changed:
            self._held = False
            self._changed.notify_all()

    def before(self, app: Any) -> Any:
        """Return ``app`` behind this."""

        def seen(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            if not self._sees(environ["PATH_INFO"]):
                return app(environ, start_response)
            with self._changed:
                self._under_way += 1
                self.most = max(self.most, self._under_way)
                if self._spared:
                    self._spared -= 1
                else:
                    self._changed.wait_for(lambda: not self._held)
            try:
                return list(app(environ, start_response))
            finally:
                with self._changed:
                    self._under_way -= 1

        return seen
