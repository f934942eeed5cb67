"""Gathers records for a function over lists until there are enough or the first has waited. Knows no clock."""

from collections.abc import Sequence
from typing import Any

from operators.chunks import Chunks
from operators.failure import Failures
from operators.machine import CallResult, Command, Counts, Emit, SetTimer
from operators.state import State, StepState
from sage.base.batch import Batch
from sage.base.errors import InternalError
from sage.base.inference import Reply
from sage.flow.graph import Step
from sage.flow.spec import MapBatches

_TIMER = 0


class BufferingMachine:
    """Calls the function with `max_records` at once, or with fewer `max_wait_s` after the first of them came."""

    def __init__(self, step: Step, spec: MapBatches, max_wait_s: float, batch_records: int) -> None:
        """`batch_records` is the bound where the step has no `max_records`."""
        self.counts = Counts()
        self._step = step
        self._max_wait_s = max_wait_s
        self._max_records = spec.max_records or batch_records
        self._failures = Failures()
        self._chunks = Chunks(step, spec.fn, self._max_records, self._failures)
        self._gathered: list[Any] = []
        self._times: list[float] = []
        self._watermark_s: float | None = None

    def open(self) -> None:
        pass

    def restore(self, state: State) -> list[Command]:
        """Wait anew, for as long as ever, with what was gathered."""
        own = state.get(self._step.name, StepState())
        for record, timestamp_s, watermark_s in own.held:
            self._gathered.append(record)
            self._times.extend(() if timestamp_s is None else (timestamp_s,))
            self._watermark_s = None if own.is_dealt else watermark_s
        num_full = len(self._gathered) // self._max_records * self._max_records
        commands = self._call(num_full) if num_full else []  # fewer instances have more of them
        return [*commands, SetTimer(_TIMER, self._max_wait_s)] if self._gathered else commands

    def snapshot(self) -> State:
        """Return `(record, its timestamp, the watermark that waits for all)` of what was gathered."""
        times: Sequence[float | None] = self._times or [None] * len(self._gathered)
        held = [(record, time_s, self._watermark_s) for record, time_s in zip(self._gathered, times, strict=True)]
        return {self._step.name: StepState(held=held)} if held else {}

    def room(self) -> int:
        return self._max_records - len(self._gathered)

    def on_batch(self, batch: Batch) -> list[Command]:
        self.counts.num_batches += 1
        self.counts.records_in += len(batch)
        had_some = bool(self._gathered)
        self._gathered.extend(batch.values)
        self._times.extend(batch.timestamps_s or ())
        if batch.watermark_s is not None:
            self._watermark_s = batch.watermark_s
        num_full = len(self._gathered) // self._max_records * self._max_records
        commands = self._call(num_full) if num_full or not self._gathered else []
        if self._gathered and (num_full or not had_some):
            commands.append(SetTimer(_TIMER, self._max_wait_s))
        return commands

    def on_timer(self, timer_id: int) -> list[Command]:
        return self._call(len(self._gathered))

    def on_end(self) -> list[Command]:
        return self._call(len(self._gathered))

    def _call(self, num_records: int) -> list[Command]:
        taken, self._gathered = self._gathered[:num_records], self._gathered[num_records:]
        times, self._times = self._times[:num_records], self._times[num_records:]
        values, _, out_times = self._chunks.run(taken, None, times or None)
        self.counts.records_out += len(values)
        watermark_s = self._watermark_now()
        if not len(values) and watermark_s is None:
            return [*self._failures.take()]
        return [*self._failures.take(), Emit(Batch(values, None, out_times, watermark_s))]

    def _watermark_now(self) -> float | None:
        """Return the watermark once every record before it has left: nothing is held that it could overtake."""
        if self._gathered:
            return None
        watermark_s, self._watermark_s = self._watermark_s, None
        return watermark_s

    def is_done(self) -> bool:
        return not self._gathered

    def close(self, *, complete: bool) -> list[Command]:
        return []

    def on_replies(self, replies: Sequence[Reply]) -> list[Command]:
        raise InternalError(f"{len(replies)} replies came to step {self._step.name!r}, which asks no model")

    def on_results(self, results: Sequence[CallResult]) -> list[Command]:
        raise InternalError(f"{len(results)} results came to step {self._step.name!r}, which calls no coroutine")
