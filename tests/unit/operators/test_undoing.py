"""What a try of a process that failed has done is taken back, before the next try and before its dead letter."""

import operator
from collections.abc import Iterable
from typing import Any

import pytest

from operators.machine import Emit
from sage.base.batch import Batch
from sage.flow.graph import OnError
from sage.flow.process import KeyedProcess, ListState, ProcessContext, ReducingState, ValueState
from sage.flow.spec import AssignTimestamps, KeyBy, Process
from tests.unit.operators.arrange import dead_of, machine, step, values_of

Record = tuple[float, Any]


class Undone(KeyedProcess[Any, Record, Any]):
    """Changes all it can, then fails for an even time."""

    num = ValueState(0)
    total = ReducingState[float](operator.add)
    times = ListState[float]()
    num_calls = 0

    def on_record(self, record: Record, context: ProcessContext[Any]) -> Iterable[Any]:
        type(self).num_calls += 1
        self.num += 1
        self.total = record[0]
        self.times.append(record[0])
        context.aside("seen", record[0])
        context.set_timer(record[0] + 0.5)
        context.set_alarm(record[0])
        yield self.num, self.total, list(self.times)
        if record[0] % 2 == 0:
            raise ConnectionError(record)

    def on_timer(self, time_s: float, context: ProcessContext[Any]) -> Iterable[float]:
        yield time_s


def test_a_try_that_failed_leaves_neither_state_nor_sides_nor_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Undone, "num_calls", 0)
    monkeypatch.setattr(Undone, "on_alarm", lambda self, context: None, raising=False)
    spec = step(Process(Undone, ("seen",)), "process", on_error=OnError.DEAD_LETTER, retries=2)
    driven = machine(AssignTimestamps(lambda record: record[0]), KeyBy(lambda record: record[1]), spec)
    commands = driven.on_batch(Batch([(1, "a"), (2, "a"), (3, "a"), (4, "b")]))
    aside = [
        command.batch.values for command in commands if isinstance(command, Emit) and command.side and command.batch
    ]
    whole = [*values_of(commands), *values_of(driven.on_end())]
    assert [value for value in whole if isinstance(value, tuple)] == [(1, 1, [1]), (2, 4, [1, 3])]
    assert [value for value in whole if isinstance(value, float)] == [1.5, 3.5]
    assert (aside, Undone.num_calls) == ([[1, 3]], 8)
    assert [letter.value for letter in dead_of(commands)] == [(2, "a"), (4, "b")]
