"""The settings of the local service: undocumented behaviour of the real service, and faults.

AWS does not document the behaviour of the first three settings, and of ``import_warned_in_success`` and
``import_empty_output``. Code for HealthImaging must work with both values:
``backend().settings.between_includes_edges = False``. By default there is no latency, no quota and no fault. An AWS
account has 25 calls per second and a burst of 50 by default. A setting takes effect with the next request, and a reset
of the backend resets all settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, get_args, get_type_hints


def _number(default: float | None, description: str, *, minimum: float = 0, maximum: float = 10**9) -> Any:
    return field(default=default, metadata={"description": description, "minimum": minimum, "maximum": maximum})


def _rate(events: str) -> Any:
    return _number(0.0, f"rate of {events}, 0 to 1", maximum=1)


def _choice(description: str, *, default: Any) -> Any:
    return field(default=default, metadata={"description": description})


@dataclass
class Settings:
    """The behaviour of one backend (one account in one region). The metadata of each field describes it.

    ``seed`` and the number of the call decide which calls have a fault. If you set the seed again, also to the same
    value, the count of calls starts again, so that the same calls have the same faults.
    """

    seed_marker: ClassVar[object] = None
    """A new object each time the seed is set, so that the faults start again for the same seed."""

    between_includes_edges: bool = _choice("whether BETWEEN includes image sets exactly at its edges", default=True)
    bounds_cut_to_seconds: bool = _choice(
        "whether fractions of a second are dropped from the times in a filter", default=False
    )
    unknown_datastore: Literal["not-found", "access-denied"] = _choice(
        "the error for a data store that does not exist: 404 or 403", default="not-found"
    )
    calls_per_second: float | None = _number(
        None, "quota of SearchImageSets calls per second, the others get 429; the default of AWS is 25"
    )
    burst: int = _number(50, "calls that can exceed the quota after a pause", minimum=1)
    latency: float = _number(0.0, "minimum seconds until the response")
    seed: int = _number(0, "decides which calls have the faults below", maximum=2**63)
    error_rate: float = _rate("calls that fail with 500, 502, 503 or 504")
    throttle_rate: float = _rate("calls that get 429 although the quota is not used up")
    cut_rate: float = _rate("calls whose connection is cut (over HTTP only)")
    cut_where: Literal["any", "before", "during", "after"] = _choice(
        "where a connection is cut: before, during or after the body", default="any"
    )
    slow_rate: float = _rate("calls that take slow-seconds")
    slow_seconds: float = _number(30.0, "seconds of a slow call")
    empty_page_rate: float = _rate("pages without image sets, but with a token")
    expired_token_rate: float = _rate("calls with a page token that fail because the token is expired")
    token_lifetime: float | None = _number(None, "seconds until a page token expires")
    index_lag: float = _number(0.0, "seconds until a search can find a new image set or version")
    change_rate: float = _rate("searches after which an image set gets a new version")
    vanish_rate: float = _rate("searches after which an image set is deleted")
    import_duration: float = _number(0.0, "seconds from the start of an import job until its end")
    import_output_lag: float = _number(0.0, "seconds until all output files of a completed import job are there")
    import_warned_in_success: bool = _choice(
        "whether success.ndjson lists the files that were imported with warnings, too", default=True
    )
    import_empty_output: bool = _choice("whether an import job writes output files without lines", default=True)
    import_quota: float | None = _number(
        None, "quotas of the import operations, as a multiple of those of AWS; the others get 429"
    )
    import_max_jobs: int = _number(100, "import jobs of a data store at a time, the others get 402")
    import_max_files: int = _number(5000, "files of an import job, with more it fails")
    import_max_bytes: int = _number(10**10, "bytes of an import job, with more it fails", maximum=2**63)
    import_permission: Literal["granted", "pass-role-denied", "input-denied", "output-denied"] = _choice(
        "what the caller and the role of an import job may do", default="granted"
    )
    import_failure_rate: float = _rate("import jobs that fail")
    import_file_error_share: float = _number(
        0.0, "share of files that an import job does not import because of a server error, 0 to 1", maximum=1
    )
    metadata_lag: float = _number(
        0.0, "seconds until the metadata, frames and instances of a new version can be read, until then they get 409"
    )
    retrieval_quota: float | None = _number(
        None,
        "quotas of GetImageSetMetadata, GetImageFrame and GetDICOMInstance, as a multiple of those of AWS; "
        "the others get 429",
    )
    missing_object_share: float = _number(
        0.0, "share of image frames and DICOM instances that are not found (404), 0 to 1", maximum=1
    )

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a setting. Setting the seed starts the count of calls again."""
        if name == "seed":
            object.__setattr__(self, "seed_marker", object())
        object.__setattr__(self, name, value)

    def update(self, changes: Mapping[str, Any]) -> None:
        """Change several settings, or none if one is invalid.

        :raises ValueError: for an unknown setting or an invalid value. The message names the setting.
        """
        valid = {name: _require_valid(name, value) for name, value in changes.items()}
        for name, value in valid.items():
            setattr(self, name, value)


TYPES: Mapping[str, Any] = get_type_hints(Settings)
FIELDS = {each.name: each for each in fields(Settings)}


def _require_valid(name: str, value: Any) -> Any:
    """Return ``value``. Raise ``ValueError`` if the setting does not exist, or cannot have this value."""
    if name not in FIELDS:
        raise ValueError(f"there is no setting {name!r}. The settings are {', '.join(FIELDS)}")
    kind, limits = TYPES[name], FIELDS[name].metadata
    if "minimum" not in limits:
        allowed = [True, False] if kind is bool else [*get_args(kind)]
        if type(value) not in {bool, str} or value not in allowed:
            raise ValueError(f"{name}={value!r} must be one of {allowed}")
        return value
    if value is None and FIELDS[name].default is None:
        return None
    whole = kind is int
    numeric = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not numeric or not limits["minimum"] <= value <= limits["maximum"]:
        span = f"from {limits['minimum']} to {limits['maximum']:,}"
        raise ValueError(f"{name}={value!r} must be a {'whole ' * whole}number {span}")
    return value
