"""The beginning of a loop: sends records into the body, and takes what comes back. Knows no step of the body."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from math import inf
from typing import Any

from operators.failure import Failures
from operators.machine import CallResult, Command, Counts, DeadLetter, Emit
from operators.rounds import Rounds, oldest_of
from operators.state import State, StepState
from sage.base.batch import Batch
from sage.base.errors import InternalError
from sage.base.inference import Reply
from sage.flow.graph import Step
from sage.flow.iterate import INSIDE, Iterate

View = Callable[[Any], Any]
"""What users see of a record."""


@dataclass(slots=True)
class _Rows:
    """Records with their event times, where they have them."""

    values: list[Any] = field(default_factory=list)
    times: list[float | None] = field(default_factory=list)

    def add(self, value: Any, timestamp_s: float | None) -> None:
        self.values.append(value)
        self.times.append(timestamp_s)

    def batch(self, watermark_s: float | None) -> Batch:
        known = [time_s for time_s in self.times if time_s is not None]
        return Batch(self.values, None, known if len(known) == len(self.values) > 0 else None, watermark_s)


class IterateMachine:
    """At most `max_in_flight` records are in the body of which nothing has come out; others wait before it.

    The watermark that leaves the loop is no later than the records in it. Every batch that goes into the body is
    followed by the watermark of its numbers, so that what comes back says what is accounted for.
    """

    def __init__(self, step: Step, spec: Iterate, *, seen: View | None = None, taken: View | None = None) -> None:
        """`seen` makes of a record what `until` is asked about; `taken` what goes in of one that came."""
        self.counts = Counts()
        self._step = step
        self._spec = spec
        self._seen = seen
        self._taken = taken
        until = spec.until
        self._until = until if seen is None else lambda record: until(seen(record))
        self._inside = (step.name, INSIDE)
        self._unfinished = None if spec.unfinished_to is None else (step.name, spec.unfinished_to)
        self._failures = Failures()
        self._rounds = Rounds()
        self._waiting: deque[tuple[Any, float | None]] = deque()
        self._held: list[Batch] = []
        self._is_holding = False
        self._num_left = 0
        self._came_s = -inf
        self._gave_s = -inf

    def open(self) -> None:
        pass

    def room(self) -> int:
        return 0 if self._waiting else self._num_free()

    def _num_free(self) -> int:
        return self._spec.max_in_flight - self._rounds.num_out

    def on_batch(self, batch: Batch) -> list[Command]:
        self.counts.num_batches += 1
        self.counts.records_in += len(batch)
        values = batch.values if self._taken is None else [self._taken(value) for value in batch.values]
        times = batch.timestamps_s if batch.timestamps_s is not None else (None,) * len(batch)
        self._waiting.extend(zip(values, times, strict=True))
        if batch.watermark_s is not None:
            self._came_s = batch.watermark_s
        return self._go_on(_Rows(), _Rows(), _Rows(), [])

    def on_back(self, batch: Batch) -> list[Command]:
        """Take what came out of the body: each record leaves the loop, or goes in again."""
        if self._is_holding:
            self._held.append(batch)
            return []
        done, unfinished, again = _Rows(), _Rows(), _Rows()
        rounds_again: list[int] = []
        for value, number in zip(batch.values, batch.timestamps_s or (), strict=True):
            rounds, timestamp_s = self._rounds.leave(number)
            self._num_left += 1
            is_done = self._failures.tried(self._step, value, self._num_left, self._until, value)
            if is_done is None:
                continue  # set aside
            if is_done[0]:
                done.add(value, timestamp_s)
            elif rounds < self._spec.max_rounds:
                again.add(value, timestamp_s)
                rounds_again.append(rounds)
            else:
                (done if self._unfinished is None else unfinished).add(value, timestamp_s)
        if batch.watermark_s is not None:
            self._rounds.passed(batch.watermark_s)
        return self._go_on(done, unfinished, again, rounds_again)

    def _go_on(self, done: _Rows, unfinished: _Rows, again: _Rows, rounds_again: list[int]) -> list[Command]:
        """Send in what goes in again, and of what waits as much as there is room for; let go what leaves."""
        num_again = len(again.values)
        for _ in range(min(len(self._waiting), self._num_free() - num_again)):
            again.add(*self._waiting.popleft())
            rounds_again.append(0)
        commands: list[Command] = [self._shown(letter) for letter in self._failures.take()]
        if again.values:
            numbers = self._rounds.send(rounds_again, again.times)
            commands.append(Emit(Batch(again.values, None, numbers, self._rounds.next_number), self._inside))
        self.counts.records_out += len(done.values) + len(unfinished.values)
        watermark_s = self._watermark_s()
        if unfinished.values or (self._unfinished is not None and watermark_s is not None):
            commands.append(Emit(unfinished.batch(watermark_s), self._unfinished))
        if done.values or watermark_s is not None:
            commands.append(Emit(done.batch(watermark_s)))
        return commands

    def _watermark_s(self) -> float | None:
        """Return the watermark of what leaves, where it has risen."""
        if self._came_s <= self._gave_s:
            return None
        waiting_s = oldest_of(time_s for _, time_s in self._waiting) if self._waiting else inf
        least_s = min(self._came_s, self._rounds.oldest_s(), waiting_s)
        if least_s <= self._gave_s:
            return None
        self._gave_s = least_s
        return least_s

    def _shown(self, letter: DeadLetter) -> DeadLetter:
        return letter if self._seen is None else replace(letter, value=self._seen(letter.value))

    # Checkpoints.

    def hold(self) -> None:
        """Keep what comes back as it is, until `release`: a barrier is on its way through the body."""
        self._is_holding = True

    def release(self) -> list[Command]:
        """Go on with what was kept since `hold`."""
        self._is_holding = False
        held, self._held = self._held, []
        return [command for batch in held for command in self.on_back(batch)]

    def snapshot(self) -> State:
        """What waits and what has come back is `held`, in this order; the account is `fixed`: it is of one instance.

        A record that came back has its number in place of its event time.
        """
        waiting = [(value, timestamp_s, False) for value, timestamp_s in self._waiting]
        numbered = (zip(batch.values, batch.timestamps_s or (), strict=True) for batch in self._held)
        back = [(value, number, True) for value, number in chain.from_iterable(numbered)]
        passed = max((batch.watermark_s for batch in self._held if batch.watermark_s is not None), default=None)
        fixed = [*self._rounds.state(), passed, self._num_left]
        return {self._step.name: StepState(held=[*waiting, *back], fixed=fixed)}

    def restore(self, state: State) -> list[Command]:
        """Go on with what came back; the body hears once more how far its numbers are."""
        own = state.get(self._step.name)
        if own is None:
            return []
        first, rounds, times, passed, self._num_left = own.fixed
        self._rounds.restore((first, rounds, times))
        self._waiting.extend((value, time_s) for value, time_s, is_back in own.held if not is_back)
        back = [(value, number) for value, number, is_back in own.held if is_back]
        values, numbers = [value for value, _ in back], [number for _, number in back]
        if not len(self._rounds) and not self._waiting:
            return []
        told = Emit(Batch((), watermark_s=self._rounds.next_number), self._inside)
        return [told, *self.on_back(Batch(values, None, numbers, passed))]

    # The end.

    def on_end(self) -> list[Command]:
        return []

    def is_done(self) -> bool:
        """Nothing waits, and nothing can come out of the body any more."""
        return not self._waiting and not len(self._rounds)

    def close(self, *, complete: bool) -> list[Command]:
        return []

    # What does not come.

    def on_replies(self, replies: Sequence[Reply]) -> list[Command]:
        raise InternalError(f"{len(replies)} replies came to step {self._step.name!r}, which asks no model")

    def on_results(self, results: Sequence[CallResult]) -> list[Command]:
        raise InternalError(f"{len(results)} results came to step {self._step.name!r}, which calls no coroutine")

    def on_timer(self, timer_id: int) -> list[Command]:
        raise InternalError(f"timer {timer_id} came to step {self._step.name!r}, which did not set it")
