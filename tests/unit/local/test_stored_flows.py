"""Whole flows whose windows and joins are in RocksDB: they give what they give from memory, and can be asked."""

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sage
from cluster.local import LocalCluster

NUM = 3_000
Keyed = sage.KeyedStream[int, int]


def key_of(number: int) -> int:
    return number % 400


def shuffled(number: int) -> float:
    """Return a time near the number's turn."""
    return float(number + (number * 7) % 40)


KINDS: dict[str, Callable[[Callable[[int], Keyed]], Any]] = {
    "tumbling": lambda keyed: keyed(1).window(sage.Tumbling(500)).collect(),
    "sliding": lambda keyed: keyed(1).window(sage.Sliding(800, 300)).count(),
    "session": lambda keyed: keyed(1).window(sage.Session(500)).sum(),
    "tumbling, early": lambda keyed: keyed(1).window(sage.Tumbling(500)).trigger(every_records=2).count(),
    "count": lambda keyed: keyed(1).window(sage.CountWindow(3)).count(),
    "within": lambda keyed: keyed(1).join(keyed(3)).within(500, 600),
    "window join": lambda keyed: keyed(1).join(keyed(3)).window(sage.Tumbling(500)),
    "as of": lambda keyed: keyed(1).join(keyed(3)).as_of(outer=True),
    "count at the end": lambda keyed: keyed(1).count(final=True),
}


def flow_of(kind: str) -> tuple[sage.Flow, Any]:
    flow = sage.Flow("stored")

    def keyed(step: int) -> Keyed:
        numbers = flow.from_collection(range(0, NUM, step), timestamp=shuffled, max_out_of_order_s=40)
        return numbers.key_by(key_of)

    return flow, KINDS[kind](keyed).named("kept").with_parallelism(2).collect()


@pytest.mark.parametrize("kind", KINDS)
def test_a_flow_gives_from_tables_what_it_gives_from_memory(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operators.spilled._MAX_ROWS", 50)
    found = {}
    for state in (None, "rocksdb"):
        flow, kept = flow_of(kind)
        checkpoint = sage.Checkpoint(tmp_path / "kept", every_s=0.05, state="rocksdb") if state else None
        flow.run(timeout_s=60, progress=False, checkpoint=checkpoint)
        found[state] = sorted(map(repr, kept.items))
        if checkpoint is not None:
            assert "kept: in RocksDB" in flow.explain(checkpoint).state
    assert len(found[None]) >= 400
    assert found["rocksdb"] == found[None]
    assert not list(tmp_path.rglob("*.live"))


class Held:
    """A source that gives three numbers and then nothing, until it is let end."""

    def __init__(self) -> None:
        self._left = [1, 2, 3]
        self._may_end = threading.Event()
        self._wake: Callable[[], object] = lambda: None

    def open(self) -> "Held":
        return self

    def wake_by(self, wake: Callable[[], object]) -> None:
        self._wake = wake

    def read(self, max_records: int) -> list[int] | None:
        given, self._left = self._left, []
        return None if not given and self._may_end.is_set() else given

    def close(self) -> None:
        """Nothing is open."""

    def end(self) -> None:
        self._may_end.set()
        self._wake()


def test_a_job_is_asked_for_windows_in_tables(tmp_path: Path) -> None:
    flow, held = sage.Flow("asked"), Held()
    came: queue.SimpleQueue[int] = queue.SimpleQueue()

    def told(number: int) -> int:
        came.put(number)
        return number

    keyed = flow.from_source(held, timestamp=float).map(told).key_by(lambda number: "all")
    windows = keyed.window(sage.Tumbling(1e6)).collect().named("windows").collect()
    with LocalCluster() as cluster:
        job = cluster.submit(flow, checkpoint=sage.Checkpoint(tmp_path, every_s=0.05, state="rocksdb"))
        assert [came.get(timeout=30) for _ in range(3)] == [1, 2, 3]
        found = job.state("windows", "all")
        held.end()
        job.wait(30)
    assert [result.value for result in found] == [[1, 2, 3]]
    assert windows.items == found
