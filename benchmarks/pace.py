"""Gives records one at a time, each when it is due. Imports nothing of SAGE: a rival's Python reads it."""

from threading import Event
from time import perf_counter

_SPIN_S = 0.0002


class SteadyPace:
    """One record every `every_s` seconds; one that is late moves all after it."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._due_s = 0.0
        self._pause = Event()

    def wait(self) -> float:
        """Wait until shortly before the next record is due, then watch the clock; return what it says."""
        self._due_s = max(self._due_s + self._every_s, perf_counter())
        self._pause.wait(max(0.0, self._due_s - perf_counter() - _SPIN_S))
        while perf_counter() < self._due_s:
            pass
        return perf_counter()
