"""Threads of a simulated world: each goes on until it waits, then another has its turn. Knows no actor.

A fiber is a greenlet: code that waits needs no thread of its own for that, and the order of all is the world's to say.
"""

from collections.abc import Callable, Hashable
from contextlib import suppress
from types import TracebackType
from typing import Protocol

from greenlet import GreenletExit, getcurrent, greenlet

IsSo = Callable[[], bool]


class Waits(Protocol):
    """What a fiber asks its world for."""

    def wait(self, is_so: IsSo, timeout_s: float | None = None, *, by: Hashable = None) -> bool:
        """Let others go on until it `is_so`, at most `timeout_s`; say whether it is.

        `by`: it is asked only when this has been told to `came`; None: all the time.
        """
        ...

    def yield_now(self) -> None:
        """Let others go on for a while, now and then: a thread is interrupted anywhere."""
        ...

    def came(self, to: Hashable) -> None:
        """Let whoever waits by this look."""
        ...


class Fiber:
    """Work that goes on by itself; a Worker. `name`, for actors, ends in the urn."""

    def __init__(self, name: str, work: Callable[[], object], weight: float) -> None:
        self.name = name
        self.weight = weight  # how often it has its turn, beside others
        self.is_held = False
        self.is_so: IsSo | None = None  # what it waits for; None: nothing
        self.until_s: float | None = None
        self.is_ended = False
        self._work = work
        self._hub: greenlet | None = None
        self._greenlet = greenlet(self._run)

    def go_on(self) -> None:
        """Let it work until it waits or ends; called by the world. Raises what the work raised."""
        self._hub = getcurrent()
        self._greenlet.parent = self._hub
        self._greenlet.switch()

    def rest(self) -> None:
        """Go back to the world, until it lets us go on; called by the fiber itself."""
        assert self._hub is not None
        self._hub.switch()

    def end(self) -> None:
        """Let it be no more: what it still does on its way out must not count."""
        self.is_ended = True
        if self._greenlet and not self._greenlet.dead:
            self._greenlet.parent = getcurrent()
            with suppress(BaseException):  # whatever it says on its way out, nobody is there to hear it
                self._greenlet.throw(GreenletExit)

    def is_alive(self) -> bool:
        return not self.is_ended

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self.is_ended = True


class SimulatedCondition:
    """As `threading.Condition`; nothing is locked, for a fiber is interrupted nowhere but where it waits."""

    def __init__(self, world: Waits) -> None:
        self._world = world
        self._num_notified = 0

    def __enter__(self) -> bool:
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Nothing to unlock."""

    def wait(self, timeout: float | None = None) -> bool:
        before = self._num_notified
        return self._world.wait(lambda: self._num_notified > before, timeout, by=self)

    def wait_for(self, predicate: IsSo, timeout: float | None = None) -> bool:
        return predicate() or self._world.wait(predicate, timeout, by=self)

    def notify_all(self) -> None:
        self._num_notified += 1
        self._world.came(self)
