"""The watcher as its database shows it: its watermark and its events, read often while it runs."""

from __future__ import annotations

import json
from threading import Event, Thread
from typing import Any

from tests.deployment import Deployment

STATE = """
    SELECT state.value, event.extra FROM asset_state_store state
    JOIN asset ON asset.id = state.asset_id AND asset.name = 'studies'
    LEFT JOIN asset_event event ON event.asset_id = state.asset_id ORDER BY event.id
"""


def from_json(value: Any) -> Any:
    """Return what a JSON column holds: text in one database, objects in the other."""
    return json.loads(value) if isinstance(value, str) else value


class History(Thread):
    """Reads on and on, and notes each time that the watermark has passed an event which is not there."""

    def __init__(self, airflow: Deployment) -> None:
        super().__init__(daemon=True)
        self.readings = 0
        self.faults: set[str] = set()
        self._airflow = airflow
        self._initial: str | None = None
        self._ended = Event()

    def watermark(self) -> dict[str, Any] | None:
        """Return the watermark as kept, with the event that is about to be announced, if any."""
        return self._read()[0]

    def stored_and_not_acknowledged(self) -> dict[str, Any] | None:
        """Return the event that is in the database while the watcher does not know it yet, if there is one."""
        watermark, payloads = self._read()
        event = (watermark or {}).get("event")
        return event if event in payloads else None

    def payloads(self) -> list[dict[str, Any]]:
        """Return the events' payloads, oldest first."""
        return self._read()[1]

    def run(self) -> None:
        while not self._ended.wait(0.1):
            self._read()

    def end(self) -> None:
        self._ended.set()
        self.join()

    def _read(self) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        rows = self._airflow.rows(STATE)
        if not rows:
            return None, []
        watermark = from_json(rows[0].value)
        payloads = [from_json(row.extra)["payload"] for row in rows if row.extra]
        self._initial = self._initial or watermark["start"]
        if watermark["start"] not in {self._initial, *(payload["window"]["end"] for payload in payloads)}:
            self.faults.add(watermark["start"])
        self.readings += 1
        return watermark, payloads
