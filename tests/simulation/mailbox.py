"""The mailbox of an actor in a simulated world: the real one, which waits as fibers do. Knows no actor."""

from collections.abc import Hashable
from typing import Any, Protocol

import pykka
from pykka import Future
from pykka._envelope import Envelope

from cluster.runtime.descriptors import Readable
from cluster.runtime.mailbox import Mailbox
from cluster.runtime.timers import TimerDue
from sage.base.clock import Clock
from tests.simulation.fibers import Waits


class Surroundings(Waits, Protocol):
    """What a mailbox tells its world, and asks it."""

    def comes_at(self, to: Hashable, at_s: float) -> None:
        """Let whoever waits by this look at that time."""
        ...

    def watches(self, fd: int, watcher: Hashable | None) -> None:
        """Tell `came(watcher)` when `fd` becomes readable; None: nobody."""
        ...

    def is_readable(self, fd: int) -> bool: ...

    def got(self, mailbox: "SimulatedMailbox", message: object) -> None: ...

    def interrupts(self) -> bool:
        """Say whether work is to be left for what waits, though nothing does: another thread might have its turn."""
        ...


class SimulatedMailbox(Mailbox):
    """Lanes, bounds and timers are those of Mailbox; descriptors are numbers that the world says are readable."""

    def __init__(self, world: Surroundings, clock: Clock, *, num_data: int, num_control: int) -> None:
        super().__init__(clock, num_data=num_data, num_control=num_control)
        self._world = world
        self._watched: dict[int, None] = {}

    def is_ready(self) -> bool:
        """Say whether `get` would return at once."""
        if self._control or self._data or (self._watched and self._readable() is not None):
            return True
        return self._timers.is_due(self._clock)

    def put(self, envelope: Envelope[Any], /) -> None:
        super().put(envelope)
        self._world.came(self)
        self._world.yield_now()

    def get(self) -> Envelope[Any]:
        if not self._is_closed:
            self._world.wait(self.is_ready, by=self)
        envelope = super().get()
        self._world.got(self, envelope.message)
        return envelope

    def wait_for(self, future: "Future[Any]", timeout_s: float) -> Any:
        self._world.wait(lambda: is_answered(future), timeout_s)
        return future.get(timeout=0.0)

    def has_urgent(self) -> bool:
        return super().has_urgent() or self._world.interrupts()

    def set_timer(self, timer_id: Hashable, after_s: float) -> None:
        super().set_timer(timer_id, after_s)
        self._world.comes_at(self, self._clock.monotonic_s() + after_s)

    def watch_fd(self, fd: int) -> None:
        self._watched[fd] = None
        self._world.watches(fd, self)

    def unwatch_fd(self, fd: int) -> None:
        if self._watched.pop(fd, 0) is None:
            self._world.watches(fd, None)

    def close(self) -> None:
        super().close()
        for fd in tuple(self._watched):
            self.unwatch_fd(fd)

    def _readable(self) -> int | None:
        for fd in self._watched:
            if self._world.is_readable(fd):
                return fd
        return None

    def _due_event(self) -> TimerDue | Readable | None:
        due = self._timers.pop_due(self._clock)
        fd = self._readable() if due is None else None
        if fd is not None:
            del self._watched[fd]  # the next one first, next time
            self._watched[fd] = None
            return Readable(fd)
        return due


def is_answered(future: "Future[Any]") -> bool:
    """Say whether an answer or an error is there."""
    try:
        future.get(timeout=0.0)
    except pykka.Timeout:
        return False
    except Exception:  # noqa: BLE001 - an error is an answer
        return True
    return True


def was_taken(future: "Future[Any]") -> bool:
    """Say whether what was asked was answered, and not by an error."""
    try:
        future.get(timeout=0.0)
    except Exception:  # noqa: BLE001 - whatever was raised, it was not taken
        return False
    return True
