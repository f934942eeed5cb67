"""Turns, checkpoints, journals and everything that breaks, in one cluster at a time: all promises hold side by side.

seeds.py says how to run one alone.
"""

from tests.simulation.joint_story import JointStory
from tests.simulation.seeds import for_seeds, run_each


@for_seeds(0.03)
def test_turns_and_jobs_keep_their_promises_side_by_side_whatever_breaks_and_rots(seeds: range) -> None:
    run_each(seeds, lambda seed: JointStory(seed).run())
