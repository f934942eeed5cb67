"""The mailbox of an actor in a simulated world: the real one, which never waits. Knows no actor."""

from collections import deque
from collections.abc import Hashable
from typing import Any, Protocol

from pykka._envelope import Envelope

from cluster.runtime.descriptors import Readable
from cluster.runtime.mailbox import Mailbox
from cluster.runtime.timers import TimerDue
from sage.base.clock import Clock


class Surroundings(Protocol):
    """What a mailbox tells its world, and asks it."""

    def came(self, mailbox: "SimulatedMailbox") -> None:
        """Something is there to be got."""
        ...

    def comes_at(self, mailbox: "SimulatedMailbox", at_s: float) -> None:
        """A timer was set."""
        ...

    def watches(self, mailbox: "SimulatedMailbox", fd: int) -> None: ...

    def got(self, mailbox: "SimulatedMailbox", message: object) -> None: ...

    def interrupts(self) -> bool:
        """Say whether work is to be left for what waits, though nothing does: another thread might have its turn."""
        ...


class SimulatedMailbox(Mailbox):
    """Lanes, bounds and timers are those of Mailbox; descriptors are numbers that a link says are readable."""

    def __init__(self, world: Surroundings, clock: Clock, *, num_data: int, num_control: int) -> None:
        super().__init__(clock, num_data=num_data, num_control=num_control)
        self._world = world
        self._watched: set[int] = set()
        self._readable: deque[int] = deque()

    def is_ready(self) -> bool:
        """Say whether `get` would return at once."""
        return not self.empty() or bool(self._readable) or self._timers.is_due(self._clock)

    def put(self, envelope: Envelope[Any], /) -> None:
        super().put(envelope)
        self._world.came(self)

    def get(self) -> Envelope[Any]:
        assert self._is_closed or self.is_ready(), "nobody waits in a simulated world"
        envelope = super().get()
        self._world.got(self, envelope.message)
        return envelope

    def has_urgent(self) -> bool:
        return super().has_urgent() or self._world.interrupts()

    def set_timer(self, timer_id: Hashable, after_s: float) -> None:
        super().set_timer(timer_id, after_s)
        self._world.comes_at(self, self._clock.monotonic_s() + after_s)

    def watch_fd(self, fd: int) -> None:
        self._watched.add(fd)
        self._world.watches(self, fd)

    def unwatch_fd(self, fd: int) -> None:
        self._watched.discard(fd)
        self._readable = deque(ready for ready in self._readable if ready != fd)

    def became_readable(self, fd: int) -> None:
        if fd in self._watched and fd not in self._readable:
            self._readable.append(fd)
            self._world.came(self)

    def close(self) -> None:
        super().close()
        self._watched.clear()
        self._readable.clear()

    def _due_event(self) -> TimerDue | Readable | None:
        due = self._timers.pop_due(self._clock)
        if due is None and self._readable:
            return Readable(self._readable.popleft())
        return due
