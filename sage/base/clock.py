"""The clock as a port. Deciders get `now_s` as an argument; shells hold a Clock."""

import time
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def monotonic_s(self) -> float:
        """Return seconds of a clock that never goes back; for every time-out and duration."""
        ...

    def unix_s(self) -> float:
        """Return seconds since the epoch; for people and files, never for time-outs."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def unix_s(self) -> float:
        return time.time()


class ManualClock:
    """A clock that moves only when told; what tests use instead of waiting."""

    def __init__(self, now_s: float = 0.0, *, unix_s: float = 1_000_000.0) -> None:
        self._now_s = now_s
        self._unix_s = unix_s

    def monotonic_s(self) -> float:
        return self._now_s

    def unix_s(self) -> float:
        return self._unix_s

    def advance(self, by_s: float) -> None:
        """Move both clocks on by `by_s` seconds."""
        assert by_s >= 0.0, by_s
        self._now_s += by_s
        self._unix_s += by_s


def unix_s_at_zero(clock: Clock) -> float:
    """Return what to add to a monotonic time for seconds since the epoch, as the wall clock is now: for what goes by
    the calendar, and is not to jump with that clock."""
    return clock.unix_s() - clock.monotonic_s()
