"""A source that says when to read it again: nothing is read before, and checkpoints are taken meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from cluster.jobs.tasks import tasks_from_plan
from cluster.runtime.messages import TaskSpec
from cluster.runtime.saving import ReadAfter, Reading
from cluster.runtime.source import READ_TIMER, TaskSource
from sage.base.errors import SourceUnreadable
from sage.base.ids import JobId
from sage.flow.flow import Flow
from sage.flow.plan import plan_from_graph


@dataclass
class Scripted:
    """Gives what it is told, an empty batch included, and asks for a pause after that."""

    batches: list[list[int]]
    pause: float = 2.0
    closed: list[bool] = field(default_factory=list)

    def open(self) -> "Scripted":
        return self

    def read(self, max_records: int) -> Sequence[int] | None:
        return self.batches.pop(0) if self.batches else None

    def pause_s(self) -> float:
        return self.pause

    def close(self) -> None:
        self.closed.append(True)


class ScriptedWorkshop:
    def __init__(self, reader: Scripted) -> None:
        self._reader = reader

    def reader(self, spec: TaskSpec) -> Scripted:
        return self._reader

    def reader_at(self, spec: TaskSpec, position: Any) -> Scripted:
        return self._reader


def opened(reader: Scripted, reading: Reading | None = None) -> TaskSource:
    flow = Flow("f")
    flow.from_source(reader).print()
    (spec,) = tasks_from_plan(JobId("job"), plan_from_graph(flow.graph()))
    source = TaskSource(spec)
    source.open(ScriptedWorkshop(reader), reading)
    return source


def test_a_read_that_gave_nothing_is_tried_again_when_the_source_says() -> None:
    timers: list[tuple[int, float]] = []
    source = opened(Scripted([[], [1]]))
    assert source.read(5) == []
    assert source.rests(lambda timer_id, after_s: timers.append((timer_id, after_s)))
    assert (source.is_paused, timers) == (True, [(READ_TIMER, 2.0)])
    source.is_paused = False
    assert source.read(5) == [1]


class Watched(Scripted):
    """Counts how often it was looked whether it has a watermark: it has none."""

    num_looks = 0

    def __getattr__(self, name: str) -> Any:
        if name == "watermark_s":
            Watched.num_looks += 1
        raise AttributeError(name)


def test_what_a_source_can_tell_is_found_out_before_it_is_read() -> None:
    source = opened(Watched([[1], [2], [3]]))
    num_looks = Watched.num_looks
    assert num_looks > 0
    assert [(source.read(5), source.watermark_s()) for _ in range(3)] == [([1], None), ([2], None), ([3], None)]
    assert Watched.num_looks == num_looks


def test_without_a_pause_it_is_read_at_once() -> None:
    source = opened(Scripted([[], [1]], pause=0.0))
    assert source.read(5) == []
    assert not source.rests(lambda *_: None)


def test_what_was_read_before_is_passed_over_a_read_at_a_time() -> None:
    timers: list[tuple[int, float]] = []
    source = opened(Scripted([[1, 2], [3], [4]]), ReadAfter(3))
    for _ in range(2):
        assert source.read(2) == []
        assert not source.rests(lambda *timer: timers.append(timer))
        assert source.reading() == ReadAfter(3)
    assert (source.read(2), source.reading()) == ([4], ReadAfter(4))
    assert not timers


def test_a_source_that_gives_less_than_before_is_refused() -> None:
    source = opened(Scripted([[1]]), ReadAfter(2))
    assert source.read(5) == []
    with pytest.raises(SourceUnreadable, match="gave 2 records before, now 1"):
        source.read(5)
