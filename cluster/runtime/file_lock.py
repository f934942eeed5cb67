"""Waits for the lock of a file, with a deadline. Knows nothing of what it guards."""

import fcntl
import threading

from sage.base.clock import SystemClock

_LOOK_EVERY_S = 0.02


def lock_within(descriptor: int, timeout_s: float) -> bool:
    """Lock the open file for this process alone; say whether that came about within `timeout_s`.

    The lock goes with the last descriptor of this opening, or by LOCK_UN. Looks 50 times a second: flock has no
    time-out. Raises OSError where the file cannot be locked at all.
    """
    clock, pause = SystemClock(), threading.Event()
    until_s = clock.monotonic_s() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock.monotonic_s() > until_s:
                return False
            pause.wait(_LOOK_EVERY_S)
        else:
            return True
