"""Threads that take turns: one runs at a time, in a fixed order, and a clock moves when all of them wait."""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count

from greenlet import getcurrent, greenlet


class Turns:
    """Stands in for the module ``threading``, so that the same search makes the same calls on every machine.

    Each call of the service (:meth:`call`) takes one unit of a clock. The clock moves to the end of the earliest call
    when no thread can run: as on a machine that is much faster than the network.
    """

    def __init__(self):
        self.now = 0
        self._ready = deque()
        self._calls = []
        self._numbers = count()

    def call(self, *_):
        """Let a call take its time."""
        heapq.heappush(self._calls, (self.now + 1, next(self._numbers), getcurrent()))
        self.wait()

    @property
    def in_progress(self):
        """How many calls are in progress."""
        return len(self._calls)

    def rest(self):
        """Let the others run until all of them wait for this one."""
        while self._ready or self._calls:
            self.wake([getcurrent()])
            self.wait()
            if self._calls and not self._ready:
                self._tick()

    def wake(self, waiting):
        """Let these run when it is their turn."""
        self._ready.extend(waiting)
        waiting.clear()

    def wait(self):
        """Let the others run until somebody wakes this one."""
        self.following().switch()

    def following(self):
        """Return whose turn is next."""
        if not self._ready:
            self._tick()
        return self._ready.popleft()

    def _tick(self):
        assert self._calls, "every thread waits for another"
        self.now, _, ended = heapq.heappop(self._calls)
        self._ready.append(ended)

    def Condition(self):  # noqa: N802 - the name in threading
        """Return what stands in for a ``threading.Condition``. It needs no lock, because one thread runs at a time."""
        return _Condition(self)

    def Thread(self, *, target, name, daemon):  # noqa: N802 - the name in threading
        """Return what stands in for a ``threading.Thread``."""
        return _Thread(self, target)


class _Condition:
    def __init__(self, turns):
        self._turns = turns
        self._waiting = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def wait(self):
        self._waiting.append(getcurrent())
        self._turns.wait()

    def wait_for(self, predicate):
        while not predicate():
            self.wait()

    def notify_all(self):
        self._turns.wake(self._waiting)


class _Thread:
    ident = None

    def __init__(self, turns, target):
        self._turns = turns
        self._target = target
        self._ended = False
        self._joining = []

    def start(self):
        self.ident = id(self)
        self._turns.wake([greenlet(self._run)])

    def join(self):
        if not self._ended:
            self._joining.append(getcurrent())
            self._turns.wait()

    def _run(self):
        self._target()
        self._ended = True
        self._turns.wake(self._joining)
        # A greenlet that ends goes on with its parent.
        getcurrent().parent = self._turns.following()
