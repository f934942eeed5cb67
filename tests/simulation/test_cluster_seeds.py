"""Whole clusters with faults: every record, request, lease and epoch is accounted for, whatever breaks and returns.

seeds.py says how to run one alone.
"""

from tests.simulation.cluster_story import ClusterStory
from tests.simulation.seeds import for_all_seeds, run_each


@for_all_seeds
def test_a_cluster_keeps_its_promises_whatever_breaks_and_returns(seeds: range) -> None:
    run_each(seeds, lambda seed: ClusterStory(seed).run())


def test_a_seed_gives_the_same_schedule_each_time() -> None:
    assert fingerprints_of(range(5)) == fingerprints_of(range(5))
    assert len({*fingerprints_of(range(5))}) == 5


def fingerprints_of(seeds: range) -> list[int]:
    stories = [ClusterStory(seed) for seed in seeds]
    for story in stories:
        story.run()
    return [story.world.schedule.fingerprint for story in stories]
