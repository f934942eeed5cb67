"""A chain of steps that need no wait, as one machine. Knows nothing of tasks, nor of steps that ask a model."""

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

from operators.chunks import Writing
from operators.failure import Failures
from operators.loop import Columns
from operators.machine import CallResult, Command, Counts, Emit
from sage.base.batch import Batch
from sage.base.errors import InternalError
from sage.base.inference import Reply

_ANY_NUMBER = 1 << 30


class Stage(Protocol):
    """A part of a chain: columns in, columns out."""

    def run(self, values: Sequence[Any], keys: Sequence[Hashable] | None) -> Columns: ...


class Phase:
    """Stages that run together. A final aggregate ends a phase: what it holds is the input of the next, at the end."""

    def __init__(self, stages: Sequence[Stage], held: dict[Hashable, Any] | None) -> None:
        self.stages = tuple(stages)
        self._held = held

    def run(self, values: Sequence[Any], keys: Sequence[Hashable] | None) -> Columns:
        for stage in self.stages:
            if len(values) == 0:
                return [], None
            values, keys = stage.run(values, keys)
        return values, keys

    def release(self) -> list[tuple[Hashable, Any]]:
        """Return what was held: `(key, value)` in the order in which the keys came first."""
        if self._held is None:
            return []
        return list(self._held.items())


class FusedMachine:
    """Runs a chain of inline steps over each batch; nothing is ever in flight."""

    def __init__(self, phases: Sequence[Phase], failures: Failures, *, ends: bool, batch_records: int) -> None:
        """`ends`: the chain's last step is a sink, which is one of the last phase's stages; nothing is emitted."""
        self.counts = Counts()
        self._phases = tuple(phases)
        self._failures = failures
        self._ends = ends
        self._batch_records = batch_records
        self._sink: Writing | None = next((s for p in phases for s in p.stages if isinstance(s, Writing)), None)

    def open(self) -> None:
        if self._sink is not None:
            self._sink.open()

    def room(self) -> int:
        return _ANY_NUMBER

    def on_batch(self, batch: Batch) -> list[Command]:
        self.counts.num_batches += 1
        self.counts.records_in += len(batch)
        return self._run(0, batch.values, batch.keys)

    def on_end(self) -> list[Command]:
        """Let each phase's held state go through the phases after it, a batch at a time."""
        commands: list[Command] = []
        for number, phase in enumerate(self._phases[:-1]):
            items = phase.release()
            for start in range(0, len(items), self._batch_records):
                commands.extend(self._run(number + 1, items[start : start + self._batch_records], None))
        return commands

    def _run(self, number: int, values: Sequence[Any], keys: Sequence[Hashable] | None) -> list[Command]:
        values, keys = self._phases[number].run(values, keys)
        commands: list[Command] = [*self._failures.take()]
        if number == len(self._phases) - 1 and len(values):
            self.counts.records_out += len(values)
            if not self._ends:
                commands.append(Emit(Batch(values, keys)))
        return commands

    def is_done(self) -> bool:
        return True

    def close(self, *, complete: bool) -> list[Command]:
        if self._sink is not None:
            self._sink.close(complete=complete)
        return []

    def on_replies(self, replies: Sequence[Reply]) -> list[Command]:
        raise InternalError(f"{len(replies)} replies came to a chain that asks no model")

    def on_results(self, results: Sequence[CallResult]) -> list[Command]:
        raise InternalError(f"{len(results)} results came to a chain that calls no coroutine")

    def on_timer(self, timer_id: int) -> list[Command]:
        raise InternalError(f"timer {timer_id} came to a chain that sets none")
