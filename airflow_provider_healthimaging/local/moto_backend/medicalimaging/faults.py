"""Decides the faults of each call from a seed, so that they can be repeated. This module does not know requests."""

from http import HTTPStatus
from random import Random
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from .settings import Settings

if TYPE_CHECKING:
    from .models import MedicalImagingBackend

T = TypeVar("T")

CUT_HEADER = "X-Cut-Connection"
"""A response header that tells the server to cut the connection: before, during (with a share) or after the body."""

_STATUSES = (500, 502, 503, 504)
_CUT_POSITIONS = ("before", "during", "after")


class FaultPlan(NamedTuple):
    """The faults of one call.

    :param error: HTTP status of an error, or ``None``.
    :param cut: where the connection is cut: "before", "during" or "after" the body, or ``None``.
    :param choice: a number from 0 to 1 that chooses one of several image sets, and the byte at which a body is cut.
    """

    error: int | None
    cut: str | None
    slow: bool
    empty_page: bool
    expired_token: bool
    change: bool
    vanish: bool
    import_failure: bool
    choice: float

    @property
    def cut_header(self) -> str | None:
        """The value of ``CUT_HEADER``. If the body is cut, the share of it that is sent follows."""
        return f"during {self.choice:.9f}" if self.cut == "during" else self.cut

    def choose(self, items: list[T]) -> T:
        """Return one of ``items``. The list must not be empty."""
        return items[int(self.choice * len(items))]


NO_FAULT = FaultPlan(
    None,
    None,
    slow=False,
    empty_page=False,
    expired_token=False,
    change=False,
    vanish=False,
    import_failure=False,
    choice=0.0,
)


class FaultInjector:
    """Plans the faults of each call. The same seed, rates and number of the call give the same plan. Thread-safe."""

    def __init__(self) -> None:
        """Start before the first call."""
        self._seed_marker: object = None
        self._calls = 0
        self._lock = Lock()

    def next_plan(self, settings: Settings) -> FaultPlan:
        """Return the plan of the next call. If the seed was set, the count of calls starts again."""
        with self._lock:
            if settings.seed_marker is not self._seed_marker:
                self._seed_marker, self._calls = settings.seed_marker, 0
            self._calls += 1
            random = Random(f"{settings.seed}/{self._calls}")  # noqa: S311 - not for cryptography

        def draw(items: tuple[T, ...], rate: float) -> T | None:
            # Always drawn, so that one fault does not change the random numbers of the others.
            happens, item = random.random() < rate, random.choice(items)
            return item if happens else None

        positions = _CUT_POSITIONS if settings.cut_where == "any" else (settings.cut_where,)
        plan = FaultPlan(
            draw(_STATUSES, settings.error_rate),
            draw(positions, settings.cut_rate),
            slow=random.random() < settings.slow_rate,
            empty_page=random.random() < settings.empty_page_rate,
            expired_token=random.random() < settings.expired_token_rate,
            change=random.random() < settings.change_rate,
            vanish=random.random() < settings.vanish_rate,
            choice=random.random(),
            import_failure=random.random() < settings.import_failure_rate,
        )
        throttled = random.random() < settings.throttle_rate
        return plan._replace(error=plan.error or HTTPStatus.TOO_MANY_REQUESTS) if throttled else plan


def is_missing(settings: Settings, object_id: str) -> bool:
    """Whether an image frame or an instance is not found. The same seed always misses the same ones."""
    share = settings.missing_object_share
    return share > 0 and Random(f"{settings.seed}/{object_id}").random() < share  # noqa: S311 - not for cryptography


def apply_mutations(backend: "MedicalImagingBackend", datastore_id: str, plan: FaultPlan) -> None:
    """Change or delete an image set after a search, if ``plan`` says so."""
    with backend.lock:
        if plan.change and (known := backend.image_sets(datastore_id)):
            backend.update_image_set(datastore_id, plan.choose(known).image_set_id)
        if plan.vanish and (known := backend.image_sets(datastore_id)):
            backend.delete_image_set(datastore_id, plan.choose(known).image_set_id)
