"""A triggerer without processes: Airflow's own shared streams, and a list in place of its database."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Triggerer:
    """Runs watchers as Airflow's triggerer does: subscribe, bind each event, store it, confirm it.

    :param database: takes the events that are stored, as pairs of the watcher's name and the payload.
    :param stores: whether an event gets as far as the database; the triggerer may end before.
    """

    def __init__(self, database: list[tuple[str, Any]], stores: Callable[[Any], bool] = lambda _: True) -> None:
        from airflow.triggers.shared_stream import SharedStreamManager

        self.streams = SharedStreamManager()
        self.database = database
        self.confirms = True
        self._stores = stores
        self._unconfirmed: list[int] = []
        self._ids = itertools.count()

    async def run(self, watchers: dict[str, Any], until: Callable[[], bool]) -> None:
        """Run watchers until ``until()`` is true or one of them ends; then it is as if it were killed."""
        tasks = [asyncio.create_task(self._watch(next(self._ids), *each)) for each in watchers.items()]
        try:
            while not until() and not any(task.done() for task in tasks):
                await asyncio.sleep(0.002)
                self.confirm()
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            await self.streams.stop_all()
        for error in ended:
            if isinstance(error, Exception):
                raise error

    def confirm(self) -> None:
        """Tell the streams what is stored; Airflow does it with the next state sync."""
        if self.confirms:
            stored, self._unconfirmed = self._unconfirmed, []
            self.streams.confirm_persisted(stored)

    async def _watch(self, number: int, name: str, trigger: Any) -> None:
        key = trigger.shared_stream_key()
        polls = self.streams.subscribe(trigger_id=number, trigger=trigger, key=key)
        try:
            async for event in trigger.filter_shared_stream(polls):
                bound = self.streams.bind_pending_event(trigger_id=number, key=key)
                assert bound is not None, "each event belongs to a poll, or nobody would confirm it"
                if self._stores(event.payload):
                    self.database.append((name, event.payload))
                    self._unconfirmed.append(bound)
        finally:
            with suppress(asyncio.CancelledError):
                await self.streams.unsubscribe(number, key)
