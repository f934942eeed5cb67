"""The clock as a source: a record at every multiple of a period. Knows nothing of steps or threads."""

import math
from dataclasses import dataclass, field

from sage.base.clock import Clock, SystemClock
from sage.flow.check_numbers import Fault
from sage.flow.undealt import ELSEWHERE


@dataclass(frozen=True, slots=True)
class TickSource:
    """The times, in seconds since the epoch, that are whole multiples of `period_s`, each when it has come."""

    period_s: float
    clock: Clock = field(default_factory=SystemClock)

    def undealt(self) -> Fault | None:
        """Return why one instance reads it."""
        return Fault("ticks come from one clock, not from several", ELSEWHERE)

    def open(self) -> "TickReader":
        return TickReader(self, math.floor(self.clock.unix_s() / self.period_s) + 1)

    def open_at(self, position: int) -> "TickReader":
        return TickReader(self, position)


class TickReader:
    def __init__(self, source: TickSource, following: int) -> None:
        """`following`: of which multiple it is the turn."""
        self._source = source
        self._following = following

    def position(self) -> int:
        return self._following

    def read(self, max_records: int) -> list[float]:
        due = math.floor(self._source.clock.unix_s() / self._source.period_s) + 1
        first, self._following = self._following, max(self._following, min(due, self._following + max_records))
        return [number * self._source.period_s for number in range(first, self._following)]

    def pause_s(self) -> float:
        return max(0.0, self._following * self._source.period_s - self._source.clock.unix_s())

    def close(self) -> None:
        """Nothing to let go."""
