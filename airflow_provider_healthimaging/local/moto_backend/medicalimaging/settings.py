"""The ways in which the real service may differ from what its documentation settles.

AWS does not say how these turn out. Code that talks to HealthImaging has to hold either way, so that each
one is a switch: ``backend().settings.between_includes_edges = False``. A reset of the backend resets them.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass
class Settings:
    """What one backend (one account in one region) does where the API Reference is silent.

    :param between_includes_edges: whether a row exactly on a bound of ``BETWEEN`` matches.
    :param bounds_cut_to_seconds: whether ``createdAt`` and ``updatedAt`` values in a filter lose their
        fraction of a second before they are compared.
    :param unknown_datastore: the answer for a well-formed id without a data store: 404
        ``ResourceNotFoundException`` or 403 ``AccessDeniedException``.
    """

    between_includes_edges: bool = True
    bounds_cut_to_seconds: bool = False
    unknown_datastore: Literal["not-found", "access-denied"] = "not-found"
