"""What is to be done after some time of the clock, by timers of the task. Reads no clock."""

from collections.abc import Callable

from operators.machine import Command, SetTimer
from sage.base.errors import InternalError


class Alarms:
    """The alarms of one machine. The task forgets no timer, so one that was dropped still comes, and is passed over."""

    def __init__(self) -> None:
        self._ring: dict[int, Callable[[], None]] = {}
        self._new: list[SetTimer] = []
        self._num = 0

    def set(self, after_s: float, ring: Callable[[], None]) -> int:
        """Call `ring` after `after_s` seconds; return the number by which it can be dropped."""
        self._num += 1
        self._ring[self._num] = ring
        self._new.append(SetTimer(self._num, after_s))
        return self._num

    def drop(self, number: int) -> None:
        self._ring.pop(number, None)

    def take(self) -> list[Command]:
        """Return what sets the timers since the last call."""
        if not self._new:
            return []
        new, self._new = self._new, []
        return [*new]

    def ring(self, number: int) -> None:
        if not 0 < number <= self._num:
            raise InternalError(f"timer {number} came to a chain that never set it")
        ring = self._ring.pop(number, None)
        if ring is not None:
            ring()
