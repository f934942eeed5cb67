"""Whole clusters whose disks spoil checkpoints that they have acknowledged: none is served that is not as it was.

A job goes on from the newest that is good, exactly; or it fails, and says what is wrong and what to do. seeds.py says
how to run one alone.
"""

from sage.base.errors import CheckpointUnusable
from tests.simulation.rot_story import RotStory
from tests.simulation.seeds import for_seeds, run_each

NUM_FOUND = 2
"""Of 25 stories a head finds in so many, at least, that a newest checkpoint is not good."""


@for_seeds(0.15)
def test_a_job_goes_on_from_the_last_good_checkpoint_or_says_what_is_wrong(seeds: range) -> None:
    found: list[str] = []

    def run(seed: int) -> None:
        story = RotStory(seed)
        story.run()
        found.extend(passed_over(story))
        wrong = [job.error for job in story.wanted if isinstance(job.error, CheckpointUnusable) and not job.error.do]
        assert not wrong

    run_each(seeds, run)
    assert len(found) >= NUM_FOUND * (len(seeds) // 25)


def passed_over(story: RotStory) -> list[str]:
    """Return what was said to users of checkpoints that heads did not go on from."""
    said: list[str] = []
    for job in story.cluster.taken_up():
        if job.checkpoints is not None:
            said += job.checkpoints.notes
        elif isinstance(job.refusal, CheckpointUnusable):
            said.append(job.refusal.what)
    return said
