"""A process of a simulated world: what performs its actors, and ends with all of them. Knows no actor in particular."""

from collections.abc import Callable
from typing import Any, Protocol

import pykka
from pykka import ActorRef

from cluster.runtime.actor import Actor
from cluster.runtime.scheduler import Performer
from sage.base.clock import Clock
from tests.simulation.clock import Happening
from tests.simulation.coroutines import SimulatedCoroutines
from tests.simulation.fibers import Fiber, SimulatedCondition
from tests.simulation.mailbox import SimulatedMailbox, Surroundings


class Machine(Surroundings, Protocol):
    """What a process asks of its world."""

    def spawn(self, name: str, work: Callable[[], object]) -> Fiber: ...

    def set_held(self, fibers: list[Fiber], *, is_held: bool) -> None: ...

    def end(self, fibers: list[Fiber]) -> None: ...

    def later(self, after_s: float, happening: Happening) -> None: ...


class SimulatedProcess:
    """A Scheduler. It can be stopped and let go on, and it can die."""

    def __init__(self, name: str, world: Machine) -> None:
        self.name = name
        self.is_alive = True
        self.is_paused = False
        self.coroutines_of: dict[str, SimulatedCoroutines] = {}
        self._world = world
        self._fibers: dict[Fiber, None] = {}
        self._performers: dict[str, tuple[Performer, Fiber]] = {}
        self._put_off: list[Happening] = []

    # The scheduler.

    def mailbox(self, clock: Clock, *, num_data: int, num_control: int) -> SimulatedMailbox:
        return SimulatedMailbox(self._world, clock, num_data=num_data, num_control=num_control)

    def perform(self, performer: Performer) -> None:
        fiber = self._spawn(f"{performer.name} {performer.actor_urn}", lambda: self._perform(performer))
        self._performers[performer.actor_urn] = (performer, fiber)

    def doing(self, actor_urn: str) -> str | None:
        known = self._performers.get(actor_urn)
        return f"{known[0].name} (held by the simulation)" if known is not None else None

    def coroutines(self, name: str) -> SimulatedCoroutines:
        return self.coroutines_of.setdefault(name, SimulatedCoroutines(self.later))

    def begin(self, name: str, work: Callable[[], object]) -> "Work":
        return Work(self._spawn(name, work), self._world)

    def worker_of(self, actor_urn: str) -> "Work | None":
        known = self._performers.get(actor_urn)
        return Work(known[1], self._world) if known is not None else None

    def condition(self) -> SimulatedCondition:
        return SimulatedCondition(self._world)

    def poll(self) -> "SimulatedPoll":
        return SimulatedPoll(self._world)

    # What happens to it.

    def pause(self) -> None:
        """Let nothing of it go on, as by SIGSTOP."""
        self.is_paused = True
        self._world.set_held([*self._fibers], is_held=True)

    def resume(self) -> None:
        self.is_paused = False
        self._world.set_held([*self._fibers], is_held=False)
        put_off, self._put_off = self._put_off, []
        for happening in put_off:
            self.later(0.0, happening)

    def later(self, after_s: float, happening: Happening) -> None:
        """Have `happening` happen within this process; while it is paused nothing does."""

        def happen() -> None:
            if self.is_paused:
                self._put_off.append(happening)
            elif self.is_alive:
                happening()

        self._world.later(after_s, happen)

    def die(self) -> None:
        """Let nothing of it be any more, without a last word, as by SIGKILL."""
        self.is_alive = False
        self._world.end([*self._fibers])
        for performer, _ in list(self._performers.values()):
            assert isinstance(performer, Actor)
            self.forget(performer.actor_ref)
        for coroutines in self.coroutines_of.values():
            coroutines.close(0.0)

    def forget(self, ref: ActorRef[Any]) -> None:
        """Let an actor that is no more take nothing; those of others are passed over."""
        known = self._performers.pop(ref.actor_urn, None)
        if known is not None:
            ref.actor_stopped.set()
            known[0].mailbox.close()
            pykka.ActorRegistry.unregister(ref)

    def actors(self) -> list[Actor[Any]]:
        return [actor for actor, _ in self._performers.values() if isinstance(actor, Actor)]

    def _spawn(self, name: str, work: Callable[[], object]) -> Fiber:
        fiber = self._world.spawn(name, work)
        self._fibers[fiber] = None
        return fiber

    def _perform(self, performer: Performer) -> None:
        performer.enter()
        while not performer.has_stopped():
            performer.act()
        performer.leave()
        self._performers.pop(performer.actor_urn, None)


class Work:
    """A Worker."""

    def __init__(self, fiber: Fiber, world: Machine) -> None:
        self.name = fiber.name
        self.fiber = fiber
        self._world = world

    def join(self, timeout: float | None = None) -> None:
        self._world.wait(lambda: self.fiber.is_ended, timeout)

    def is_alive(self) -> bool:
        return not self.fiber.is_ended


class SimulatedPoll:
    """What a thread waits by for sockets; as `WokenPoll`."""

    def __init__(self, world: Surroundings) -> None:
        self._world = world
        self._watched: dict[int, None] = {}
        self._is_woken = False

    def watch(self, fd: int) -> None:
        self._watched[fd] = None
        self._world.watches(fd, self)

    def unwatch(self, fd: int) -> None:
        self._watched.pop(fd, None)
        self._world.watches(fd, None)

    def readable(self, timeout_s: float | None) -> list[int]:
        self._world.wait(lambda: self._is_woken or bool(self._readable()), timeout_s, by=self)
        self._is_woken = False
        return self._readable()

    def wake(self) -> None:
        self._is_woken = True
        self._world.came(self)

    def close(self) -> None:
        for fd in list(self._watched):
            self.unwatch(fd)

    def _readable(self) -> list[int]:
        return [fd for fd in self._watched if self._world.is_readable(fd)]
