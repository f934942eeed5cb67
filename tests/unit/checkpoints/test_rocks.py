"""State in RocksDB: what comes out is what comes out of memory, wherever it was laid down and however it goes on."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.checkpoints.from_tables import in_memory
from cluster.checkpoints.rocks import RocksTables
from cluster.checkpoints.rows import RowCodec
from operators.due import DuesInMemory, StoredDues
from operators.keycode import exact_bytes_of_key
from operators.machine import Machine, SetTimer
from operators.partition import instance_of
from operators.registry import machine_for
from operators.rescale import dealt_out
from operators.state import State, StepState
from sage.base.batch import Batch
from sage.base.errors import CheckpointUnusable, RecordUnsendable
from sage.flow.graph import OnError
from sage.flow.process import KeyedProcess, ListState, MapState, ProcessContext, ReducingState, ValueState
from sage.flow.spec import Aggregate, Fold, Process, Reduce, Spec
from tests.unit.checkpoints.tables import TYPES, flip, opened
from tests.unit.operators.arrange import chain, context, step, values_of, whole

Record = tuple[int, int]


class Everything(KeyedProcess[Any, Record, Any]):
    """Has every kind of state; timers, and values that expire and are deleted."""

    last = ValueState(0, ttl_s=6.0)
    numbers = ListState[int]()
    by_rest = MapState[int, int]()
    total = ReducingState[int](int.__add__)

    def on_record(self, record: Record, context: ProcessContext[Any]) -> Iterable[Any]:
        yield context.key, self.last, len(self.numbers), self.total
        self.last = self.total = record[1]
        self.numbers.append(record[1])
        self.by_rest[record[1] % 3] = self.by_rest.get(record[1] % 3, 0) + 1
        assert context.time_s is not None
        context.set_timer(context.time_s + 10.0)

    def on_timer(self, time_s: float, context: ProcessContext[Any]) -> Iterable[Any]:
        yield context.key, time_s, list(self.numbers), dict(self.by_rest)
        del self.numbers
        del self.by_rest


def appended(numbers: list[int], record: Record) -> list[int]:
    numbers.append(record[1])
    return numbers


def number_of(record: Record) -> int:
    return record[1]


KINDS: dict[str, Spec] = {
    "sum": Aggregate("sum", number_of),
    "sum at the end": Aggregate("sum", number_of, final=True),
    "reduce": Reduce(lambda one, other: (one[0], one[1] + other[1])),
    "fold in place": Fold(list, appended, final=True),
    "process": Process(Everything, (), True),
}


class Instances:
    """Some instances of a step, each with its tables; keys go where they belong."""

    def __init__(self, folder: Path, spec: Spec, num: int, before: Sequence[State] = ()) -> None:
        self.num = num
        self._folder = folder
        self._prefix = f"{num}-{len(list(folder.iterdir()))}"
        self.machines = [self._machine(spec, at, before) for at in range(num)]

    def _machine(self, spec: Spec, at: int, before: Sequence[State]) -> Machine:
        tables = RocksTables(str(self._folder), f"{self._prefix}-{at}", TYPES, instance=at, num_instances=self.num)
        machine = machine_for(chain(spec), replace(context(), tables=tables))
        if not before:
            machine.open()
            return machine
        states = [state["step-0"] for state in before]
        placed = [replace(s, stored=[(str(self._folder / name), num) for name, num in s.stored]) for s in states]
        machine.restore({"step-0": dealt_out(placed, at, self.num)})
        return machine

    def take(self, keys: Sequence[int], numbers: Sequence[int], times_s: Sequence[float], watermark_s: float) -> Any:
        given: list[Any] = []
        for at, machine in enumerate(self.machines):
            own = [place for place, key in enumerate(keys) if instance_of(key, self.num) == at]
            values = [(keys[place], numbers[place]) for place in own]
            batch = Batch(values, [keys[place] for place in own], [times_s[place] for place in own], watermark_s)
            given += values_of(whole(machine, machine.on_batch(batch)))
        return given

    def snapshot(self) -> list[State]:
        states = [machine.snapshot() for machine in self.machines]
        for state in states:
            settle = state["step-0"].settle
            assert settle is not None
            settle()
        return states

    def end(self) -> list[Any]:
        return [value for machine in self.machines for value in values_of(whole(machine, machine.on_end()))]

    def close(self) -> None:
        for machine in self.machines:
            machine.close(complete=True)


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_out_is_what_comes_out_of_memory_wherever_it_goes_on(kind: str, tmp_path: Path) -> None:
    """More keys than are ever in memory; laid down, and taken up by 1 to 4 instances."""
    rng, spec = Random(3), KINDS[kind]
    memory = machine_for(chain(spec), context())
    memory.open()
    rocks = Instances(tmp_path, spec, 1)
    expected, found = list[Any](), list[Any]()
    for number in range(10):
        keys = [rng.randrange(3_000) for _ in range(500)]
        times_s = [float(number + rng.randrange(3)) for _ in keys]
        numbers = [rng.randrange(100) for _ in keys]
        records = list(zip(keys, numbers, strict=True))
        expected += values_of(memory.on_batch(Batch(records, keys, times_s, float(number))))
        found += rocks.take(keys, numbers, times_s, float(number))
        if number % 3 == 2:
            states = rocks.snapshot()
            rocks.take([1], [1], [float(number)], float(number))  # after the checkpoint: it counts no more
            rocks.close()
            rocks = Instances(tmp_path, spec, number // 2, states)
    expected += values_of(memory.on_end())
    found += rocks.end()
    assert len(expected) > 1_000
    assert sorted(map(repr, found)) == sorted(map(repr, expected))
    rocks.close()
    assert not list(tmp_path.glob("*.live"))


ATOMS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.dates()
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.tuples(st.integers()), inner)
        | st.frozensets(st.integers())
    ),
    max_leaves=8,
)


@given(st.integers() | st.text(), VALUES)
def test_a_row_comes_back_as_it_was(key: Any, value: Any) -> None:
    codec = RowCodec(TYPES, "step")
    found = codec.decode(codec.encode(key, value))
    assert repr(found) == repr((key, value)) or found == (key, value)
    assert type(found[1]) is type(value)


def test_what_cannot_be_saved_is_refused_and_what_is_broken_too() -> None:
    codec = RowCodec(TYPES, "step")
    with pytest.raises(RecordUnsendable, match="state of step 'step'"):
        codec.encode(1, object())
    with pytest.raises(CheckpointUnusable, match="not as it was written"):
        codec.decode(b"\x92\x01")


NUMBERS = st.integers(-5, 5) | st.sampled_from([0.5, -0.0, 1e300, 2**61 - 1, 2**80, float("inf")])
KEYS = (
    NUMBERS
    | NUMBERS.map(lambda n: Decimal(n) if n == n else n)
    | st.integers(-3, 3).map(lambda n: Fraction(n, 2))
    | st.booleans()
    | st.integers(-2, 2).map(complex)
    | st.text("a0/", max_size=3)
    | st.tuples(NUMBERS)
    | st.tuples(st.text("ab", max_size=2), st.text("ab", max_size=2))
    | st.just(date(2024, 1, 1))
)


@settings(max_examples=400)
@given(KEYS, KEYS)
def test_keys_have_equal_bytes_where_they_are_equal_and_only_there(one: Any, other: Any) -> None:
    assert (exact_bytes_of_key(one) == exact_bytes_of_key(other)) == (one == other)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1_000))
def test_what_is_due_in_a_table_comes_when_it_comes_from_memory(
    seed: int, tmp_path_factory: Any, monkeypatch_near: None
) -> None:
    rng, table, memory = Random(seed), opened(tmp_path_factory.mktemp("due")), DuesInMemory()
    stored = StoredDues(table)
    for until_s in range(-2, 12):
        for _ in range(rng.randrange(40)):
            due = rng.choice([-1.5, 0.0, 3.0, float(rng.randrange(12))]), rng.randrange(5), rng.choice([None, "a", "b"])
            memory.push(*due)
            stored.push(*due)
        if rng.random() < 0.5:
            stored.write()
        expected = set(iter(partial(memory.pop, float(until_s)), None))
        found = list(iter(partial(stored.pop, float(until_s)), None))
        assert set(found) == expected
        assert [time_s for time_s, _, _ in found] == sorted(time_s for time_s, _, _ in found)
    table.close()


@pytest.fixture(scope="module")
def monkeypatch_near() -> Iterable[None]:
    """Have few of what is due in memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("operators.due._MAX_NEAR", 8)
        yield


