"""Every record counts once, whenever a run ends and another begins from its newest checkpoint."""

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

import sage
from cluster.runtime.links import TaskMessage
from cluster.runtime.saving import CheckpointStage
from sage.base.clock import ManualClock
from sage.flow.ports import SourceReader
from tests.unit.runtime.driven_flow import DrivenFlow, run_in_lives
from tests.unit.two_phases import LedgerSink, MemoryLedger


@dataclass(frozen=True)
class Unpositioned:
    """A source that can only be read from its start."""

    items: tuple[int, ...]

    def open(self) -> SourceReader[int]:
        return UnpositionedReader(iter(self.items))


class UnpositionedReader:
    def __init__(self, items: Any) -> None:
        self._items = items

    def read(self, max_records: int) -> list[int] | None:
        found = next(self._items, None)
        return None if found is None else [found]

    def close(self) -> None:
        pass


async def tenfold(number: int) -> int:
    return 10 * number


def grown(old: list[int], number: int) -> list[int]:
    return [*old, number]


class Shop:
    """A flow of many kinds of steps, and what must come of it."""

    def __init__(self) -> None:
        flow = sage.Flow("shop")
        left = flow.from_collection(list(range(40)))
        right = flow.from_source(Unpositioned(tuple(range(100, 120))))
        both = left.union(right)
        called = both.map_async(tenfold, max_in_flight=3)
        self.called = called.map_batches(list, max_records=4, max_wait_s=0.1).collect()
        self.counted = both.key_by(lambda n: n % 7).count(final=True).with_parallelism(3).collect()
        self.folded = left.key_by(lambda n: n % 3).fold(list, grown).collect()
        self.ledger = MemoryLedger()
        both.map(str).to(LedgerSink(self.ledger))
        self.graph = flow.graph()

    def check(self) -> None:
        everything = [*range(40), *range(100, 120)]
        assert Counter(self.ledger.records) == Counter(map(str, everything))
        assert Counter(self.called.items) == Counter(10 * n for n in everything)
        assert Counter(self.counted.items) == Counter(Counter(n % 7 for n in everything).items())
        assert [n for _, values in self.folded.items for n in values[-1:]] == list(range(40))
        assert self.folded.items[-1] == (0, list(range(0, 40, 3)))


@pytest.mark.parametrize("seeds", [range(first, first + 25) for first in range(0, 200, 25)], ids=str)
def test_nothing_is_lost_or_doubled_wherever_runs_end(seeds: range) -> None:
    for seed in seeds:
        rng, shop = Random(seed), Shop()
        run_in_lives(shop.graph, rng, most_checkpoints=12, steps=(5, 50, 400))
        shop.check()


def test_a_run_takes_checkpoints_to_its_end_and_can_begin_at_the_last() -> None:
    rng, shop = Random(1), Shop()
    run = DrivenFlow(shop.graph, rng)
    while not run.is_over:
        run.begin_checkpoint()
        run.run(30)
    assert run.num_complete > 5
    again = DrivenFlow(shop.graph, rng, begins_at=run.newest)
    again.run_out()
    shop.check()


def test_nothing_is_seen_of_a_sink_of_two_phases_before_a_checkpoint_is_complete() -> None:
    rng, shop = Random(3), Shop()
    run = DrivenFlow(shop.graph, rng)
    run.run(400)
    assert shop.ledger.records == []
    run.begin_checkpoint()
    while not run.num_complete:
        run.run(10)
    run.run(200)
    seen = list(shop.ledger.records)
    assert 0 < len(seen) < 60
    again = DrivenFlow(shop.graph, rng, begins_at=run.newest)
    assert shop.ledger.records == seen
    assert shop.ledger.num_again > 0
    again.run_out()
    shop.check()


def test_a_paused_job_reads_nothing_still_takes_checkpoints_and_goes_on() -> None:
    flow = sage.Flow("paused")
    kept = flow.from_collection(list(range(12))).map(str).collect()
    driven = DrivenFlow(flow.graph(), Random(1), batch_records=3)

    def tell(stage: CheckpointStage) -> None:
        for task_id, drive in driven.tasks.drives.items():
            drive.checkpoint(0, stage)
            driven.tasks.wake(task_id)

    driven.run(1)
    tell(CheckpointStage.PAUSE)
    driven.run(200)
    num_read = sum(gauge.counts.records_in for gauge in driven.tasks.gauges.values())
    driven.begin_checkpoint()
    driven.run(200)
    assert sum(gauge.counts.records_in for gauge in driven.tasks.gauges.values()) == num_read < 12
    assert driven.num_complete == 1
    assert not driven.is_over
    tell(CheckpointStage.GO_ON)
    driven.run_out()
    assert kept.items == [str(number) for number in range(12)]


def test_a_paused_source_is_not_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = sage.Flow("paused")
    times = flow.from_collection(list(range(12)), timestamp=float, idle_after_s=1.0)
    times.key_by(lambda n: n % 2).window(sage.Tumbling(4)).count().with_parallelism(2).collect()
    driven = DrivenFlow(flow.graph(), Random(1), batch_records=3)
    said: list[TaskMessage] = []
    monkeypatch.setattr(driven.tasks, "send", said.append)
    for drive in driven.tasks.drives.values():
        drive.checkpoint(0, CheckpointStage.PAUSE)
    clock = driven.tasks._clock
    assert isinstance(clock, ManualClock)
    clock.advance(2.0)
    driven.run(100)
    assert said == []
