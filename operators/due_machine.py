"""Machines over records that are due, and where these leave. Knows no kind of step."""

from dataclasses import replace
from typing import Any

from msgspec import structs

from operators.around import Around
from operators.machine import Command, DeadLetter
from sage.base.batch import Batch
from sage.base.dues import value_of


class DueMachine(Around):
    """Sets aside, of a record that failed, what users see of it."""

    def _out(self, commands: list[Command]) -> list[Command]:
        return [_shown(command) if isinstance(command, DeadLetter) else command for command in commands]


class DueLeavingMachine(Around):
    """Is given records that are due, and lets its machine see their values."""

    def _in(self, batch: Batch) -> Batch:
        values: list[Any] = [value_of(record) for record in batch.values]
        return structs.replace(batch, values=values)


def _shown(letter: DeadLetter) -> DeadLetter:
    return replace(letter, value=value_of(letter.value))