def test_a_state_of_one_back_end_is_refused_by_the_other(tmp_path: Path) -> None:
    rocks = Instances(tmp_path, KINDS["sum"], 1)
    rocks.take([1], [2], [0.0], 0.0)
    (state,) = rocks.snapshot()
    rocks.close()
    for kind in ("sum", "process"):
        with pytest.raises(CheckpointUnusable, match="RocksDB"):
            machine_for(chain(KINDS[kind]), context()).restore(state)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_held_in_tables_goes_on_in_memory(kind: str, tmp_path: Path) -> None:
    """With timers, and times at which values expire."""
    rocks, keys, times_s = Instances(tmp_path, KINDS[kind], 3), list(range(60)), [float(at) for at in range(60)]
    rocks.take(keys, keys, times_s, 12.0)
    states = [state["step-0"] for state in rocks.snapshot()]
    found: list[Any] = []
    for at in range(2):
        memory = machine_for(chain(KINDS[kind]), context())
        memory.restore({"step-0": read_back(tmp_path, states, at, 2)})
        own = [key for key in keys if instance_of(key, 2) == at]
        batch = Batch([(key, 1) for key in own], own, [70.0] * len(own), 30.0)
        found += values_of(memory.on_batch(Batch((), watermark_s=12.0))) + values_of(memory.on_batch(batch))
        found += values_of(memory.on_end())
    expected = rocks.take(keys, [1] * 60, [70.0] * 60, 30.0) + rocks.end()
    assert len(expected) >= 60
    assert sorted(map(repr, found)) == sorted(map(repr, expected))
    rocks.close()


