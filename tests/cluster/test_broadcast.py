"""Broadcast state on threads and in node processes, and from a savepoint with another number of instances."""

from pathlib import Path
from typing import Any

import pytest

import sage
from sage.testing import Pause, Scripted
from tests.cluster.waiting import eventually

pytestmark = pytest.mark.cluster
DEADLINE_S = 60.0
PRICES = [(key, key / 2) for key in range(10)]


class Pricing(sage.BroadcastProcess[int, int, tuple[int, float], tuple[int, float | None]]):
    prices = sage.BroadcastState[int, float]()

    def on_record(self, record: int, context: sage.ProcessContext[int]) -> list[tuple[int, float | None]]:
        return [(record, self.prices.get(context.key))]

    def on_broadcast(self, record: tuple[int, float], context: sage.BroadcastContext) -> None:
        self.prices[record[0]] = record[1]


def priced(num_instances: int, pause_s: float) -> tuple[sage.Flow, Any]:
    """Prices come first; numbers wait for `pause_s`."""
    flow = sage.Flow("priced")
    rules = flow.from_source(Scripted(PRICES)).named("prices").broadcast()
    numbers = flow.from_source(Scripted([0], Pause(pause_s), list(range(1, 40)))).named("numbers")
    keyed = numbers.key_by(lambda number: number % 10)
    return flow, keyed.connect(rules).process(Pricing).named("price").with_parallelism(num_instances).collect()


def test_a_savepoint_gives_each_of_another_number_of_instances_a_copy(tmp_path: Path) -> None:
    flow, _ = priced(2, 600.0)
    with sage.connect() as cluster:
        job = cluster.submit(flow, checkpoint=sage.Checkpoint(tmp_path / "kept", every_s=0.05))
        eventually(lambda: job.metrics().records_in == 11, DEADLINE_S, job.metrics)
        job.savepoint(tmp_path / "saved")
        job.cancel()
    other, out = priced(3, 0.0)
    begun = sage.Checkpoint(tmp_path / "other", every_s=0.05, savepoint=tmp_path / "saved")
    other.run(timeout_s=DEADLINE_S, progress=False, checkpoint=begun)
    assert sorted(out.items)[1:] == [(n, n % 10 / 2) for n in range(1, 40)]


class PricingAtTheEnd(sage.BroadcastProcess[int, int, tuple[int, float], tuple[int, float]]):
    """Gives nothing before the end of both streams, when every timer fires."""

    prices = sage.BroadcastState[int, float]()
    waiting = sage.ListState[int]()

    def on_record(self, record: int, context: sage.ProcessContext[int]) -> None:
        self.waiting.append(record)
        context.set_timer(1e9)

    def on_timer(self, time_s: float, context: sage.ProcessContext[int]) -> list[tuple[int, float]]:
        return [(number, self.prices[context.key]) for number in self.waiting]

    def on_broadcast(self, record: tuple[int, float], context: sage.BroadcastContext) -> None:
        self.prices[record[0]] = record[1]


def test_instances_on_several_nodes_are_told_the_same() -> None:
    flow = sage.Flow("priced")
    rules = flow.from_collection(PRICES).broadcast()
    numbers = flow.from_collection(range(40), timestamp=float).key_by(lambda number: number % 10)
    out = numbers.connect(rules).process(PricingAtTheEnd).with_parallelism(4).collect()
    flow.run("local:2", timeout_s=DEADLINE_S, progress=False)
    assert sorted(out.items) == [(n, n % 10 / 2) for n in range(40)]
