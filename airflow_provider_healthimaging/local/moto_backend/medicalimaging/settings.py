"""The ways in which the real service may differ from what its documentation settles, and what may go wrong with it.

AWS does not say how the first three turn out. Code that talks to HealthImaging has to hold either way, so that each
one is a switch: ``backend().settings.between_includes_edges = False``. Everything that slows or breaks is off, as
most tests want answers at once; an account of AWS begins with 25 calls a second and a burst of 50. What is set takes
effect with the next request, and a reset of the backend resets it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, get_args, get_type_hints


def _number(default: float | None, what: str, *, least: float = 0, most: float = 10**9) -> Any:
    return field(default=default, metadata={"what": what, "least": least, "most": most})


def _share(of: str) -> Any:
    return _number(0.0, f"share of the {of}, 0 to 1", most=1)


def _choice(what: str, *, default: Any) -> Any:
    return field(default=default, metadata={"what": what})


@dataclass
class Settings:
    """How one backend (one account in one region) behaves; each field says what it is for in its metadata.

    Shares are decided by ``seed`` and the number of the call since the seed was set, be it to the same number, so that
    the same calls meet the same faults again. Seconds are of this machine's clock.
    """

    series: ClassVar[object] = None
    """Another object whenever the seed was set."""

    between_includes_edges: bool = _choice("whether a row exactly on a bound of BETWEEN matches", default=True)
    bounds_cut_to_seconds: bool = _choice("whether times in a filter lose their fraction of a second", default=False)
    unknown_datastore: Literal["not-found", "access-denied"] = _choice(
        "the answer for a data store that does not exist: 404 or 403", default="not-found"
    )
    calls_per_second: float | None = _number(
        None, "calls of SearchImageSets answered in a second, the others get 429; an account of AWS begins with 25"
    )
    burst: int = _number(50, "calls answered at once before that, after a pause", least=1)
    latency: float = _number(0.0, "seconds that an answer takes, at least")
    seed: int = _number(0, "decides which calls meet the faults below", most=2**63)
    error_rate: float = _share("calls answered with 500, 502, 503 or 504")
    cut_rate: float = _share("calls whose connection is cut (over HTTP only)")
    cut_where: Literal["any", "before", "during", "after"] = _choice(
        "where a connection is cut: before, during or after the body", default="any"
    )
    slow_rate: float = _share("calls whose answer takes slow-seconds")
    slow_seconds: float = _number(30.0, "seconds that a slow answer takes")
    empty_page_rate: float = _share("pages that come without image sets, but with a token")
    expired_token_rate: float = _share("calls with a page token that are told it is not valid any more")
    token_lifetime: float | None = _number(None, "seconds after which a page token is not valid any more")
    index_lag: float = _number(0.0, "seconds until a new image set or version can be found by a search")
    change_rate: float = _share("searches after which some image set gets a new version")
    vanish_rate: float = _share("searches after which some image set is deleted")

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a setting; a seed begins a new series of calls."""
        if name == "seed":
            object.__setattr__(self, "series", object())
        object.__setattr__(self, name, value)

    def update(self, given: Mapping[str, Any]) -> None:
        """Change settings by name, all or none.

        :raises ValueError: naming the setting that does not exist or cannot have that value.
        """
        checked = {name: _checked(name, value) for name, value in given.items()}
        for name, value in checked.items():
            setattr(self, name, value)


TYPES: Mapping[str, Any] = get_type_hints(Settings)
FIELDS = {each.name: each for each in fields(Settings)}


def _checked(name: str, value: Any) -> Any:
    if name not in FIELDS:
        raise ValueError(f"there is no setting {name!r}; there are {', '.join(FIELDS)}")
    kind, about = TYPES[name], FIELDS[name].metadata
    if "least" not in about:
        allowed = [True, False] if kind is bool else [*get_args(kind)]
        if type(value) not in {bool, str} or value not in allowed:
            raise ValueError(f"{name}={value!r} must be one of {allowed}")
        return value
    if value is None and FIELDS[name].default is None:
        return None
    whole = kind is int
    numeric = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not numeric or not about["least"] <= value <= about["most"]:
        span = f"from {about['least']} to {about['most']:,}"
        raise ValueError(f"{name}={value!r} must be a {'whole ' * whole}number {span}")
    return value
