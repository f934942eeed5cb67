"""Rows of keys beyond memory: they are as in a dict, few are in memory, and which records fail of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["set", "delete", "get", "write"]), st.integers(-3, 9), st.integers(0, 99)), max_size=60
)


@settings(max_examples=20, deadline=None)
@given(operations=OPERATIONS)
def test_a_spilled_dict_is_a_dict(operations: list[tuple[str, int, int]], tmp_path_factory: Any) -> None:
    table = tables_in(tmp_path_factory.mktemp("spilled")).open("step")
    spilled, plain = Spilled(table), dict[int, int]()
    for what, key, value in operations:
        match what:
            case "set":
                spilled[key] = plain[key] = value
            case "delete" if key in plain:
                del spilled[key], plain[key]
            case "get":
                assert spilled.get(key, "none") == plain.get(key, "none")
                assert (key in spilled) == (key in plain)
            case _:
                spilled.write()
    assert dict(spilled.items()) == plain
    with pytest.raises(KeyError):
        spilled[100]
    table.close()
