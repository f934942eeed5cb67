"""What runs the loops of actors and whatever else goes on by itself, as a port; in production, a thread for each.

Threads, mailboxes, event loops and what threads wait by are all that a process needs of the machine besides its clock
and its sockets: whoever brings others has a whole cluster run as it wants, in one thread and in virtual time if need
be. Knows no actor in particular.
"""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from cluster.runtime.coroutines import Coroutines, ThreadCoroutines
from cluster.runtime.mailbox import Mailbox
from cluster.runtime.stuck import describe_thread
from cluster.runtime.woken_poll import WokenPoll
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


class Condition(Protocol):
    """What threads wait by for each other: as `threading.Condition`."""

    def __enter__(self) -> bool: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

    def wait(self, timeout: float | None = None) -> bool: ...

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool: ...

    def notify_all(self) -> None: ...


class Poll(Protocol):
    """What a thread waits by for sockets and for other threads: as `WokenPoll`."""

    def watch(self, fd: int) -> None: ...

    def unwatch(self, fd: int) -> None: ...

    def readable(self, timeout_s: float | None) -> list[int]: ...

    def wake(self) -> None: ...

    def close(self) -> None: ...


class Worker(Protocol):
    """Work that goes on by itself."""

    name: str

    def join(self, timeout: float | None = None) -> None:
        """Wait until it is done, at most `timeout` seconds."""
        ...

    def is_alive(self) -> bool: ...


class Scheduler(Protocol):
    """Runs actors and other work, and makes what they wait by."""

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

    def begin(self, name: str, work: Callable[[], object]) -> Worker:
        """Have `work` done beside everything else; it ends with the process at the latest."""
        ...

    def worker_of(self, actor_urn: str) -> Worker | None:
        """Return what performs an actor, named after it and its urn; None where it has left."""
        ...

    def condition(self) -> Condition: ...

    def poll(self) -> Poll: ...


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

    def begin(self, name: str, work: Callable[[], object]) -> Worker:
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread

    def worker_of(self, actor_urn: str) -> Worker | None:
        return thread_of(actor_urn)

    def condition(self) -> Condition:
        return threading.Condition()

    def poll(self) -> Poll:
        return WokenPoll()


def thread_of(actor_urn: str) -> threading.Thread | None:
    """Return the thread on which the actor runs, or None where it has ended."""
    return next((thread for thread in threading.enumerate() if thread.name.endswith(actor_urn)), None)


def name_of_actor(worker: Worker) -> str:
    """Return the name of the actor that `worker` performs."""
    return worker.name.rpartition(" ")[0]


def _perform(performer: Performer) -> None:
    performer.enter()
    while not performer.has_stopped():
        performer.act()
    performer.leave()
