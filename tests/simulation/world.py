"""A world of one thread: a seeded random number says who goes on next, and time passes when nobody can.

What it leaves out: within the handling of one message nobody else acts, unless whoever handles it waits. Knows no actor
in particular.
"""

from collections.abc import Callable, Hashable
from random import Random
from typing import Any, TypeVar

from greenlet import GreenletExit
from pykka import ActorRef, Future
from pykka.messages import _ActorStop

from cluster.runtime.actor import Actor, Query, tell
from cluster.runtime.timers import TimerDue
from tests.simulation.clock import Agenda, Happening, VirtualClock
from tests.simulation.fibers import Fiber, IsSo
from tests.simulation.mailbox import SimulatedMailbox, is_answered
from tests.simulation.process import SimulatedProcess
from tests.simulation.schedule import Schedule

R = TypeVar("R")

MAX_STEPS = 200_000
STANDSTILL_S = 120.0
"""After so long with nothing but timers the world stands still: the longest that anything waits on purpose is 60 s."""

_COSTS_S = (0.0, 0.00001, 0.002)
_WEIGHTS = (0.03, 1.0, 1.0, 1.0)


class StandsStill(AssertionError):
    """Nothing can happen any more, or nothing but timers does, and what was waited for has not come."""


class World:
    """Everything that is random is drawn from `rng`: the same seed gives the same schedule.

    `acting` is the name of whoever acts, or did so last; `held_s` is for how long actors were held in all. `here` is a
    process for those who need but one.
    """

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.clock = VirtualClock()
        self.num_steps = 0
        self.schedule = Schedule()
        self.acting = ""
        self.held_s = 0.0
        self._agenda = Agenda(Random(self.rng.getrandbits(64)))
        self._fibers: dict[Fiber, None] = {}
        self._current: Fiber | None = None
        self._ready: dict[Fiber, None] = {}  # those that may go on, if it is so
        self._asking: dict[Fiber, None] = {}  # those to be asked at every step
        self._waiting_by: dict[Hashable, dict[Fiber, None]] = {}
        self._dead: list[Fiber] = []
        self._is_over = False
        self._readable: dict[int, None] = {}
        self._watchers: dict[int, Hashable] = {}
        self._at_step: dict[int, list[Happening]] = {}
        self._last_news_s = 0.0
        self._num_fds = 0
        self.cost_s = self.rng.choice(_COSTS_S)
        self._interrupted_share = self.rng.choice((0.0, 0.1, 0.9))
        self.yielding_share = 0.0
        self.processes: list[SimulatedProcess] = []
        self.here = self.process("here")

    def process(self, name: str) -> SimulatedProcess:
        """Return a new process: what performs its actors."""
        process = SimulatedProcess(name, self)
        self.processes.append(process)
        return process

    # What fibers, mailboxes and sockets say.

    def spawn(self, name: str, work: Callable[[], object]) -> Fiber:
        """Have `work` done beside everything else."""
        fiber = Fiber(name, work, self.rng.choice(_WEIGHTS))
        self._fibers[fiber] = self._ready[fiber] = None
        return fiber

    def wait(self, is_so: IsSo, timeout_s: float | None = None, *, by: Hashable = None) -> bool:
        fiber = self._current
        if self._is_over or (fiber is not None and fiber.is_ended):
            raise GreenletExit
        if fiber is None:
            self._run_while(is_so, timeout_s)
            return is_so()
        fiber.is_so = is_so
        fiber.until_s = None
        if timeout_s is not None:
            fiber.until_s = self.clock.monotonic_s() + timeout_s
            self._agenda.add(fiber.until_s, lambda: self._may_go_on(fiber))
        if by is None:
            self._asking[fiber] = None
        else:
            self._waiting_by.setdefault(by, {})[fiber] = None
        self._may_go_on(fiber)
        fiber.rest()
        if by is None:
            self._asking.pop(fiber, None)
        else:
            self._waiting_by[by].pop(fiber, None)
        fiber.is_so = None
        return is_so()

    def yield_now(self) -> None:
        """Let others go on for a while, now and then (`yielding_share`), as when a thread is interrupted here."""
        if self._current is not None and self.yielding_share and self.rng.random() < self.yielding_share:
            self.wait(lambda: True, by=object())

    def came(self, to: Hashable) -> None:
        for fiber in self._waiting_by.get(to, ()):
            self._may_go_on(fiber)

    def comes_at(self, to: Hashable, at_s: float) -> None:
        self._agenda.add(at_s, lambda: self.came(to))

    def watches(self, fd: int, watcher: Hashable | None) -> None:
        if watcher is None:
            self._watchers.pop(fd, None)
        else:
            self._watchers[fd] = watcher
            self.came(watcher)

    def is_readable(self, fd: int) -> bool:
        return fd in self._readable

    def got(self, mailbox: SimulatedMailbox, message: object) -> None:
        self.schedule.got(self.num_steps, self.clock.monotonic_s(), self.acting, message)
        if not isinstance(message, TimerDue):
            self._last_news_s = self.clock.monotonic_s()

    def interrupts(self) -> bool:
        return self.rng.random() < self._interrupted_share

    # What tests and simulated things do.

    def later(self, after_s: float, happening: Happening) -> None:
        """Have `happening` happen `after_s` seconds from now, between two messages."""
        self._agenda.add(self.clock.monotonic_s() + after_s, happening)

    def at_step(self, number: int, happening: Happening) -> None:
        """Have `happening` happen before the step of this number, if it comes to that."""
        self._at_step.setdefault(max(number, self.num_steps), []).append(happening)

    def new_fd(self) -> int:
        """Return a number that stands for a file descriptor."""
        self._num_fds += 1
        return 1_000_000 + self._num_fds

    def set_readable(self, fd: int, *, is_readable: bool = True) -> None:
        """Let whoever watches `fd` be told, for as long as it is readable."""
        if not is_readable:
            self._readable.pop(fd, None)
        elif fd not in self._readable:
            self._readable[fd] = None
            self.came(self._watchers.get(fd))

    def hold(self, ref: ActorRef[Any], for_s: float) -> None:
        """Let an actor handle nothing for so long, as if the user's function that it is in did not return."""
        fiber = self._fiber_of(ref)
        if fiber is None:
            return
        fiber.is_held = True
        self.held_s += for_s
        self.note("world", f"hold {fiber.name} for {for_s:.3f} s")
        self.later(for_s, lambda: self._release(fiber))

    def set_held(self, fibers: list[Fiber], *, is_held: bool) -> None:
        """Let fibers not go on, as when their process is stopped, or go on again."""
        for fiber in fibers:
            fiber.is_held = is_held
            self._may_go_on(fiber)

    def end(self, fibers: list[Fiber]) -> None:
        """Let fibers be no more, without a last word."""
        for fiber in fibers:
            if fiber in self._fibers:
                del self._fibers[fiber]
                self._ready.pop(fiber, None)
                self._asking.pop(fiber, None)
                fiber.is_ended = True
                self._dead.append(fiber)
                self.note(fiber.name, "killed")

    def kill(self, refs: list[ActorRef[Any]]) -> None:
        """Let actors be no more, without a last word, as when their process is gone."""
        for ref in refs:
            fiber = self._fiber_of(ref)
            if fiber is not None:
                self.end([fiber])
                for process in self.processes:
                    process.forget(ref)

    def living(self) -> list[str]:
        """Return the names of all actors that have not left."""
        return [actor.name for actor in self._actors()]

    def refs(self, kind: type[Actor[Any]]) -> dict[str, ActorRef[Any]]:
        """Return the actors of a class that have not left, by name, in the order of their start."""
        return {actor.name: actor.actor_ref for actor in self._actors() if isinstance(actor, kind)}

    def ask(self, ref: ActorRef[Any], query: Query[R]) -> R:
        """Return the answer to `query`, letting the world go on until it is there; raises what the actor raised."""
        future: Future[R] = ref.ask(query, block=False)
        self.run_until(lambda: is_answered(future), f"the answer to {query}")
        answer: R = future.get(timeout=0.0)
        return answer

    def stop(self, refs: list[ActorRef[Any]]) -> None:
        """Have these actors stop once they have handled what waits before it."""
        for ref in refs:
            tell(ref, _ActorStop())

    def run_until(self, is_so: Callable[[], bool], what: str, *, within_s: float | None = None) -> None:
        """Go on until it `is_so`; raises StandsStill with the end of the schedule where it never will be.

        `within_s`: of virtual time.
        """
        self._last_news_s = began_s = self.clock.monotonic_s()
        while not is_so():
            if not self.step():
                raise self._still(f"nothing can happen any more; waited for {what}")
            if self.clock.monotonic_s() - self._last_news_s > STANDSTILL_S:
                raise self._still(f"for {STANDSTILL_S:g} s there were only timers; waited for {what}")
            if within_s is not None and self.clock.monotonic_s() - began_s > within_s:
                raise self._still(f"in {within_s:g} s it has not come to {what}")

    def run_for(self, for_s: float) -> None:
        """Go on for so long."""
        self._run_while(lambda: False, for_s)

    def run_out(self) -> None:
        """Go on until nothing is left to do: no message, no timer, nothing on its way."""
        self._at_step.clear()
        while self.step():
            pass

    def close(self) -> None:
        """Let go of everything; nothing happens any more."""
        self._is_over = True
        for fiber in [*self._dead, *self._fibers]:
            self._current = fiber
            fiber.end()
        self._current = None
        self._fibers.clear()
        for process in self.processes:
            process.die()

    def step(self) -> bool:
        """Let somebody go on until it waits, or time pass; False where nothing is left to do."""
        for happening in self._at_step.pop(self.num_steps, ()):
            happening()
        self.num_steps += 1
        if self.num_steps > MAX_STEPS:
            raise self._still(f"no end after {MAX_STEPS:,} steps")
        has_happened = self._happen()
        fiber = self._chosen()
        if fiber is not None:
            self._go_on(fiber)
            self.clock.move_to(self.clock.monotonic_s() + self.rng.random() * self.cost_s)
            return True
        return has_happened or self._pass_time()

    def note(self, name: str, what: object) -> None:
        """Have this in the schedule that is shown when something is wrong."""
        self.schedule.note(self.num_steps, self.clock.monotonic_s(), name, what)

    # One step.

    def _run_while(self, is_so: IsSo, timeout_s: float | None) -> None:
        """Go on until it `is_so`, at most so long."""
        is_past: list[bool] = []
        if timeout_s is not None:
            self.later(timeout_s, lambda: is_past.append(True))
        while not is_so() and not is_past and self.step():
            pass

    def _pass_time(self) -> bool:
        """Go to what is next: by the clock, or by the number of the step."""
        next_s = self._agenda.next_s()
        if self._at_step and (next_s is None or self.rng.random() < 0.5):
            self.num_steps = min(self._at_step)
        elif next_s is not None:
            self.clock.move_to(next_s)
        else:
            return False
        return True

    def _happen(self) -> bool:
        has_happened = False
        while (happening := self._agenda.pop_due(self.clock.now_s)) is not None:
            happening()
            has_happened = True
        return has_happened

    def _chosen(self) -> Fiber | None:
        """Return one of those that can go on."""
        if self._ready:
            ready = [fiber for fiber in self._ready if self._can_go_on(fiber)]
            if len(ready) != len(self._ready):
                self._ready = dict.fromkeys(ready)
        else:
            ready = []
        if self._asking:
            ready += [fiber for fiber in self._asking if fiber not in self._ready and self._can_go_on(fiber)]
        if len(ready) <= 1:
            return ready[0] if ready else None
        return self.rng.choices(ready, [fiber.weight for fiber in ready])[0]

    def _can_go_on(self, fiber: Fiber) -> bool:
        if fiber.is_held or fiber.is_ended:
            return False
        is_late = fiber.until_s is not None and self.clock.now_s >= fiber.until_s
        return fiber.is_so is None or is_late or fiber.is_so()

    def _may_go_on(self, fiber: Fiber) -> None:
        if fiber in self._fibers:
            self._ready[fiber] = None

    def _go_on(self, fiber: Fiber) -> None:
        self._ready.pop(fiber, None)
        self._current, self.acting = fiber, fiber.name.rpartition(" ")[0] or fiber.name
        try:
            fiber.go_on()
        finally:
            self._current = None
        if fiber.is_ended and fiber in self._fibers:
            del self._fibers[fiber]
            self.note(fiber.name, "left")

    def _release(self, fiber: Fiber) -> None:
        self.set_held([fiber], is_held=False)

    def _actors(self) -> list[Actor[Any]]:
        return [actor for process in self.processes for actor in process.actors()]

    def _fiber_of(self, ref: ActorRef[Any]) -> Fiber | None:
        found = (process.worker_of(ref.actor_urn) for process in self.processes)
        return next((work.fiber for work in found if work is not None), None)

    def _still(self, why: str) -> StandsStill:
        living = ", ".join(fiber.name for fiber in self._fibers)
        return StandsStill(f"{why}\nThe end of the schedule:\n{self.schedule.tail()}\nThere are: {living}")
