"""Whole clusters whose disks spoil what they have acknowledged: nothing is served that is not as it was.

A job goes on from the newest checkpoint that is good, exactly; or it fails, and says what is wrong and what to do. Of a
journal nothing is believed until it was mended: what was over is as it was, what was not has failed, and new jobs run
as if nothing had been. seeds.py says how to run one alone.
"""

import pytest

from cluster.jobs import mended_journal
from cluster.jobs.sqlite_journal import SqliteJournal
from sage.base.errors import CheckpointUnusable
from tests.simulation.rot_story import JournalRotStory, RotStory
from tests.simulation.seeds import for_seeds, run_each

_ENOUGH = 10
"""Of so many stories some find that the journal is not as it was."""

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


@for_seeds(0.02)
def test_a_journal_that_rots_is_refused_by_name_and_mended(seeds: range) -> None:
    refused: list[str] = []

    def run(seed: int) -> None:
        story = JournalRotStory(seed, is_kept=seed % 2 == 0)
        story.run()
        refused.extend(error.what for error in story.journal_files.refused)

    run_each(seeds, run)
    assert refused or len(seeds) < _ENOUGH


# The ledger notices: one promise broken on purpose at a time.


def wrongs(num_seeds: int = 60) -> str:
    """Return what the first story complains of that complains."""
    for seed in range(num_seeds):
        try:
            JournalRotStory(seed, is_kept=True).run()
        except AssertionError as error:
            return str(error)
    return ""


def test_a_journal_that_is_believed_though_changes_are_missing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SqliteJournal, "_check_seen", lambda journal: None)
    assert "the journal was opened with None instead of" in wrongs()


def test_a_mended_job_that_would_begin_again_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mended_journal, "_failed", lambda record, now_unix_s: record)
    assert "was mended to" in wrongs()
