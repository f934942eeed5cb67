"""A world of one thread: a seeded random number says which actor is next, and time passes when a test wants it to.

A Scheduler for actors. What it leaves out: within the handling of one message no other actor acts, nothing blocks, and
whoever would wait for an answer on a thread of its own (`ask`, PlaneClient, LocalCluster) has no place here: the test
asks with `World.ask`. Knows no actor in particular.
"""

import zlib
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

import pykka
from pykka import ActorRef, Future
from pykka.messages import _ActorStop

from cluster.runtime.actor import Actor, Query, tell
from cluster.runtime.scheduler import Performer
from cluster.runtime.timers import TimerDue
from sage.base.clock import Clock
from tests.simulation.clock import Agenda, Happening, VirtualClock
from tests.simulation.coroutines import SimulatedCoroutines
from tests.simulation.mailbox import SimulatedMailbox

R = TypeVar("R")

MAX_STEPS = 200_000
STANDSTILL_S = 120.0
"""After so long with nothing but timers the world stands still: the longest that anything waits on purpose is 60 s."""

_LEN_TAIL = 80
_COSTS_S = (0.0, 0.00001, 0.002)
_WEIGHTS = (0.03, 1.0, 1.0, 1.0)


class StandsStill(AssertionError):
    """Nothing can happen any more, or nothing but timers does, and what was waited for has not come."""