def read_back(folder: Path, states: Sequence[StepState], instance: int, num: int) -> StepState:
    placed = [replace(s, stored=[(str(folder / name), of) for name, of in s.stored]) for s in states]
    tables = RocksTables(str(folder), f"read-{instance}", TYPES, instance=instance, num_instances=num)
    return in_memory(dealt_out(placed, instance, num), tables.open("step-0"))


class Waits(KeyedProcess[Any, Record, Any]):
    """Gives the last number of a key some time after it."""

    last = ValueState(0)

    def on_record(self, record: Record, context: ProcessContext[Any]) -> None:
        if record[1]:
            self.last = record[1]
        context.set_alarm(5.0)

    def on_alarm(self, context: ProcessContext[Any]) -> Iterable[Any]:
        yield context.key, self.last


def test_alarms_that_were_beside_tables_ring_in_memory(tmp_path: Path) -> None:
    """Also those of keys that hold nothing else."""
    rocks = Instances(tmp_path, Process(Waits, (), False), 1)
    rocks.take([1, 2], [7, 0], [0.0, 0.0], 0.0)
    states = [state["step-0"] for state in rocks.snapshot()]
    rocks.close()
    memory = machine_for(chain(Process(Waits, (), False)), context())
    begun = memory.restore({"step-0": read_back(tmp_path, states, 0, 1)})
    timers = [command.timer_id for command in begun if isinstance(command, SetTimer)]
    assert sorted(value for timer in timers for value in values_of(memory.on_timer(timer))) == [(1, 7), (2, 0)]


@pytest.mark.parametrize("kind", ["sum", "process"])
def test_what_was_held_in_memory_goes_on_in_a_table(kind: str, tmp_path: Path) -> None:
    memory = machine_for(chain(KINDS[kind]), context())
    memory.open()
    batch = Batch([(1, 5), (2, 6)], [1, 2], [0.0, 0.0], 0.0)
    memory.on_batch(batch)
    rocks = Instances(tmp_path, KINDS[kind], 3, [deepcopy(memory.snapshot())])
    expected = values_of(memory.on_batch(batch)) + values_of(memory.on_end())
    found = rocks.take([1, 2], [5, 6], [0.0, 0.0], 0.0) + rocks.end()
    assert sorted(map(repr, found)) == sorted(map(repr, expected))
    rocks.close()


def test_no_record_is_set_aside_where_state_cannot_be_read(tmp_path: Path) -> None:
    sums = step(Aggregate("sum", number_of), "step-0", on_error=OnError.DEAD_LETTER, retries=2)
    tables = RocksTables(str(tmp_path), "one", TYPES, instance=0, num_instances=1)
    machine = machine_for(chain(sums), replace(context(), tables=tables))
    machine.open()
    machine.on_batch(Batch([(number, number) for number in range(20_000)], list(range(20_000))))
    [kept] = machine.snapshot().values()
    assert kept.settle is not None
    kept.settle()
    machine.close(complete=True)
    for name, _ in kept.stored:
        flip(tmp_path / name)
    tables = RocksTables(str(tmp_path), "two", TYPES, instance=0, num_instances=1)
    machine = machine_for(chain(sums), replace(context(), tables=tables))
    placed = replace(kept, stored=[(str(tmp_path / name), num) for name, num in kept.stored])
    machine.restore({"step-0": placed})
    with pytest.raises(CheckpointUnusable, match="cannot be read: "):
        machine.on_batch(Batch([(number, number) for number in range(20_000)], list(range(20_000))))
    machine.close(complete=False)
