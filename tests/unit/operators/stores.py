"""Where the state of machines is while tests drive them: in memory, or in tables. Knows no step."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import pytest

from cluster.checkpoints.rocks import RocksTables
from cluster.runtime.record_types import record_types_of
from operators.machine import Command, Machine
from operators.registry import machine_for
from operators.state import State
from sage.flow.graph import Step
from sage.flow.spec import Spec
from tests.unit.operators.arrange import chain, context


class Store(Protocol):
    def begun(self) -> Machine:
        """Return a new machine that is not opened."""
        ...

    def again(self, driven: Machine) -> tuple[Machine, list[Command]]:
        """Return a machine that goes on from a snapshot of another one, and what it says at once."""
        ...


class InMemory:
    def __init__(self, *specs: Spec | Step) -> None:
        self._specs = specs

    def begun(self) -> Machine:
        return machine_for(chain(*self._specs), context())

    def again(self, driven: Machine) -> tuple[Machine, list[Command]]:
        made, saved = self.begun(), deepcopy(saved_of(driven.snapshot()))
        return made, made.restore(saved)


class InTables:
    """State is in RocksDB; few rows are in memory, and few are given at once."""

    def __init__(self, folder: Path, *specs: Spec | Step, records: type | None = None) -> None:
        self._types = record_types_of([] if records is None else [records])
        self._folder = folder
        self._specs = specs
        self._num = 0

    def begun(self) -> Machine:
        self._num += 1
        tables = RocksTables(str(self._folder), f"run-{self._num}", self._types, instance=0, num_instances=1)
        return machine_for(chain(*self._specs), replace(context(), tables=tables))

    def again(self, driven: Machine) -> tuple[Machine, list[Command]]:
        state = driven.snapshot()
        for step in state.values():
            if step.settle is not None:
                step.settle()
        driven.close(complete=False)
        saved = {name: replace(step, stored=self._placed(step.stored)) for name, step in saved_of(state).items()}
        made = self.begun()
        return made, made.restore(deepcopy(saved))

    def _placed(self, stored: object) -> list[tuple[str, int]]:
        assert isinstance(stored, list | tuple)
        return [(str(self._folder / name), num) for name, num in stored]


@contextmanager
def in_tables(*specs: Spec | Step, records: type | None = None) -> Iterator[InTables]:
    """Give a store in a folder of its own; `records`: the class of what is kept, if it is of one."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for name, value in (("_FIRST_ROWS", 1), ("_MAX_ROWS", 3), ("_MAX_PART", 2)):
            patch.setattr(f"operators.spilled.{name}", value)
        patch.setattr("operators.due._MAX_NEAR", 4)
        yield InTables(Path(folder), *specs, records=records)


def saved_of(state: State) -> State:
    """Return a state in containers of its own, as if it was saved."""
    return {
        name: replace(step, keyed=None if step.keyed is None else dict(step.keyed), settle=None, commit=None)
        for name, step in state.items()
    }
