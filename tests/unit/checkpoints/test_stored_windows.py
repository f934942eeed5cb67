"""Windows, joins and aggregates in RocksDB: how much of them is in memory, and how they go on elsewhere."""

import gc
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cluster.checkpoints.from_tables import in_memory as read_back
from cluster.checkpoints.rocks import RocksTables
from cluster.runtime.record_types import record_types_of
from operators.machine import Command, InParts, Machine, Queryable
from operators.partition import instance_of
from operators.registry import machine_for
from operators.rescale import dealt_out
from operators.state import State, StepState
from sage.base.batch import Batch
from sage.flow.spec import AsOf, Combine, Fold, Gather, JoinWindows, Spec, Window, Within
from sage.flow.windows import CountWindow, Session, Sliding, Trigger, Tumbling
from tests.unit.operators.arrange import chain, context, values_of, whole


@dataclass(frozen=True)
class Held:
    """Is counted where it is alive."""

    number: int
    text: str


TYPES = record_types_of([Held])
NUM_RECORDS = 3_000
MAX_ALIVE = 600
"""A cache of 16 KiB of rows of half a KiB and more, a batch, and what is given at once."""


def appended(held: list[Held], record: Any) -> list[Held]:
    return [*held, record]


KINDS: dict[str, Spec] = {
    "tumbling": Window(Tumbling(1e9), Gather()),
    "sliding": Window(Sliding(1e9, 5e8), Gather()),
    "sliding, each for itself": Window(Sliding(1e9, 5e8), Combine(list, appended)),
    "late": Window(Tumbling(1e9), Gather(), allow_late_s=5.0),
    "session": Window(Session(10.0), Gather()),
    "tumbling, early": Window(Tumbling(1e9), Gather(), trigger=Trigger(every_records=3)),
    "sliding, early": Window(Sliding(1e9, 5e8), Gather(), trigger=Trigger(every_records=3)),
    "session, early": Window(Session(10.0), Gather(), trigger=Trigger(every_records=3)),
    "count": Window(CountWindow(3), Gather()),
    "window join": JoinWindows(Tumbling(1e9)),
    "interval join": Within(1e8, 1e8),
    "table join": AsOf(is_outer=True),
    "fold at the end": Fold(list, appended, final=True),
}
IS_JOIN = (JoinWindows, Within, AsOf)


def records(spec: Spec, keys: Sequence[int], first: int) -> list[Any]:
    """Return a record a key; of joins, of the one side and of the other in turn."""
    held = [Held(first + at, "x" * 500) for at in range(len(keys))]
    return [((first + at) % 2, each) for at, each in enumerate(held)] if isinstance(spec, IS_JOIN) else list(held)


def machine_in(folder: Path, spec: Spec, instance: int = 0, num: int = 1) -> Machine:
    return machine_for(chain(spec), replace(context(), tables=tables_in(folder, instance, num)))


def tables_in(folder: Path, instance: int, num: int) -> RocksTables:
    prefix = f"{len(list(folder.iterdir()))}-{instance}"
    return RocksTables(str(folder), prefix, TYPES, instance=instance, num_instances=num)


def num_alive() -> int:
    return sum(type(each) is Held for each in gc.get_objects())


@pytest.fixture
def _small_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operators.spilled._CACHE_BYTES", 16 << 10)
    monkeypatch.setattr("operators.due._MAX_NEAR", 64)


