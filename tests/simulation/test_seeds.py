"""Whole houses with faults: every record, request and job is accounted for, whatever order things happen in.

seeds.py says how to run one alone.
"""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.simulation.faults import Story
from tests.simulation.seeds import for_all_seeds, run_each

_PROCESS_S = 60.0
_PRINT_FINGERPRINTS = "from tests.simulation.test_seeds import *; print(*fingerprints_of(range(20)))"


@for_all_seeds
def test_nothing_is_lost_doubled_or_left_behind(seeds: range) -> None:
    run_each(seeds, lambda seed: Story(seed).run())


def test_a_seed_gives_the_same_schedule_each_time() -> None:
    first = fingerprints_of(range(20))
    assert fingerprints_of(range(20)) == first
    assert len({*first}) == 20


@pytest.mark.cluster
def test_a_seed_gives_the_same_schedule_in_every_process() -> None:
    here = [str(fingerprint) for fingerprint in fingerprints_of(range(20))]
    for hash_seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", _PRINT_FINGERPRINTS],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=_PROCESS_S,
        )
        assert ran.stdout.split() == here


def fingerprints_of(seeds: range) -> list[int]:
    stories = [Story(seed) for seed in seeds]
    for story in stories:
        story.run()
    return [story.world.schedule.fingerprint for story in stories]
