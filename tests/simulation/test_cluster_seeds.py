"""Whole clusters with faults: every record, request, lease and epoch is accounted for, whatever breaks and returns.

`SAGE_SIM_SEED=123` runs one seed alone, `SAGE_SIM_SEEDS=20000` so many, as in test_seeds.py.
"""

import os

import pytest

from tests.simulation.cluster_story import ClusterStory

_LEN_CHUNK = 25
_NUM_SEEDS = int(os.environ.get("SAGE_SIM_SEEDS", "500"))
_ONE = os.environ.get("SAGE_SIM_SEED")
_CHUNKS = [range(start, min(start + _LEN_CHUNK, _NUM_SEEDS)) for start in range(0, _NUM_SEEDS, _LEN_CHUNK)]


@pytest.mark.parametrize("seeds", [range(int(_ONE), int(_ONE) + 1)] if _ONE else _CHUNKS, ids=str)
def test_a_cluster_keeps_its_promises_whatever_breaks_and_returns(seeds: range) -> None:
    for seed in seeds:
        try:
            ClusterStory(seed).run()
        except Exception as error:
            error.add_note(f"seed {seed}; again with SAGE_SIM_SEED={seed} pytest {__file__}")
            raise


def test_a_seed_gives_the_same_schedule_each_time() -> None:
    assert fingerprints_of(range(5)) == fingerprints_of(range(5))
    assert len({*fingerprints_of(range(5))}) == 5


def fingerprints_of(seeds: range) -> list[int]:
    stories = [ClusterStory(seed) for seed in seeds]
    for story in stories:
        story.run()
    return [story.world.schedule.fingerprint for story in stories]
