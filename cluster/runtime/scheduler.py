"""What runs the loops of actors, as a port; in production, a thread for each. Knows no actor in particular.

Threads, mailboxes and event loops are all that actors need of the machine besides their clock: whoever brings another
scheduler and another clock has whole nodes run as it wants, in one thread and in virtual time if need be.
"""

import threading
from typing import Protocol

from cluster.runtime.coroutines import Coroutines, ThreadCoroutines
from cluster.runtime.mailbox import Mailbox
from cluster.runtime.stuck import describe_thread
from sage.base.clock import Clock


class Performer(Protocol):
    """An actor as its scheduler sees it: `enter`, `act` until it `has_stopped`, then `leave`; all on one thread."""

    name: str
    actor_urn: str
    mailbox: Mailbox

    def enter(self) -> None: ...

    def act(self) -> None:
        """Handle the next message, waiting for it; never raises."""
        ...

    def has_stopped(self) -> bool: ...

    def leave(self) -> None: ...


class Scheduler(Protocol):
    """Runs actors, and makes what they wait with."""

    def mailbox(self, clock: Clock, *, num_data: int, num_control: int) -> Mailbox:
        """Return the mailbox of an actor that will perform here."""
        ...

    def perform(self, performer: Performer) -> None:
        """Have `performer` act from now on; returns at once."""
        ...

    def doing(self, actor_urn: str) -> str | None:
        """Say what an actor is doing, as its user knows it; None where it has left."""
        ...

    def coroutines(self, name: str) -> Coroutines:
        """Return what runs the coroutines of one node's tasks; to be closed."""
        ...


class Threads:
    """A daemon thread for each actor, with the actor's name."""

    def mailbox(self, clock: Clock, *, num_data: int, num_control: int) -> Mailbox:
        return Mailbox(clock, num_data=num_data, num_control=num_control)

    def perform(self, performer: Performer) -> None:
        name = f"{performer.name} {performer.actor_urn}"
        threading.Thread(target=_perform, args=(performer,), name=name, daemon=True).start()

    def doing(self, actor_urn: str) -> str | None:
        thread = thread_of(actor_urn)
        return None if thread is None else describe_thread(thread)

    def coroutines(self, name: str) -> Coroutines:
        return ThreadCoroutines(name)


def thread_of(actor_urn: str) -> threading.Thread | None:
    """Return the thread on which the actor runs, or None where it has ended."""
    return next((thread for thread in threading.enumerate() if thread.name.endswith(actor_urn)), None)


def name_of_actor(thread: threading.Thread) -> str:
    """Return the name of the actor that runs on `thread`."""
    return thread.name.rpartition(" ")[0]


def _perform(performer: Performer) -> None:
    performer.enter()
    while not performer.has_stopped():
        performer.act()
    performer.leave()
