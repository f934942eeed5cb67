"""Rows of keys beyond memory: which records fail of them, and how many rows memory holds."""

from dataclasses import replace
from pathlib import Path

from cluster.checkpoints.rocks import RocksTables
from cluster.runtime.record_types import RecordTypes
from operators.machine import DeadLetter
from operators.registry import machine_for
from operators.spilled import Spilled
from sage.base.batch import Batch
from sage.base.errors import RecordFailed
from sage.flow.graph import OnError
from sage.flow.spec import Aggregate
from tests.unit.operators.arrange import chain, context, step, values_of


def tables_in(folder: Path) -> RocksTables:
    return RocksTables(str(folder), "one", RecordTypes(), instance=0, num_instances=1)


def test_a_record_is_set_aside_for_what_cannot_be_a_key(tmp_path: Path) -> None:
    sums = step(Aggregate("sum", abs), "step-0", on_error=OnError.DEAD_LETTER)
    machine = machine_for(chain(sums), replace(context(), tables=tables_in(tmp_path)))
    machine.open()
    commands = machine.on_batch(Batch([5, 6, 7], [1, object(), 1]))
    [letter] = [command for command in commands if isinstance(command, DeadLetter)]
    assert (letter.value, type(letter.cause)) == (6, RecordFailed)
    assert values_of(commands) == [(1, 5), (1, 12)]
    machine.close(complete=False)


def test_few_large_rows_are_in_memory_from_the_first_on(tmp_path: Path) -> None:
    spilled, most_bytes = Spilled(tables_in(tmp_path).open("step")), 0
    for key in range(300):
        spilled[key] = "x" * (64 << 10)
        most_bytes = max(most_bytes, sum(map(len, dict.values(spilled))))
        spilled.trim()
    assert most_bytes < 4 << 20
    assert len(spilled.items()) == 300
    spilled.table.close()
