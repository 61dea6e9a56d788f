"""Whatever goes wrong: exactly the right image sets, or an error that says what happened, which a retry puts right.

A case is a seed's choice of image sets, windows, searcher and strength of a fault. One that failed is played again by
``RELIABILITY_CASE="<fault>/<seed>"``; ``--whole`` plays more of them, and ``SOAK_SECONDS`` plays new ones for so long
(``make test-all``, ``make soak``).
"""

from __future__ import annotations

import os
import random
import time
from itertools import count

import airflow
import pytest
from packaging import version

from tests.reliability.cases import SEARCHERS, SOAK, draw
from tests.reliability.faults import FAULTS

CASES, HOPELESS_CASES = 6, 2
"""How many to play of a fault: every fault, every way to search and every number of workers is among them."""

# On Airflow 2 a third of them: it differs in its botocore, and hardly in what these go through.
WHOLE_CASES, WHOLE_HOPELESS_CASES = (34, 8) if version.parse(airflow.__version__).major > 2 else (12, 2)


def seeds(fault, whole):
    """Yield the seeds to play: always the same ones, unless told otherwise."""
    if only := os.environ.get("RELIABILITY_CASE"):
        name, _, seed = only.rpartition("/")
        yield from [int(seed)] if name == fault else []
        return
    if not SOAK:
        few, many = (HOPELESS_CASES, WHOLE_HOPELESS_CASES) if FAULTS[fault].hopeless else (CASES, WHOLE_CASES)
        yield from range(many if whole else few)
        return
    until = time.monotonic() + SOAK / len(FAULTS)
    for seed in count(random.randrange(10**9)):
        if time.monotonic() > until:
            return
        yield seed


@pytest.mark.parametrize("fault", FAULTS)
def test_each_image_set_is_found_exactly_once_or_an_error_says_why_not(fault, played, whole):
    bad = {}
    for seed in seeds(fault, whole):
        outcome = played(draw(fault, seed))
        if outcome.lost or outcome.repeated or outcome.wrong:
            bad[f"{fault}/{seed}"] = outcome
    assert not bad, "\n".join(f"RELIABILITY_CASE={case!r}: {outcome}" for case, outcome in bad.items())


def test_the_cases_that_are_always_played_have_everything_among_them():
    cases = [draw(fault, seed) for fault in FAULTS for seed in range(CASES)]
    assert {case.searcher for case in cases} == set(SEARCHERS)
    assert {case.max_workers for case in cases} == {1, 4, 8}
    assert {(case.settings["between_includes_edges"], case.settings["bounds_cut_to_seconds"]) for case in cases} == {
        (included, cut) for included in (True, False) for cut in (True, False)
    }
    assert {case.narrowed for case in cases} == {None, "search_criteria", "match"}


def test_the_same_seed_draws_the_same_case():
    assert all(draw(fault, 7) == draw(fault, 7) != draw(fault, 8) for fault in FAULTS)
