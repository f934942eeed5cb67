"""Waiting for file descriptors, and for other threads that wake the wait. Knows nothing of what is read."""

import os
import selectors
from collections import deque
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Readable:
    """A watched descriptor is readable; comes again at the next `get` unless it is read empty before."""

    fd: int


class Descriptors:
    """A selector over watched descriptors and a pipe through which other threads wake it."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._readable: deque[int] = deque()

    def watch(self, fd: int) -> None:
        if fd not in self._selector.get_map():
            self._selector.register(fd, selectors.EVENT_READ)

    def unwatch(self, fd: int) -> None:
        if fd in self._selector.get_map():
            self._selector.unregister(fd)
            self._readable = deque(ready for ready in self._readable if ready != fd)

    def next_readable(self) -> Readable | None:
        if not self._readable:
            self.wait(0.0)
        return Readable(self._readable.popleft()) if self._readable else None

    def wait(self, timeout_s: float | None) -> None:
        """Wait until a descriptor is readable, `wake` is called or the time is over."""
        for key, _ in self._selector.select(timeout_s):
            if key.fd == self._wake_read:
                with suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            elif key.fd not in self._readable:
                self._readable.append(key.fd)

    def wake(self) -> None:
        with suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._wake_write, b"\0")

    def close(self) -> None:
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
