"""Waiting in tests for what other processes do. Knows no process."""

import threading
from collections.abc import Callable

from sage.base.clock import SystemClock

_LOOK_EVERY_S = 0.02


def eventually(is_so: Callable[[], bool], deadline_s: float, instead: Callable[[], object] = lambda: None) -> None:
    """Return once `is_so()`, which is asked again and again; fail after `deadline_s`, and say what is so `instead`."""
    clock, pause = SystemClock(), threading.Event()
    until_s = clock.monotonic_s() + deadline_s
    while not is_so():
        assert clock.monotonic_s() < until_s, f"it was not so within {deadline_s} s: {instead()}"
        pause.wait(_LOOK_EVERY_S)
