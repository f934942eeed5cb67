"""Machines on the way of chat requests, and beside it. Knows no kind of step, nor where answers go."""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

from operators.inflight import InOrder, Slot
from operators.machine import CallResult, Command, Counts, DeadLetter, Machine, Queryable
from operators.state import State, not_kept
from operators.turns import ChatTurns
from sage.base.batch import Batch
from sage.base.errors import (
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
from sage.base.inference import Reply
from sage.base.turns import TurnRecord

_SAID_AS_IT_IS = (
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


class _Around:
    """Another machine, with something done to what goes in or comes out."""

    def __init__(self, inner: Machine) -> None:
        self._inner = inner
        self.counts: Counts = inner.counts

    def open(self) -> None:
        self._inner.open()

    def snapshot(self) -> State:
        return self._inner.snapshot()

    def restore(self, state: State) -> list[Command]:
        return self._out(self._inner.restore(state))

    def room(self) -> int:
        return self._inner.room()

    def is_done(self) -> bool:
        return self._inner.is_done()

    def on_batch(self, batch: Batch) -> list[Command]:
        return self._out(self._inner.on_batch(self._in(batch)))

    def on_replies(self, replies: Sequence[Reply]) -> list[Command]:
        return self._out(self._inner.on_replies(replies))

    def on_results(self, results: Sequence[CallResult]) -> list[Command]:
        return self._out(self._inner.on_results(results))

    def on_timer(self, timer_id: int) -> list[Command]:
        return self._out(self._inner.on_timer(timer_id))

    def on_end(self) -> list[Command]:
        return self._out(self._inner.on_end())

    def close(self, *, complete: bool) -> list[Command]:
        return self._out(self._inner.close(complete=complete))

    def _in(self, batch: Batch) -> Batch:
        return batch

    def _out(self, commands: list[Command]) -> list[Command]:
        return commands


class LeavingMachine(_Around):
    """Is given records of chat requests, and lets its machine see their values."""

    def value_of(self, step: str, key: Hashable) -> Any:
        if not isinstance(self._inner, Queryable):
            raise not_kept(step)
        return self._inner.value_of(step, key)

    def _in(self, batch: Batch) -> Batch:
        return replace(batch, values=[record.value for record in batch.values])


class TurnMachine(_Around):
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
