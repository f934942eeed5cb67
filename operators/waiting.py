"""Calls a user's coroutine function for each record, many at once, results in order. Knows nothing of event loops."""

from collections.abc import Sequence

from operators.failure import Failures, Numbers, num_tries_left
from operators.inflight import InOrder, Slot
from operators.machine import Call, CallResult, Command, Counts, Emit
from operators.state import State, StepState
from sage.base.batch import Batch
from sage.base.errors import InternalError
from sage.base.inference import Reply
from sage.flow.graph import Step
from sage.flow.spec import MapAsync


class MapAsyncMachine:
    """At most `max_in_flight` calls run at a time; the record's number is the id of its call."""

    def __init__(self, step: Step, spec: MapAsync, order: InOrder | None = None) -> None:
        """`order`: in which results leave; by default that of the records."""
        self.counts = Counts()
        self._step = step
        self._spec = spec
        self._failures = Failures()
        self._order = order if order is not None else InOrder(spec.max_in_flight)
        self._running: dict[int, Slot] = {}

    def open(self) -> None:
        pass

    def restore(self, state: State) -> list[Command]:
        """Call again for records whose calls had not ended."""
        if (own := state.get(self._step.name)) is not None:
            self._order.restore(own.held)
        return [*self._start(), *self._let_go()]

    def snapshot(self) -> State:
        held = self._order.held()
        return {self._step.name: StepState(held=held)} if held else {}

    def room(self) -> int:
        return self._order.room()

    def on_batch(self, batch: Batch) -> list[Command]:
        self.counts.num_batches += 1
        self.counts.records_in += len(batch)
        self._order.add(batch)
        return [*self._start(), *self._let_go()]

    def on_results(self, results: Sequence[CallResult]) -> list[Command]:
        calls: list[Command] = []
        for result in results:
            slot = self._running.pop(result.call_id)
            if result.error is None:
                self._order.finish(slot, result.value)
            else:
                calls.extend(self._failed(slot, result.error))
        return [*calls, *self._start(), *self._let_go()]

    def _failed(self, slot: Slot, error: BaseException) -> list[Command]:
        if isinstance(error, TimeoutError) and not error.args:
            error.args = (f"the call did not end within {self._spec.timeout_s} s",)
        slot.num_tries += 1
        if slot.num_tries <= num_tries_left(self._step, error):
            return [self._call(slot)]
        self._failures.give_up(self._step, error, [slot.record], Numbers(slot.number, slot.number))
        self._order.drop(slot)
        return []

    def _start(self) -> list[Command]:
        return [self._call(slot) for slot in self._order.start()]

    def _call(self, slot: Slot) -> Call:
        self._running[slot.number] = slot
        return Call(slot.number, self._spec.fn, slot.record, self._spec.timeout_s)

    def _let_go(self) -> list[Command]:
        dead = self._failures.take()
        batch = self._order.ready()
        if batch is None:
            return [*dead]
        self.counts.records_out += len(batch)
        return [*dead, Emit(batch)]

    def on_end(self) -> list[Command]:
        return []

    def is_done(self) -> bool:
        return len(self._order) == 0

    def close(self, *, complete: bool) -> list[Command]:
        """Whoever runs the coroutines cancels what is left of them."""
        self._running.clear()
        return []

    def on_replies(self, replies: Sequence[Reply]) -> list[Command]:
        raise InternalError(f"{len(replies)} replies came to step {self._step.name!r}, which asks no model")

    def on_timer(self, timer_id: int) -> list[Command]:
        raise InternalError(f"timer {timer_id} came to step {self._step.name!r}, which sets none")
