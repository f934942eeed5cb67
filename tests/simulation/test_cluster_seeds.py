"""Whole clusters with faults: every record, request, lease and epoch is accounted for, whatever breaks and returns.

seeds.py says how to run one alone.
"""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.simulation.chat_story import ChatStory
from tests.simulation.cluster_story import ClusterStory
from tests.simulation.rot_story import RotStory
from tests.simulation.seeds import for_all_seeds, run_each

_PROCESS_S = 120.0
_PRINT_FINGERPRINTS = "from tests.simulation.test_cluster_seeds import *; print(*fingerprints_of(some_stories()))"


@for_all_seeds
def test_a_cluster_keeps_its_promises_whatever_breaks_and_returns(seeds: range) -> None:
    run_each(seeds, lambda seed: ClusterStory(seed).run())


def test_a_seed_gives_the_same_schedule_each_time() -> None:
    first = fingerprints_of([ClusterStory(seed) for seed in range(5)])
    assert fingerprints_of([ClusterStory(seed) for seed in range(5)]) == first
    assert len({*first}) == 5


@pytest.mark.cluster
def test_a_seed_gives_the_same_schedule_whatever_the_hashes_of_texts_are() -> None:
    """What is sent to several comes in the order in which they were put down, never in that of a set."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _PRINT_FINGERPRINTS],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for hash_seed in ("1", "2")
    ]
    one, other = (ran.communicate(timeout=_PROCESS_S)[0].split() for ran in running)
    assert [ran.returncode for ran in running] == [0, 0]
    assert len(one) == len(some_stories())
    assert one == other


def some_stories() -> list[ClusterStory]:
    """Return stories of each kind; each of them took another way under other hashes once."""
    stories = [ClusterStory(10), ClusterStory(19), ClusterStory(19, is_kept=True), ClusterStory(49, is_kept=True)]
    return [*stories, ChatStory(2), ChatStory(7), RotStory(12)]


def fingerprints_of(stories: list[ClusterStory]) -> list[int]:
    for story in stories:
        story.run()
    return [story.world.schedule.fingerprint for story in stories]
