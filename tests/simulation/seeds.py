"""Which seeds a test of the simulation runs, and what it says of one that fails. Knows no story.

`SAGE_SIM_SEED=123` runs one seed alone, `SAGE_SIM_SEEDS=20000` so many. A seed is one schedule for as long as neither
the house nor the simulation changes: a failure that was mended is kept as a test that says what it was.
"""

import os
from collections.abc import Callable

import pytest

_LEN_CHUNK = 25
_NUM_SEEDS = int(os.environ.get("SAGE_SIM_SEEDS", "500"))
_ONE = os.environ.get("SAGE_SIM_SEED")


def for_seeds(share: float) -> pytest.MarkDecorator:
    """Return what gives a test its `seeds`, a range at a time: that share of all, for stories that take long."""
    num = round(share * _NUM_SEEDS)
    chunks = [range(start, min(start + _LEN_CHUNK, num)) for start in range(0, num, _LEN_CHUNK)]
    return pytest.mark.parametrize("seeds", [range(int(_ONE), int(_ONE) + 1)] if _ONE else chunks, ids=str)


for_all_seeds = for_seeds(1.0)
"""Gives a test all of them."""


def run_each(seeds: range, run: Callable[[int], object]) -> None:
    """Run the story of each seed; one that fails says how to run it again."""
    for seed in seeds:
        try:
            run(seed)
        except Exception as error:
            error.add_note(f"seed {seed}; again with SAGE_SIM_SEED={seed}")
            raise
