"""What can go wrong, as one table: the name of a fault, and how a seed makes it strong or weak."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

Settings = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """How the service is set.

    :param settings: draws settings of the local service.
    :param botocore: what the task is told for it, as it would be in the field.
    :param hopeless: whether no attempt can succeed, so that only an error is right.
    """

    settings: Callable[[Random], Settings]
    botocore: Mapping[str, Any] = field(default_factory=dict)
    hopeless: bool = False


PATIENCE = {"read_timeout": 0.75}
"""Seconds that a client waits for a response: many times what a page takes, so that a busy machine is no fault."""


def often(rng: Random) -> float:
    """Return a share that botocore's ten attempts get past, a million times in a million and one at the worst."""
    return rng.choice([0.05, 0.1, 0.2])


def _mixture(rng: Random) -> Settings:
    names = rng.sample([name for name, fault in FAULTS.items() if not fault.hopeless and name != "mixture"], 4)
    mixed: Settings = {}
    for name in names:
        mixed |= FAULTS[name].settings(rng)
    # Each of ten attempts must have better odds than one in three.
    for name in ("error_rate", "cut_rate", "slow_rate"):
        if name in mixed:
            mixed[name] = min(mixed[name], 0.1)
    return mixed


def _cut(where: str) -> Fault:
    return Fault(lambda rng: {"cut_rate": often(rng), "cut_where": where})


FAULTS: Mapping[str, Fault] = {
    "none": Fault(lambda _: {}),
    "quota": Fault(lambda rng: {"calls_per_second": rng.choice([40, 80, 160]), "burst": rng.choice([1, 3, 10])}),
    "errors 500 to 504": Fault(lambda rng: {"error_rate": often(rng)}),
    "connection cut before the body": _cut("before"),
    "connection cut during the body": _cut("during"),
    "connection cut after the body": _cut("after"),
    "slow responses": Fault(lambda rng: {"slow_rate": rng.choice([0.02, 0.05]), "slow_seconds": 1.5}, PATIENCE),
    "empty pages": Fault(lambda rng: {"empty_page_rate": rng.choice([0.1, 0.5, 0.9])}),
    "tokens rejected": Fault(lambda rng: {"expired_token_rate": rng.choice([0.1, 0.3, 0.5])}),
    "tokens that expire": Fault(lambda rng: {"token_lifetime": rng.choice([0.0, 0.02, 0.1])}),
    "index that lags": Fault(lambda rng: {"index_lag": rng.choice([0.05, 0.15, 0.3])}),
    "image sets change": Fault(lambda rng: {"change_rate": rng.choice([0.3, 1.0])}),
    "image sets vanish": Fault(lambda rng: {"vanish_rate": rng.choice([0.3, 1.0])}),
    "S3 errors": Fault(lambda rng: {"s3_error_rate": often(rng)}),
    "mixture": Fault(_mixture, PATIENCE),
    "nothing but errors": Fault(lambda _: {"error_rate": 1.0}, hopeless=True),
    "nothing but cuts": Fault(
        lambda rng: {"cut_rate": 1.0, "cut_where": rng.choice(["before", "during"])}, hopeless=True
    ),
    "no quota left": Fault(
        lambda _: {"calls_per_second": 1e-9, "burst": 1}, {"retries": {"total_max_attempts": 2}}, hopeless=True
    ),
}
