"""Calls a user's coroutine function for each record, many at once. Knows nothing of event loops."""

from collections.abc import Callable, Hashable, Sequence
from random import Random
from typing import Any

from operators.any_order import order_for
from operators.backing_off import wait_before_retry_s
from operators.failure import Failures, Numbers, num_tries_left
from operators.inflight import InOrder, Slot
from operators.machine import Call, CallResult, Command, Counts, Emit, FreePermit, SetTimer
from operators.state import State, StepState
from operators.twins import Twins, key_function
from sage.base.batch import Batch
from sage.base.dues import like, value_of
from sage.base.errors import InternalError
from sage.base.inference import Reply
from sage.flow.graph import Step
from sage.flow.spec import MapAsync

FEWEST_AHEAD = 16
"""With fewer calls at a time the way to the task and back is little beside what they take (measured 2026-11-23)."""


class MapAsyncMachine:
    """At most `max_in_flight` calls run at a time; the record's number is the id of its call, and of its timer.

    A permit is held while a call waits to be tried again; a record that waits for the call of an equal one has none.
    Where many may run, as many more are asked for before there is a permit: whoever runs calls has the permits, and
    begins the next one as soon as one ends. Where few may, a record that is taken early is one that no other instance
    of the step can take.
    """

    def __init__(self, step: Step, spec: MapAsync, rng: Random, order: InOrder | None = None) -> None:
        """`order`: in which results leave; by default as the step says."""
        self.counts = Counts()
        self._step = step
        self._spec = spec
        self._rng = rng
        self._failures = Failures()
        num_ahead = spec.max_in_flight if spec.max_in_flight >= FEWEST_AHEAD else 0
        if order is None:
            order = order_for(step, spec.max_in_flight, ordered=spec.ordered, num_ahead=num_ahead)
        self._order = order
        self._running: dict[int, Slot] = {}
        self._put_off: dict[int, Slot] = {}
        self._key_of = key_function(spec.dedup)
        self._keys: dict[int, Hashable] = {}
        self._twins = Twins()

    def open(self) -> None:
        pass

    def restore(self, state: State) -> list[Command]:
        """Call again for records whose calls had not ended."""
        if (own := state.get(self._step.name)) is not None:
            self._order.restore(own.held, is_dealt=own.is_dealt)
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
                for each in self._with_twins(slot):
                    self._order.finish(each, like(each.record, result.value))
            else:
                calls.extend(self._failed(slot, result.error))
        return [*calls, *self._start(), *self._let_go()]

    def _failed(self, slot: Slot, error: BaseException) -> list[Command]:
        if isinstance(error, TimeoutError) and not error.args:
            error.args = (f"the call did not end within {self._spec.timeout_s} s",)
        slot.num_tries += 1
        wait_s: float | None = None
        if slot.num_tries <= num_tries_left(self._step, error):
            wait_s = wait_before_retry_s(error, slot.num_tries, self._spec.backoff_s, self._rng)
        if wait_s is None:
            self._give_up(slot, error)
            return [FreePermit()]
        if not wait_s:
            return [self._call(slot, has_permit=True)]
        self._put_off[slot.number] = slot
        return [SetTimer(slot.number, wait_s)]

    def on_timer(self, timer_id: int) -> list[Command]:
        """A call that failed is made again."""
        slot = self._put_off.pop(timer_id, None)
        if slot is None:
            raise InternalError(f"timer {timer_id} came to step {self._step.name!r}, which did not set it")
        return [self._call(slot, has_permit=True)]

    def _give_up(self, slot: Slot, error: BaseException) -> None:
        for each in self._with_twins(slot):
            numbers = Numbers(each.number, each.number)
            self._failures.give_up(
                self._step,
                error,
                [each.record],
                numbers,
                timestamp_s=each.timestamp_s,
                num_tries=slot.num_tries,
            )
            self._order.drop(each)

    def _with_twins(self, slot: Slot) -> Sequence[Slot]:
        """Return a record whose call has ended, and those that waited for it."""
        key = self._keys.pop(slot.number, None)
        return (slot,) if key is None else (slot, *self._twins.part(key))

    def _start(self) -> list[Command]:
        if self._key_of is None:
            return [self._call(slot) for slot in self._order.start()]
        calls: list[Command] = []
        while started := self._order.start():
            calls += [self._call(slot) for slot in started if self._asks_first(slot, self._key_of)]
        return calls

    def _asks_first(self, slot: Slot, key_of: Callable[[Any], Hashable]) -> bool:
        """Say whether a record needs a call of its own, now."""
        key = self._failures.tried(self._step, slot.record, slot.number, key_of, slot.record)
        if key is None:
            self._order.drop(slot)
            return False
        if self._twins.joins(key, slot):
            self._order.give_back(slot)
            return False
        self._keys[slot.number] = key
        return True

    def _call(self, slot: Slot, *, has_permit: bool = False) -> Call:
        self._running[slot.number] = slot
        spec = self._spec
        return Call(slot.number, spec.fn, value_of(slot.record), spec.timeout_s, spec.max_in_flight, has_permit)

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
        self._put_off.clear()
        return []

    def on_replies(self, replies: Sequence[Reply]) -> list[Command]:
        raise InternalError(f"{len(replies)} replies came to step {self._step.name!r}, which asks no model")
