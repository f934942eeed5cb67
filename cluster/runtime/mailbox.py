"""An actor's bounded inbox: control before data, timers, watched file descriptors. Knows nothing of actors' work.

One thread gets; any thread puts. What may wait behind everything else is marked by its type (`OnDataLane`); all other
messages, Pykka's own stop among them, take the control lane.
"""

import threading
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from pykka import ActorDeadError, Future
from pykka._envelope import Envelope

from cluster.runtime.descriptors import Descriptors, Readable
from cluster.runtime.lane import OnDataLane
from cluster.runtime.timers import TimerDue, Timers
from sage.base.clock import Clock
from sage.base.errors import InternalError

NUM_DATA = 1024  # an actor that grants credit sets its own bound; this one is for those that do not
NUM_CONTROL = 65_536


class MailboxFull(InternalError):
    """A lane is at its bound: whoever put did not respect credit, or the actor no longer gets."""


@dataclass(frozen=True, slots=True)
class MailboxStats:
    """Numbers since the start; `most_*` is the longest that a lane ever was."""

    num_got: int
    num_refused: int
    most_control: int
    most_data: int


class Mailbox:
    """The inbox that `pykka.Actor` asks for (`put`, `get`, `empty`)."""

    def __init__(self, clock: Clock, *, num_data: int = NUM_DATA, num_control: int = NUM_CONTROL) -> None:
        self._clock = clock
        self._num_data = num_data
        self._num_control = num_control
        self._changed = threading.Condition(threading.Lock())
        self._control: deque[Envelope[Any]] = deque()
        self._data: deque[Envelope[Any]] = deque()
        self._timers = Timers()
        self._fds: Descriptors | None = None
        self._is_waiting = False
        self._is_closed = False
        self._gave_event = False  # the last `get` gave a timer or a descriptor: a control message goes next
        self._num_got = 0
        self._num_refused = 0
        self._most_control = 0
        self._most_data = 0

    def put(self, envelope: Envelope[Any], /) -> None:
        """Add `envelope` without waiting; raises MailboxFull, and ActorDeadError once the mailbox is closed."""
        with self._changed:
            if self._is_closed:
                raise ActorDeadError("the actor has ended")
            if isinstance(envelope.message, OnDataLane):
                self._bound(len(self._data), self._num_data, "data")
                self._data.append(envelope)
                self._most_data = max(self._most_data, len(self._data))
            else:
                self._bound(len(self._control), self._num_control, "control")
                self._control.append(envelope)
                self._most_control = max(self._most_control, len(self._control))
            if self._is_waiting:
                self._wake()

    def get(self) -> Envelope[Any]:
        """Return what comes next, waiting for it: control, due timers, readable descriptors, then data."""
        with self._changed:
            while (envelope := self._take()) is None:
                self._wait()
            self._num_got += 1
            return envelope

    def wait_for(self, future: "Future[Any]", timeout_s: float) -> Any:
        """Return the answer to what was asked of the actor; raises what it raised, or pykka.Timeout. Any thread's."""
        return future.get(timeout=timeout_s)

    def empty(self) -> bool:
        """Say whether both lanes are empty; timers and descriptors do not count."""
        return not (self._control or self._data)

    def has_urgent(self) -> bool:
        """Say whether a control message or a due timer waits. Asked by the actor's thread between pieces of work."""
        return bool(self._control) or self._timers.is_due(self._clock)

    def bound_data(self, num_data: int) -> None:
        """Set the data lane's bound, before anybody puts."""
        self._num_data = num_data

    def set_timer(self, timer_id: Hashable, after_s: float) -> None:
        """Let `get` return TimerDue `after_s` seconds from now; replaces a timer of the same id. Actor's thread."""
        self._timers.set(timer_id, self._clock.monotonic_s() + after_s)

    def cancel_timer(self, timer_id: Hashable) -> None:
        """Forget a timer; unknown ids are passed over. Actor's thread."""
        self._timers.cancel(timer_id)

    def watch_fd(self, fd: int) -> None:
        """Let `get` return Readable(fd) while `fd` is readable. Actor's thread."""
        if self._fds is None:
            self._fds = Descriptors()
        self._fds.watch(fd)

    def unwatch_fd(self, fd: int) -> None:
        """Forget a descriptor; unknown ones are passed over. Actor's thread, before the descriptor is closed."""
        if self._fds is not None:
            self._fds.unwatch(fd)

    def stats(self) -> MailboxStats:
        return MailboxStats(self._num_got, self._num_refused, self._most_control, self._most_data)

    def close(self) -> None:
        """Refuse what comes from now on; what waits can still be got. Lets go of timers and descriptors."""
        with self._changed:
            self._is_closed = True
            self._timers = Timers()
            if self._fds is not None:
                self._fds.close()
                self._fds = None

    def _bound(self, len_lane: int, bound: int, lane: str) -> None:
        if len_lane >= bound:
            self._num_refused += 1
            raise MailboxFull(f"the {lane} lane of a mailbox is full: {bound} messages wait")

    def _take(self) -> Envelope[Any] | None:
        event = None if self._gave_event and self._control else self._due_event()
        self._gave_event = event is not None
        if event is not None:
            return Envelope(event)
        if self._control:
            return self._control.popleft()
        return self._data.popleft() if self._data else None

    def _due_event(self) -> TimerDue | Readable | None:
        due = self._timers.pop_due(self._clock)
        if due is not None:
            return due
        return self._fds.next_readable() if self._fds is not None else None

    def _wait(self) -> None:
        timeout_s = self._timers.wait_s(self._clock)
        self._is_waiting = True
        if self._fds is None:
            self._changed.wait(timeout_s)
        else:
            self._changed.release()
            try:
                self._fds.wait(timeout_s)
            finally:
                self._changed.acquire()
        self._is_waiting = False

    def _wake(self) -> None:
        if self._fds is None:
            self._changed.notify()
        else:
            self._fds.wake()
        self._is_waiting = False  # one wake is enough, however many put before the actor gets
