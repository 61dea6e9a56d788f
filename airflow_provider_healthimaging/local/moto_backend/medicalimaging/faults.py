"""Decides the faults of each call from a seed, so that they can be repeated. It does not know requests."""

from random import Random
from threading import Lock
from typing import NamedTuple, TypeVar

from .settings import Settings

T = TypeVar("T")

CUT_HEADER = "X-Cut-Connection"
"""A response header that tells the server to cut the connection: before, during or after the body."""

_STATUSES = (500, 502, 503, 504)
_PLACES = ("before", "during", "after")


class FaultPlan(NamedTuple):
    """The faults of one call.

    :param error: HTTP status of an error, or ``None``.
    :param cut: where the connection is cut: "before", "during" or "after" the body, or ``None``.
    :param one_of: a number from 0 to 1 that chooses one of several image sets.
    """

    error: int | None
    cut: str | None
    slow: bool
    empty_page: bool
    expired_token: bool
    change: bool
    vanish: bool
    one_of: float

    def choose(self, these: list[T]) -> T:
        """Return one of ``these``, which must not be empty."""
        return these[int(self.one_of * len(these))]


NO_FAULT = FaultPlan(
    None, None, slow=False, empty_page=False, expired_token=False, change=False, vanish=False, one_of=0.0
)


class FaultInjector:
    """Plans the faults of each call. The same seed, rates and number of the call give the same plan. Thread-safe."""

    def __init__(self) -> None:
        """Start before the first call."""
        self._series: object = None
        self._calls = 0
        self._lock = Lock()

    def next_plan(self, settings: Settings) -> FaultPlan:
        """Return the plan of the next call. If the seed was set, the count of calls starts again."""
        with self._lock:
            if settings.series is not self._series:
                self._series, self._calls = settings.series, 0
            self._calls += 1
            chance = Random(f"{settings.seed}/{self._calls}")  # noqa: S311 - not for cryptography

        def one_of(these: tuple[T, ...], rate: float) -> T | None:
            # Always drawn, so that one fault does not change the random numbers of the others.
            happens, picked = chance.random() < rate, chance.choice(these)
            return picked if happens else None

        places = _PLACES if settings.cut_where == "any" else (settings.cut_where,)
        return FaultPlan(
            one_of(_STATUSES, settings.error_rate),
            one_of(places, settings.cut_rate),
            chance.random() < settings.slow_rate,
            chance.random() < settings.empty_page_rate,
            chance.random() < settings.expired_token_rate,
            chance.random() < settings.change_rate,
            chance.random() < settings.vanish_rate,
            chance.random(),
        )