@pytest.fixture
def _only_new_objects() -> Iterator[None]:
    """Have `num_alive` look at what is made from now on: what was there before is most, and is not listed."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_small_cache", "_only_new_objects")
@pytest.mark.parametrize("kind", KINDS)
def test_few_records_are_in_memory_while_they_come_and_while_they_are_given(kind: str, tmp_path: Path) -> None:
    spec, most, num_given = KINDS[kind], 0, 0
    driven = machine_in(tmp_path, spec)
    driven.open()
    for first in range(0, NUM_RECORDS, 50):
        keys = [number // 2 for number in range(first, first + 50)]
        num_given += len(values_of(said_by(driven, Batch(records(spec, keys, first), keys, [float(first)] * 50))))
        most = max(most, num_alive() if first % 500 == 0 else 0)
    assert isinstance(driven, InParts)
    said, num_parts = driven.on_end(), 0
    while driven.goes_on:
        num_parts += 1
        most = max(most, num_alive() if num_parts % 10 == 0 else 0)
        num_given += len(values_of(said))
        said = driven.go_on()
    assert num_given + len(values_of(said)) >= NUM_RECORDS // 2
    assert 0 < most < MAX_ALIVE
    driven.close(complete=True)


def said_by(driven: Machine, batch: Batch) -> list[Command]:
    return whole(driven, driven.on_batch(batch))


def gone_on_from(
    folder: Path, spec: Spec, before: Sequence[Machine], num: int, given: list[Any], *, in_memory: bool = False
) -> Iterator[Machine]:
    """Give `num` instances that go on from snapshots of those before them; `given`: with what they say at once."""
    states: list[StepState] = [laid_down(folder, machine.snapshot()) for machine in before]
    for machine in before:
        machine.close(complete=False)
    for instance in range(num):
        state = dealt_out(states, instance, num)
        if in_memory:
            made = machine_for(chain(spec), context())
            state = read_back(state, tables_in(folder, instance, num).open("step-0")) if state.stored else state
        else:
            made = machine_in(folder, spec, instance, num)
        given += values_of(made.restore({"step-0": state}))
        yield made


def laid_down(folder: Path, state: State) -> StepState:
    [step] = state.values()
    if step.settle is not None:
        step.settle()
    return deepcopy(replace(step, settle=None, stored=[(str(folder / name), num) for name, num in step.stored]))


class Instances:
    """Instances of a step in tables, some of them further than others with what they give."""

    def __init__(self, folder: Path, spec: Spec, num: int) -> None:
        self._folder = folder
        self._spec = spec
        self.machines = [machine_in(folder, spec, at, num) for at in range(num)]
        self.given: list[Any] = []
        self._untold: list[Machine] = []

    def take(self, keys: Sequence[int], values: Sequence[Any], times_s: Sequence[float], watermark_s: float) -> None:
        self._watermark_s = watermark_s
        for at, machine in enumerate(self.machines):
            own = [n for n, key in enumerate(keys) if instance_of(key, len(self.machines)) == at]
            batch = Batch([values[n] for n in own], [keys[n] for n in own], [times_s[n] for n in own], watermark_s)
            self.given += values_of(machine.on_batch(batch))

    def go_on(self, rng: Random, *, until_the_end: bool) -> None:
        """Let each give some parts more, or all; one that has begun again is told the watermark behind them."""
        for machine in self.machines:
            assert isinstance(machine, InParts)
            while (machine.goes_on or machine in self._untold) and (until_the_end or rng.random() < 0.9):
                if machine.goes_on:
                    self.given += values_of(machine.go_on())
                else:
                    self._untold.remove(machine)
                    self.given += values_of(machine.on_batch(Batch((), watermark_s=self._watermark_s)))

    def begin_again(self, num: int, *, in_memory: bool = False) -> None:
        begun = gone_on_from(self._folder, self._spec, self.machines, num, self.given, in_memory=in_memory)
        self.machines = list(begun)
        self._untold = [*self.machines]


@pytest.mark.usefixtures("_few_rows")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "fold at the end"])
def test_other_numbers_of_instances_go_on_in_the_middle_of_what_is_given(kind: str, tmp_path: Path) -> None:
    """Nothing is given twice, and nothing is lost, wherever each instance was."""
    rng, spec = Random(5), small(KINDS[kind])
    memory = machine_for(chain(spec), context())
    memory.open()
    rocks, expected = Instances(tmp_path, spec, 2), list[Any]()
    for number in range(12):
        keys = [rng.randrange(60) for _ in range(80)]
        values = records(spec, keys, 100 * number)
        watermark_s = moment(number)
        times_s = [watermark_s + rng.randrange(4) for _ in keys]
        expected += values_of(memory.on_batch(Batch(values, keys, times_s, watermark_s)))
        rocks.take(keys, values, times_s, watermark_s)
        rocks.go_on(rng, until_the_end=False)
        if number % 2:
            rocks.begin_again(rng.randrange(1, 5))
            rocks.go_on(rng, until_the_end=False)
            rocks.begin_again(rng.randrange(1, 5))
        rocks.go_on(rng, until_the_end=True)
        if kind != "interval join":  # in memory records are forgotten now and then
            check_states(memory, rocks)
    expected += values_of(memory.on_end())
    for machine in rocks.machines:
        rocks.given += values_of(whole(machine, machine.on_end()))
        machine.close(complete=True)
    assert len(expected) > 200
    assert sorted(map(repr, rocks.given)) == sorted(map(repr, expected))


def moment(number: int) -> float:
    """Return a time that now and then passes several windows at once."""
    return float(number + 6 * ((number + 1) // 4))


@pytest.mark.usefixtures("_few_rows")
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_held_in_tables_goes_on_in_memory_in_the_middle_of_what_is_given(kind: str, tmp_path: Path) -> None:
    """Also in the memory of others, that go on from those that held it in memory."""
    rng, spec = Random(7), small(KINDS[kind])
    memory = machine_for(chain(spec), context())
    memory.open()
    rocks, expected = Instances(tmp_path, spec, 3), list[Any]()
    for number in range(12):
        keys = [rng.randrange(60) for _ in range(80)]
        values, watermark_s = records(spec, keys, 100 * number), moment(number)
        times_s = [watermark_s + rng.randrange(4) for _ in keys]
        expected += values_of(memory.on_batch(Batch(values, keys, times_s, watermark_s)))
        rocks.take(keys, values, times_s, watermark_s)
        if number == 7:
            rocks.go_on(rng, until_the_end=False)
            rocks.begin_again(2, in_memory=True)
            rocks.begin_again(2, in_memory=True)
        rocks.go_on(rng, until_the_end=True)
    expected += values_of(memory.on_end())
    for machine in rocks.machines:
        rocks.given += values_of(whole(machine, machine.on_end()))
    assert len(expected) >= 60
    assert sorted(map(repr, rocks.given)) == sorted(map(repr, expected))
    assert not list(tmp_path.glob("*.live"))


def small(spec: Spec) -> Spec:
    """Return the same with windows of some seconds, most of which are over while records come."""
    match spec:
        case Window(shape=Tumbling()) | JoinWindows():
            return replace(spec, shape=Tumbling(3.0))
        case Window(shape=Sliding()):
            return replace(spec, shape=Sliding(3.0, 1.5))
        case Window(shape=Session()):
            return replace(spec, shape=Session(0.5))
        case Within():
            return Within(1.0, 1.5)
        case _:
            return spec


def check_states(memory: Machine, rocks: Instances) -> None:
    """What can be asked for of each key is the same."""
    for key in range(60):
        own = rocks.machines[instance_of(key, len(rocks.machines))]
        assert isinstance(own, Queryable)
        assert isinstance(memory, Queryable)
        assert own.value_of("step-0", key) == memory.value_of("step-0", key)


@pytest.fixture
def _few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_FIRST_ROWS", 4), ("_MAX_ROWS", 8), ("_MAX_PART", 8)):
        monkeypatch.setattr(f"operators.spilled.{name}", value)
    monkeypatch.setattr("operators.due._MAX_NEAR", 8)


@pytest.mark.usefixtures("_few_rows")
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_held_in_memory_goes_on_in_tables(kind: str, tmp_path: Path) -> None:
    spec = small(KINDS[kind])
    memory = machine_for(chain(spec), context())
    memory.open()
    take = partial(Batch, timestamps_s=[float(at % 7) for at in range(40)])
    keys = [at % 20 for at in range(40)]
    memory.on_batch(take(records(spec, keys, 0), keys, watermark_s=3.0))
    rocks = Instances(tmp_path, spec, 1)
    rocks.machines = list(gone_on_from(tmp_path, spec, [memory], 3, rocks.given))
    again = machine_for(chain(spec), context())
    again.restore({"step-0": laid_down(tmp_path, memory.snapshot())})
    for machine in (again, *rocks.machines):
        machine.on_batch(Batch((), watermark_s=3.0))
    times_s = [float(3 + at % 7) for at in range(40)]
    values = records(spec, keys, 50)
    rocks.take(keys, values, times_s, 5.0)
    rocks.go_on(Random(1), until_the_end=True)
    expected = values_of(again.on_batch(Batch(values, keys, times_s, 5.0))) + values_of(again.on_end())
    for machine in rocks.machines:
        rocks.given += values_of(whole(machine, machine.on_end()))
        machine.close(complete=True)
    assert sorted(map(repr, rocks.given)) == sorted(map(repr, expected))
