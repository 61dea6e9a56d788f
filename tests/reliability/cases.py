"""One case: a fault, what is in the data store, and who searches it, all drawn from a seed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

from airflow_provider_healthimaging.window import TimeWindow
from tests.reliability.faults import FAULTS, Settings

MIDNIGHT = datetime(2026, 1, 31, tzinfo=UTC)
DAY = timedelta(days=1)
SOAK = float(os.environ.get("SOAK_SECONDS", "0"))
"""For how many seconds new cases are played (``make soak``)."""

SEARCHERS = ("operator to XCom", "operator to S3", "sensor", "deferrable sensor")


@dataclass(frozen=True)
class Case:
    """What is tried; the same seed gives the same.

    :param moments: the timestamps of the image sets, by the field that is searched.
    :param edges: of the windows that together cover the day.
    :param narrowed: by what else is searched: ``"search_criteria"``, ``"match"`` or nothing.
    """

    fault: str
    seed: int
    settings: Settings
    botocore: Mapping[str, Any]
    searcher: str
    time_field: str
    max_workers: int
    moments: tuple[datetime, ...]
    edges: tuple[datetime, ...]
    narrowed: str | None
    file_format: str

    @property
    def lag(self) -> timedelta:
        """How long the index lags."""
        return timedelta(seconds=self.settings.get("index_lag", 0.0))

    @property
    def windows(self) -> list[TimeWindow]:
        """The windows that cover the day."""
        return [TimeWindow(*each) for each in pairwise(self.edges)]

    @property
    def is_steady(self) -> bool:
        """Whether what is in the data store stays as it is."""
        return not self.settings.keys() & {"change_rate", "vanish_rate"}

    @property
    def is_readable(self) -> bool:
        """Whether all that is there can be read in time: not through tokens that are too old when they come back."""
        return self.is_steady and not FAULTS[self.fault].hopeless and "token_lifetime" not in self.settings

    @property
    def is_content_with_less(self) -> bool:
        """Whether it is a sensor that waits for one image set, while others of its window cannot be found yet."""
        return "sensor" in self.searcher and bool(self.lag) and not self.is_readable

    def ending(self, moment: datetime) -> Case:
        """Return the same case on a day that ends at ``moment``."""
        shift = moment - (MIDNIGHT + DAY)
        return replace(
            self,
            moments=tuple(each + shift for each in self.moments),
            edges=tuple(each + shift for each in self.edges),
        )


def draw(fault: str, seed: int) -> Case:
    """Return the case of a fault and a seed."""
    rng = Random(f"{fault}/{seed}")
    edges = sorted({MIDNIGHT, MIDNIGHT + DAY, *(_moment(rng) for _ in range(rng.choice([0, 0, 1, 2])))})
    settings = {
        "seed": seed,
        "between_includes_edges": rng.random() < 0.5,
        "bounds_cut_to_seconds": rng.random() < 0.5,
        **FAULTS[fault].settings(rng),
    }
    return Case(
        fault,
        seed,
        settings,
        FAULTS[fault].botocore,
        "operator to S3" if "s3_error_rate" in settings else rng.choice(SEARCHERS),
        rng.choice(["createdAt", "createdAt", "updatedAt"]),
        rng.choice([1, 4, 8]),
        tuple(_moments(rng, edges)),
        tuple(edges),
        rng.choice([None, None, "search_criteria", "match"]),
        rng.choice(["jsonl", "parquet"]),
    )


def _moment(rng: Random) -> datetime:
    unit = rng.choice([timedelta(seconds=1), timedelta(milliseconds=1), timedelta(microseconds=1)])
    return MIDNIGHT + rng.randrange(DAY // unit) * unit


def _moments(rng: Random, edges: list[datetime]) -> list[datetime]:
    """Return moments of a day: on the edges and beside them, in crowds, and anywhere."""
    steps = [timedelta(0), timedelta(microseconds=1), timedelta(milliseconds=1), timedelta(seconds=1)]
    beside = [edge + sign * step for edge in edges for step in steps for sign in (-1, 1)]
    crowd = [_moment(rng)] * rng.choice([0, 3, 60, 120])
    anywhere = [_moment(rng) for _ in range(rng.choice([0, 5, 100, 100, 1200]))]
    return [*beside, *crowd, *anywhere]
