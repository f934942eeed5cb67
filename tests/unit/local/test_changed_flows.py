"""A savepoint of a flow whose code has changed since: a step of the same name goes on, or is refused by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sage
from sage.base.errors import CheckpointUnusable
from sage.testing import Pause, Scripted
from tests.cluster.waiting import eventually

DEADLINE_S = 60.0
Keyed = sage.KeyedStream[str, float]


def flow_of(make: Callable[[Keyed], Any], script: list[Any]) -> tuple[sage.Flow, Any]:
    flow = sage.Flow("changed")
    numbers = flow.from_source(Scripted(*script), timestamp=float)
    return flow, make(numbers.key_by(lambda _: "all")).named("w").collect()


def counts(size_s: float, allow_late_s: float = 0.0) -> Callable[[Keyed], Any]:
    return lambda keyed: keyed.window(sage.Tumbling(size_s)).allow_late(allow_late_s).count()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Leave a savepoint of windows of 20 s in the middle of the second."""
    flow, _ = flow_of(counts(20), [[float(at) for at in range(30)], Pause(3600.0)])
    with sage.connect() as cluster:
        job = cluster.submit(flow, checkpoint=sage.Checkpoint(tmp_path / "own", every_s=3600.0))
        eventually(lambda: job.metrics().records_in == 30, DEADLINE_S)
        job.savepoint(tmp_path / "saved")
        job.cancel()
    return tmp_path / "saved"


def gone_on(make: Callable[[Keyed], Any], saved: Path, drop: tuple[str, ...] = ()) -> list[tuple[float, float, int]]:
    flow, found = flow_of(make, [[float(at) for at in range(30)], Pause(0.0), [float(at) for at in range(30, 60)]])
    kept = sage.Checkpoint(saved.parent / "next", savepoint=saved, drop=drop)
    flow.run(progress=False, timeout_s=DEADLINE_S, checkpoint=kept)
    return [(each.start, each.end, each.value) for each in found.items]


def test_windows_of_another_length_are_refused_unless_what_they_held_is_dropped(saved: Path) -> None:
    with pytest.raises(CheckpointUnusable, match=r"step 'w' held the state of a count by windows of 20 s, and is now"):
        gone_on(counts(10), saved)
    found = gone_on(counts(10), saved, drop=("w",))
    assert found[-3:] == [(30, 40, 10), (40, 50, 10), (50, 60, 10)]


def test_windows_that_wait_longer_for_what_is_late_go_on(saved: Path) -> None:
    assert gone_on(counts(20, allow_late_s=5.0), saved)[-2:] == [(20, 40, 20), (40, 60, 20)]
