"""Machines on the way of chat requests, and beside it. Knows no kind of step, nor where answers go."""

from collections import deque
from typing import Any

from msgspec import structs

from operators.around import Around
from operators.inflight import InOrder, Slot
from operators.machine import Command, DeadLetter, Machine
from operators.state import State
from operators.turns import ChatTurns
from sage.base.batch import Batch
from sage.base.errors import (
    BudgetSpent,
    ContextOverflow,
    DeadlineExceeded,
    EngineLost,
    NoEngine,
    Overloaded,
    QuotaExceeded,
    RecordFailed,
    RequestCancelled,
    RequestFailed,
    SageError,
)
from sage.base.turns import TurnRecord

_SAID_AS_IT_IS = (
    BudgetSpent,
    ContextOverflow,
    DeadlineExceeded,
    EngineLost,
    NoEngine,
    Overloaded,
    QuotaExceeded,
    RequestCancelled,
    RequestFailed,
)
"""What a model step failed with that means the same to the caller of the flow; the rest is the flow's own fault."""


class PerTurn(InOrder):
    """A reorder buffer in which records of different requests do not wait for each other."""

    def __init__(self, max_in_flight: int, *, ordered: bool) -> None:
        """`ordered`: records of one request do."""
        super().__init__(max_in_flight)
        self._ordered = ordered

    def ready(self) -> Batch | None:
        results: list[Any] = []
        held: set[str] = set()
        left: deque[Slot] = deque()
        for slot in self._slots:
            turn_id = slot.record.turn.id
            if not slot.has_ended or turn_id in held:
                if self._ordered:
                    held.add(turn_id)
                left.append(slot)
            elif slot.has_result:
                results.append(slot.result)
        self._slots = left
        return Batch(results) if results else None


class LeavingMachine(Around):
    """Is given records of chat requests, and lets its machine see their values."""

    def _in(self, batch: Batch) -> Batch:
        values = [record.value if isinstance(record, TurnRecord) else record for record in batch.values]
        return structs.replace(batch, values=values)


class TurnMachine(Around):
    """Tells the caller where a record of his request became a dead letter."""

    def __init__(self, inner: Machine, turns: ChatTurns) -> None:
        super().__init__(inner)
        self._turns = turns

    def snapshot(self) -> State:
        """Return nothing: requests end with the run, and no step on their way holds anything else."""
        return {}

    def _out(self, commands: list[Command]) -> list[Command]:
        for command in commands:
            if isinstance(command, DeadLetter) and isinstance(command.value, TurnRecord):
                self._turns.fail(command.value.turn, _error_for_caller(command))
        return commands


def _error_for_caller(letter: DeadLetter) -> SageError:
    cause = letter.cause
    if isinstance(cause, _SAID_AS_IT_IS):
        return cause
    return RecordFailed(f"step {letter.step!r} failed on the request: {letter.error}")
