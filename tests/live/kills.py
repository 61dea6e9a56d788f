"""Image sets that arrive while processes of Airflow are killed, and what became of them."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

from tests.deployment import Deployment

from .history import from_json

LAST_KILL = 0.85
"""When the last process is killed, as a share of the time: what arrives afterwards shows that events go on."""


@dataclass(frozen=True)
class Case:
    """What is played.

    :param arrivals: how many image sets arrive.
    :param seconds: in what time.
    :param bursts: whether some of them come in bursts, or all one by one.
    :param triggerer_kills: how often a triggerer is killed with SIGKILL.
    :param scheduler_kills: how often the scheduler is.
    :param triggerers: how many triggerers run; with two, they are killed in turn.
    """

    seed: int
    arrivals: int
    seconds: float
    bursts: bool
    triggerer_kills: int
    scheduler_kills: int
    triggerers: int = 1

    def __str__(self) -> str:
        how = "in bursts" if self.bursts else "evenly"
        return (
            f"seed {self.seed}: {self.arrivals} arrivals {how} in {self.seconds:.0f} s, {self.triggerers} triggerers; "
            f"killed: triggerer {self.triggerer_kills} times, scheduler {self.scheduler_kills} times"
        )

    def moments(self, chance: random.Random) -> list[tuple[float, int]]:
        """Return when image sets arrive, in seconds from the start, and how many."""
        sizes = []
        while sum(sizes) < self.arrivals:
            size = chance.choice((1, 1, chance.randint(5, 60))) if self.bursts else 1
            sizes.append(min(size, self.arrivals - sum(sizes)))
        return sorted((chance.uniform(0, self.seconds), size) for size in sizes)


@dataclass
class Put:
    """Lets image sets arrive in a data store, and notes when."""

    store: Any
    datastore_id: str
    created_at: dict[str, datetime] = field(default_factory=dict)

    def __call__(self, **tags: str) -> str:
        now = datetime.now(UTC)
        image_set_id = self.store.put_image_set(self.datastore_id, created_at=now, dicom_tags=tags).image_set_id
        self.created_at[image_set_id] = now
        return str(image_set_id)


class Arriving(Thread):
    """Lets image sets arrive at given moments."""

    def __init__(self, put: Put, moments: list[tuple[float, int]]) -> None:
        super().__init__(daemon=True)
        self._put, self._moments, self._ended = put, moments, Event()

    def run(self) -> None:
        began = time.monotonic()
        for moment, size in self._moments:
            if self._ended.wait(max(0.0, moment - (time.monotonic() - began))):
                return
            for _ in range(size):
                self._put()

    def end(self) -> None:
        self._ended.set()
        self.join()


def play(airflow: Deployment, case: Case, put: Put) -> None:
    """Let image sets arrive and processes be killed, each at a time that the seed draws; return when it is over."""
    chance = random.Random(case.seed)
    triggerers = ["triggerer", "triggerer-2"][: case.triggerers]
    kills = [(chance.uniform(0.05, LAST_KILL), triggerers[n % case.triggerers]) for n in range(case.triggerer_kills)]
    kills += [(chance.uniform(0.05, LAST_KILL), "scheduler") for _ in range(case.scheduler_kills)]
    arriving = Arriving(put, case.moments(chance))
    began = time.monotonic()
    arriving.start()
    try:
        for share, name in sorted(kills):
            # The moment is what is tested.
            time.sleep(max(0.0, share * case.seconds - (time.monotonic() - began)))
            airflow.kill(name)
            airflow.start(name)
        arriving.join()
    finally:
        arriving.end()


def handed_on(airflow: Deployment, dag_id: str) -> Counter[str]:
    """Return how often each image set is in the result of a run."""
    rows = airflow.rows("SELECT value FROM xcom WHERE dag_id = :dag AND key = 'return_value'", dag=dag_id)
    results = [from_json(row.value) for row in rows]
    results = [json.loads(each) if isinstance(each, str) else each for each in results]
    return Counter(record["imageSetId"] for records in results for record in records)


def idle(airflow: Deployment, dag_id: str, asset: str) -> bool:
    """Whether each event of the asset has started a run, alone or with others, and all runs of the DAG have ended."""
    (waiting,) = airflow.rows(
        "SELECT count(*) AS number FROM asset_dag_run_queue WHERE target_dag_id = :dag", dag=dag_id
    )
    (active,) = airflow.rows(
        "SELECT count(*) AS number FROM dag_run WHERE dag_id = :dag AND state IN ('queued', 'running')", dag=dag_id
    )
    (unconsumed,) = airflow.rows(
        "SELECT count(*) AS number FROM asset_event JOIN asset ON asset.id = asset_event.asset_id"
        " WHERE asset.name = :asset AND asset_event.id NOT IN (SELECT event_id FROM dagrun_asset_event)",
        asset=asset,
    )
    return not (waiting.number or active.number or unconsumed.number)


def payloads(airflow: Deployment, asset: str) -> list[dict[str, Any]]:
    """Return the payloads of the asset's events, oldest first."""
    rows = airflow.rows(
        "SELECT asset_event.extra FROM asset_event JOIN asset ON asset.id = asset_event.asset_id"
        " WHERE asset.name = :asset ORDER BY asset_event.id",
        asset=asset,
    )
    return [from_json(row.extra)["payload"] for row in rows]
