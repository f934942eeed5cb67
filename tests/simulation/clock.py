"""Virtual time and what is to happen in it. Knows nothing of actors."""

import heapq
from collections.abc import Callable
from random import Random

Happening = Callable[[], object]


class VirtualClock:
    """A Clock that the world moves on."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return 1_000_000.0 + self.now_s

    def move_to(self, at_s: float) -> None:
        """Let it be `at_s`; never goes back."""
        self.now_s = max(self.now_s, at_s)


class ProcessClock:
    """The clocks of one machine: its wall clock may be wrong, and jump."""

    def __init__(self, clock: VirtualClock, wall_s: float = 0.0) -> None:
        self.wall_s = wall_s  # ahead of others
        self._clock = clock

    def monotonic_s(self) -> float:
        return self._clock.monotonic_s()

    def unix_s(self) -> float:
        return self._clock.unix_s() + self.wall_s


class Agenda:
    """What is to happen when; among what is due at one time, chance decides."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._heap: list[tuple[float, float, int, Happening]] = []
        self._num_added = 0

    def add(self, at_s: float, happening: Happening) -> None:
        self._num_added += 1
        heapq.heappush(self._heap, (at_s, self._rng.random(), self._num_added, happening))

    def next_s(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now_s: float) -> Happening | None:
        if self._heap and self._heap[0][0] <= now_s:
            return heapq.heappop(self._heap)[3]
        return None
