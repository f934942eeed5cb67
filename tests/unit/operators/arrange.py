"""Chains by hand, a machine driven like a task drives it, and sinks that remember. Knows no test."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from operators.context import Context
from operators.index import IndexStore
from operators.machine import Command, DeadLetter, Emit, InParts, Machine
from operators.registry import machine_for
from sage.base.batch import Batch
from sage.base.demand import Demand
from sage.base.ids import TaskId
from sage.flow.graph import OnError, Step, Where
from sage.flow.plan import Chain
from sage.flow.spec import Spec


def step(spec: Spec, name: str = "step", *, on_error: OnError = OnError.FAIL, retries: int = 0) -> Step:
    return Step(name, spec, (), Where("app.py", 7), on_error=on_error, retries=retries)


def chain(*specs: Spec | Step) -> Chain:
    steps = tuple(spec if isinstance(spec, Step) else step(spec, f"step-{at}") for at, spec in enumerate(specs))
    return Chain(steps[0].name, steps, 1, Demand())


def context(indexes: IndexStore | None = None, *, task_id: str = "task", batch_records: int = 1000) -> Context:
    return Context(TaskId(task_id), Random(1), indexes or IndexStore(), batch_records)


def machine(
    *specs: Spec | Step, indexes: IndexStore | None = None, batch_records: int = 1000, task_id: str = "task"
) -> Machine:
    return machine_for(chain(*specs), context(indexes, task_id=task_id, batch_records=batch_records))


def values_of(commands: Sequence[Command]) -> list[Any]:
    return [value for command in commands if isinstance(command, Emit) for value in command.batch.values]


def whole(driven: Machine, commands: Sequence[Command]) -> list[Command]:
    """Return what a machine has just said, with all that it goes on to say."""
    said = [*commands]
    while isinstance(driven, InParts) and driven.goes_on:
        assert driven.room() <= 0
        assert not driven.is_done()
        said += driven.go_on()
    return said


def keys_of(commands: Sequence[Command]) -> list[Any]:
    return [key for command in commands if isinstance(command, Emit) for key in command.batch.keys or ()]


def dead_of(commands: Sequence[Command]) -> list[DeadLetter]:
    return [command for command in commands if isinstance(command, DeadLetter)]


def run(
    *specs: Spec | Step, batches: Sequence[Sequence[Any]], indexes: IndexStore | None = None, task_id: str = "task"
) -> list[Command]:
    """Drive a fused chain over `batches` from open to close; return every command."""
    driven = machine(*specs, indexes=indexes, task_id=task_id)
    driven.open()
    commands = [command for values in batches for command in driven.on_batch(Batch(values))]
    commands += driven.on_end()
    assert driven.is_done()
    return commands + driven.close(complete=True)


def outcome(*specs: Spec | Step, values: Sequence[Any]) -> list[Any]:
    """Return what a fused chain makes of `values`."""
    return values_of(run(*specs, batches=[values]))


@dataclass
class Remembering:
    """A sink, and its own writer, that keeps what it is given."""

    records: list[Any] = field(default_factory=list)
    num_writes: int = 0
    is_complete: bool | None = None

    def open(self) -> "Remembering":
        return self

    def write(self, records: Sequence[Any]) -> None:
        self.num_writes += 1
        self.records.extend(records)

    def close(self, *, complete: bool) -> None:
        self.is_complete = complete
