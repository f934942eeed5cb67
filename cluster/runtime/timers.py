"""Due times in order. Knows nothing of who waits for them."""

import heapq
from collections.abc import Hashable
from dataclasses import dataclass

from sage.base.clock import Clock


@dataclass(frozen=True, slots=True)
class TimerDue:
    """A timer set before has come due; it is forgotten."""

    timer_id: Hashable


class Timers:
    """A heap of due times; a timer that was replaced or cancelled stays in it, outdated, until it would be due."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Hashable]] = []
        self._current: dict[Hashable, int] = {}
        self._num_set = 0

    def set(self, timer_id: Hashable, at_s: float) -> None:
        self._num_set += 1
        self._current[timer_id] = self._num_set
        heapq.heappush(self._heap, (at_s, self._num_set, timer_id))

    def cancel(self, timer_id: Hashable) -> None:
        self._current.pop(timer_id, None)

    def pop_due(self, clock: Clock) -> TimerDue | None:
        if not self.is_due(clock):
            return None
        _, _, timer_id = heapq.heappop(self._heap)
        del self._current[timer_id]
        return TimerDue(timer_id)

    def is_due(self, clock: Clock) -> bool:
        if not self._heap:
            return False
        at_s = self._next_s()
        return at_s is not None and at_s <= clock.monotonic_s()

    def wait_s(self, clock: Clock) -> float | None:
        at_s = self._next_s()
        return None if at_s is None else max(0.0, at_s - clock.monotonic_s())

    def _next_s(self) -> float | None:
        while self._heap:
            at_s, number, timer_id = self._heap[0]
            if self._current.get(timer_id) == number:
                return at_s
            heapq.heappop(self._heap)
        return None
