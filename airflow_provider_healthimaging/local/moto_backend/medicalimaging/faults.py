"""What goes wrong, decided by a seed, so that what failed once can be made to fail again; knows no requests."""

from random import Random
from threading import Lock
from typing import NamedTuple, TypeVar

from .settings import Settings

T = TypeVar("T")

CUT_HEADER = "X-Cut-Connection"
"""A header of answers that whoever serves them is to cut: before, during or after the body."""

_STATUSES = (500, 502, 503, 504)
_PLACES = ("before", "during", "after")


class FaultPlan(NamedTuple):
    """What will happen to one call.

    :param error: the status to fail with.
    :param cut: where the connection is cut.
    :param one_of: a number from 0 to 1, by which one of several image sets is chosen.
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
        """Return one of ``these``, of which there is one at least."""
        return these[int(self.one_of * len(these))]


NO_FAULT = FaultPlan(
    None, None, slow=False, empty_page=False, expired_token=False, change=False, vanish=False, one_of=0.0
)


class FaultInjector:
    """Rolls the plan of one call after another: the same for the same seed, share and number. Thread-safe."""

    def __init__(self) -> None:
        """Begin before the first call."""
        self._series: object = None
        self._calls = 0
        self._lock = Lock()

    def next_plan(self, settings: Settings) -> FaultPlan:
        """Decide for the next call; where the seed was set, it counts from the first call again."""
        with self._lock:
            if settings.series is not self._series:
                self._series, self._calls = settings.series, 0
            self._calls += 1
            chance = Random(f"{settings.seed}/{self._calls}")  # noqa: S311 - no secret

        def one_of(these: tuple[T, ...], rate: float) -> T | None:
            # Drawn in any case, so that one fault more or less changes nothing about the others.
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
