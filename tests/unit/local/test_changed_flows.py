"""A savepoint of a flow whose code has changed since: a step of the same name goes on, or is refused by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sage
from sage.base.errors import CheckpointUnusable
from sage.testing import Pause, Scripted
from tests.cluster.waiting import eventually
from tests.unit.checkpoints.tables import opened

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


class Two(sage.KeyedProcess[str, float, float]):
    total = sage.ValueState(0.0)
    newest = sage.ValueState(0.0)

    def on_record(self, record: float, context: sage.ProcessContext[str]) -> None:
        self.total = record
        if context.key == "1":
            self.newest = record


class One(sage.KeyedProcess[str, float, float]):
    newest = sage.ValueState(0.0)

    def on_record(self, record: float, context: sage.ProcessContext[str]) -> None:
        """No key is touched by the run that declares less."""


def rows_saved(process: type[Any], script: list[Any], saved: Path, **wanted: Any) -> dict[Any, Any]:
    """Run a process of keys 0 to 2, with its state in RocksDB, and return the rows of its table after the script."""
    flow = sage.Flow("let go")
    flow.from_source(Scripted(*script)).key_by(str).process(process).named("p").collect()
    num = sum(len(each) for each in script if isinstance(each, list))
    kept = sage.Checkpoint(saved.parent / process.__name__, every_s=3600.0, state="rocksdb", **wanted)
    with sage.connect() as cluster:
        job = cluster.submit(flow, checkpoint=kept)
        eventually(lambda: job.metrics().records_in == num, DEADLINE_S, job.metrics)
        job.savepoint(saved)
        job.cancel()
    [store] = saved.glob("*/*.store")
    table = opened(saved.parent, f"of {process.__name__}")
    table.take_up([(str(store), 1)])
    rows = {key: row[0] for _, key, row in table.after(b"")}
    table.close()
    return rows


def test_a_state_that_is_dropped_leaves_no_row_in_a_table(tmp_path: Path) -> None:
    first, three, pause = tmp_path / "first", [0, 1, 2], Pause(3600.0)
    held = {"0": {"total": 0.0}, "1": {"total": 1.0, "newest": 1.0}, "2": {"total": 2.0}}
    assert rows_saved(Two, [three, pause], first) == held
    rows = rows_saved(One, [three, Pause(0.0), [3], pause], tmp_path / "next", savepoint=first, drop=("p.total",))
    assert rows == {"1": {"newest": 1.0}}
