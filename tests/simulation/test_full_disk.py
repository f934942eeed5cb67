"""Whole clusters whose disk is full for a while: jobs wait, and no record is lost or doubled. No other fault."""

import pytest

from cluster.jobs.disk_pause import DiskPause
from sage.base.errors import DiskFull
from tests.simulation.cluster_story import ClusterStory
from tests.simulation.seeds import for_seeds, run_each

_ENOUGH = 10
"""Of so many stories some have a job that waits."""


@for_seeds(0.02)
def test_jobs_wait_for_room_on_a_full_disk_and_lose_nothing(seeds: range, monkeypatch: pytest.MonkeyPatch) -> None:
    refused, waiting = DiskPause.refused, set[DiskPause]()

    def watched(pause: DiskPause, error: DiskFull, now_s: float) -> float | None:
        waiting.add(pause)
        return refused(pause, error, now_s)

    monkeypatch.setattr(DiskPause, "refused", watched)
    run_each(seeds, lambda seed: ClusterStory(seed, fault="fill_disk", is_kept=True).run())
    assert waiting or len(seeds) < _ENOUGH
