"""Finds out that a task has had no record for as long as its chain was told that may be. Knows no machine."""

from collections.abc import Callable

from sage.base.clock import Clock
from sage.flow.plan import Chain
from sage.flow.spec import AssignTimestamps, Read

IDLE_TIMER = -1
"""The timer at which to `look`; those of machines are 0 and above."""


class Idleness:
    """Says once that a task is idle, and again after something came in between: event time goes on without it."""

    def __init__(
        self, chain: Chain, clock: Clock, set_timer: Callable[[int, float], None], say_idle: Callable[[], bool]
    ) -> None:
        """`chain`: the shortest `idle_after_s` of its steps counts; where none has one, the task is never idle.

        `say_idle` returns False where something held the records back, so that they could not have come.
        """
        self._after_s = min(filter(None, (_idle_after_s(step.spec) for step in chain.steps)), default=None)
        self._clock = clock
        self._set_timer = set_timer
        self._say_idle = say_idle
        self._since_s = 0.0
        self._is_watched = False

    def came(self, num_records: int = 1) -> None:
        """Begin anew: records came, or could not have come before."""
        if self._after_s is not None and num_records:
            self._since_s = self._clock.monotonic_s()
            if not self._is_watched:
                self._is_watched = True
                self._set_timer(IDLE_TIMER, self._after_s)

    def look(self) -> None:
        """Say that the task is idle if it is by now; the timer came."""
        assert self._after_s is not None, "nobody set the timer"
        left_s = self._since_s + self._after_s - self._clock.monotonic_s()
        self._is_watched = False
        if left_s > 0:
            self._is_watched = True
            self._set_timer(IDLE_TIMER, left_s)
        elif not self._say_idle():
            self.came()


def _idle_after_s(spec: object) -> float | None:
    match spec:
        case Read(time=AssignTimestamps(idle_after_s=idle_after_s)) | AssignTimestamps(idle_after_s=idle_after_s):
            return idle_after_s
        case _:
            return None
