"""Wall clocks of heads and nodes that jump by an hour, forth and back: nothing is lost by it, and nothing moves.

Leases, beats, deadlines and alarms go by clocks that never jump; event time by records alone.
"""

import pytest

from tests.simulation.cluster_story import ClusterStory

NUM_STORIES = 8


@pytest.mark.parametrize("is_kept", [False, True], ids=["whole runs", "with checkpoints"])
def test_wall_clocks_that_jump_by_an_hour_fail_nothing_over_and_change_no_event_time(is_kept: bool) -> None:
    """Jobs ask models with deadlines, count windows of event time and take checkpoints; each ends as the lists say."""
    num_jumps = 0
    for seed in range(NUM_STORIES):
        story = ClusterStory(seed, fault="jump", is_kept=is_kept)
        story.run()
        num_jumps += sum("jumps" in line for line in story.troubles.told)
        assert story.watched.num_given_up == 0
        assert [record.num_restarts for record in story.cluster.disk.records.values() if record.num_restarts] == []
    assert num_jumps == 6 * NUM_STORIES
