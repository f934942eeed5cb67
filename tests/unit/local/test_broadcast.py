"""Broadcast state: alike on every instance, part of checkpoints, there again with another number of instances."""

from collections.abc import Iterator
from typing import Any

import pytest

import sage
from sage.base.errors import RecordFailed
from sage.testing import Pause, Scripted, rehearse

Context = sage.ProcessContext[int]


class Pricing(sage.BroadcastProcess[int, int, tuple[int, float], tuple[int, float | None, int]]):
    """Gives each number with the price of its key, and how many numbers its key had."""

    prices = sage.BroadcastState[int, float]()
    seen = sage.ValueState(0)

    def on_record(self, record: int, context: Context) -> Iterator[tuple[int, float | None, int]]:
        self.seen += 1
        yield record, self.prices.get(context.key), self.seen

    def on_broadcast(self, record: tuple[int, float], context: sage.BroadcastContext) -> None:
        self.prices[record[0]] = record[1]


def priced(numbers: Any, prices: Any, num_instances: int) -> tuple[sage.Flow, Any]:
    flow = sage.Flow("priced")
    rules = flow.from_source(prices).broadcast()
    keyed = flow.from_source(numbers).key_by(lambda number: number % 10)
    step = keyed.connect(rules).process(Pricing).named("price").with_parallelism(num_instances)
    return flow, step.collect()


PRICES = [(key, key / 2) for key in range(10)]


@pytest.mark.parametrize("seed", range(4))
def test_every_instance_has_what_was_broadcast_wherever_the_job_crashes(seed: int) -> None:
    numbers = Scripted(Pause(1), list(range(20)), Pause(1), Pause(5), Pause(5), list(range(20, 40)))
    flow, out = priced(numbers, Scripted(PRICES, Pause(2), Pause(2), [(0, 99.0)], Pause(9)), 1 + seed)
    with rehearse(flow, seed=seed, checkpoints=True) as run:
        run.advance(1)
        run.checkpoint()
        run.crash()
        run.advance(2.5)
        run.checkpoint()
        run.crash()
        run.finish()
    expected = [(n, 99.0 if n >= 20 and n % 10 == 0 else n % 10 / 2, n // 10 + 1) for n in range(40)]
    assert sorted(out.items) == expected


class Told(sage.BroadcastProcess[int, int, str, Any]):
    """Does what the broadcast record says."""

    rules = sage.BroadcastState[str, int]()
    num = sage.ValueState(0)

    def on_record(self, record: int, context: Context) -> Any:
        if record < 0:
            self.rules["no"] = record
        return [sorted(self.rules)]

    def on_broadcast(self, record: str, context: sage.BroadcastContext) -> Any:
        match record:
            case "reads a key":
                return self.num
            case "gives":
                return [1]
            case "assigns":
                self.rules = {"other": 1}
            case _:
                self.rules[record] = 1


def told(*records: Any, numbers: Any = (), num_instances: int = 2) -> tuple[sage.Flow, Any]:
    flow = sage.Flow("told")
    rules = flow.from_source(Scripted(list(records))).broadcast()
    keyed = flow.from_source(Scripted(Pause(1), list(numbers))).key_by(abs)
    step = keyed.connect(rules).process(Told).on_error("dead_letter").with_parallelism(num_instances)
    return flow, step.collect()


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ("reads a key", "on_broadcast is of no key"),
        ("gives", "on_broadcast returns None"),
        (["list"], "unhashable"),
        ("assigns", "is a dict to be changed in place"),
    ],
)
def test_what_on_broadcast_cannot_do_fails_its_record_on_every_instance(record: Any, why: str) -> None:
    flow, out = told("a", record, "b", numbers=[1, 2])
    with rehearse(flow) as run:
        run.finish()
        letters = run.dead_letters()
    assert out.items == [["a", "b"], ["a", "b"]]
    assert len(letters) == 2
    assert all(why in letter.error for letter in letters)


def test_a_broadcast_state_is_changed_by_on_broadcast_alone() -> None:
    flow, out = told("a", numbers=[-1, 1])
    with rehearse(flow) as run:
        run.finish()
        [letter] = run.dead_letters()
    assert "does not support item assignment" in letter.error
    assert out.items == [["a"]]


def test_a_failed_job_names_the_record_that_was_broadcast() -> None:
    flow = sage.Flow("told")
    flow.from_collection([1]).key_by(abs).connect(flow.from_collection(["gives"]).broadcast()).process(Told).collect()
    with pytest.raises(RecordFailed, match="on_broadcast returns None"), rehearse(flow) as run:
        run.finish()