class World:
    """Everything that is random is drawn from `rng`: the same seed gives the same schedule.

    `fingerprint` is of all messages that were handled, with their times: two equal ones are of one schedule. `acting`
    is the name of the actor that acts, or did so last; `held_s` is for how long actors were held in all.
    """

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.clock = VirtualClock()
        self.num_steps = 0
        self.fingerprint = 0
        self.acting = ""
        self.held_s = 0.0
        self.coroutines_of: dict[str, SimulatedCoroutines] = {}
        self._agenda = Agenda(Random(self.rng.getrandbits(64)))
        self._performers: dict[SimulatedMailbox, Performer] = {}
        self._entered: set[Performer] = set()
        self._ready: dict[SimulatedMailbox, None] = {}
        self._held: set[SimulatedMailbox] = set()
        self._weights: dict[SimulatedMailbox, float] = {}
        self._watchers: dict[int, SimulatedMailbox] = {}
        self._at_step: dict[int, list[Happening]] = {}
        self._tail: deque[tuple[int, float, str, object]] = deque(maxlen=_LEN_TAIL)
        self._last_news_s = 0.0
        self._num_fds = 0
        self.cost_s = self.rng.choice(_COSTS_S)
        self._interrupted_share = self.rng.choice((0.0, 0.1, 0.9))

    # The scheduler of actors.

    def mailbox(self, clock: Clock, *, num_data: int, num_control: int) -> SimulatedMailbox:
        return SimulatedMailbox(self, clock, num_data=num_data, num_control=num_control)

    def perform(self, performer: Performer) -> None:
        mailbox = performer.mailbox
        assert isinstance(mailbox, SimulatedMailbox)
        self._performers[mailbox] = performer
        self._weights[mailbox] = self.rng.choice(_WEIGHTS)
        self._ready[mailbox] = None

    def doing(self, actor_urn: str) -> str | None:
        names = (performer.name for performer in self._performers.values() if performer.actor_urn == actor_urn)
        return next((f"{name} (held by the simulation)" for name in names), None)

    def coroutines(self, name: str) -> SimulatedCoroutines:
        return self.coroutines_of.setdefault(name, SimulatedCoroutines(self.later))

    # What mailboxes say.

    def came(self, mailbox: SimulatedMailbox) -> None:
        if mailbox in self._performers and mailbox not in self._held:
            self._ready[mailbox] = None

    def comes_at(self, mailbox: SimulatedMailbox, at_s: float) -> None:
        self._agenda.add(at_s, lambda: self.came(mailbox))

    def watches(self, mailbox: SimulatedMailbox, fd: int) -> None:
        self._watchers[fd] = mailbox

    def got(self, mailbox: SimulatedMailbox, message: object) -> None:
        name = self._performers[mailbox].name
        self._note(name, message)
        done = f"{self.clock.monotonic_s()!r} {name} {type(message).__name__}"
        self.fingerprint = zlib.crc32(done.encode(), self.fingerprint)
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

    def is_readable(self, fd: int) -> None:
        """Let whoever watches `fd` be told."""
        watcher = self._watchers.get(fd)
        if watcher is not None:
            watcher.became_readable(fd)

    def hold(self, ref: ActorRef[Any], for_s: float) -> None:
        """Let an actor handle nothing for so long, as if the user's function that it is in did not return."""
        mailbox = ref.actor_inbox
        assert isinstance(mailbox, SimulatedMailbox)
        self._held.add(mailbox)
        self.held_s += for_s
        self._ready.pop(mailbox, None)
        self._note("world", f"hold {self._name(mailbox)} for {for_s:.3f} s")
        self.later(for_s, lambda: self._release(mailbox))

    def kill(self, refs: list[ActorRef[Any]]) -> None:
        """Let actors be no more, without a last word, as when their process is gone."""
        for ref in refs:
            mailbox = ref.actor_inbox
            assert isinstance(mailbox, SimulatedMailbox)
            performer = self._performers.get(mailbox)
            if performer is not None:
                self._forget(mailbox, performer)
                self._note(performer.name, "killed")
                ref.actor_stopped.set()
                mailbox.close()
                pykka.ActorRegistry.unregister(ref)

    def living(self) -> list[str]:
        """Return the names of all actors that have not left."""
        return [performer.name for performer in self._performers.values()]

    def refs(self, kind: type[Actor[Any]]) -> dict[str, ActorRef[Any]]:
        """Return the actors of a class that have not left, by name, in the order of their start."""
        return {actor.name: actor.actor_ref for actor in self._performers.values() if isinstance(actor, kind)}

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

    def run_until(self, is_so: Callable[[], bool], what: str) -> None:
        """Go on until it `is_so`; raises StandsStill with the end of the schedule where it never will be."""
        self._last_news_s = self.clock.monotonic_s()
        while not is_so():
            if not self.step():
                raise self._still(f"nothing can happen any more; waited for {what}")
            if self.clock.monotonic_s() - self._last_news_s > STANDSTILL_S:
                raise self._still(f"for {STANDSTILL_S:g} s there were only timers; waited for {what}")

    def run_out(self) -> None:
        """Go on until nothing is left to do: no message, no timer, nothing on its way."""
        self._at_step.clear()
        while self.step():
            pass

    def step(self) -> bool:
        """Let one actor handle one message, or time pass; False where nothing is left to do."""
        for happening in self._at_step.pop(self.num_steps, ()):
            happening()
        self.num_steps += 1
        if self.num_steps > MAX_STEPS:
            raise self._still(f"no end after {MAX_STEPS:,} steps")
        self._happen()
        if self._ready:
            self._act(self._chosen())
            self.clock.move_to(self.clock.monotonic_s() + self.rng.random() * self.cost_s)
            return True
        return self._pass_time()

    def tail(self) -> str:
        """Return the end of the schedule, a line a message."""
        return "\n".join(
            f"{number:>6} {at_s:>10.4f} s  {name}: {_described(what)}" for number, at_s, name, what in self._tail
        )

    # One step.

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

    def _happen(self) -> None:
        while (happening := self._agenda.pop_due(self.clock.monotonic_s())) is not None:
            happening()

    def _chosen(self) -> SimulatedMailbox:
        ready = list(self._ready)
        if len(ready) == 1:
            return ready[0]
        return self.rng.choices(ready, [self._weights[mailbox] for mailbox in ready])[0]

    def _act(self, mailbox: SimulatedMailbox) -> None:
        performer = self._performers[mailbox]
        self.acting = performer.name
        if performer not in self._entered:
            self._entered.add(performer)
            performer.enter()
        elif mailbox.is_ready():
            performer.act()
        if performer.has_stopped():
            performer.leave()
            self._forget(mailbox, performer)
            self._note(performer.name, "left")
        elif not mailbox.is_ready():
            self._ready.pop(mailbox, None)

    def _forget(self, mailbox: SimulatedMailbox, performer: Performer) -> None:
        self._entered.discard(performer)
        del self._performers[mailbox]
        self._ready.pop(mailbox, None)

    def _release(self, mailbox: SimulatedMailbox) -> None:
        self._held.discard(mailbox)
        self.came(mailbox)

    # The schedule.

    def _name(self, mailbox: SimulatedMailbox) -> str:
        performer = self._performers.get(mailbox)
        return performer.name if performer is not None else "an actor that has left"

    def _note(self, name: str, what: object) -> None:
        self._tail.append((self.num_steps, self.clock.monotonic_s(), name, what))

    def _still(self, why: str) -> StandsStill:
        living = ", ".join(self.living())
        return StandsStill(f"{why}\nThe end of the schedule:\n{self.tail()}\nActors: {living}")


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


def _described(what: object) -> str:
    text = what if isinstance(what, str) else repr(what)
    return text if len(text) < 160 else f"{text[:157]}..."
