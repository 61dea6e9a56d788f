"""The ways in which the real service may differ from what its documentation settles, and how slow it is.

AWS does not say how the first three turn out. Code that talks to HealthImaging has to hold either way, so that each
one is a switch: ``backend().settings.between_includes_edges = False``. Quota and latency are off, as most tests want
answers at once; an account of AWS begins with 25 calls a second and a burst of 50. What is set takes effect with
the next request, and a reset of the backend resets it.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass
class Settings:
    """How one backend (one account in one region) behaves.

    :param between_includes_edges: whether a row exactly on a bound of ``BETWEEN`` matches.
    :param bounds_cut_to_seconds: whether ``createdAt`` and ``updatedAt`` values in a filter lose their
        fraction of a second before they are compared.
    :param unknown_datastore: the answer for a well-formed id without a data store: 404
        ``ResourceNotFoundException`` or 403 ``AccessDeniedException``.
    :param calls_per_second: calls of SearchImageSets that are answered in a second, sustained; the others get 429
        ``ThrottlingException``, at once. ``None`` for all of them.
    :param burst: how many calls may be made at once before that, after a pause long enough.
    :param latency: seconds that an answer takes, at least; of HealthImaging only.
    """

    between_includes_edges: bool = True
    bounds_cut_to_seconds: bool = False
    unknown_datastore: Literal["not-found", "access-denied"] = "not-found"
    calls_per_second: float | None = None
    burst: int = 50
    latency: float = 0.0
