"""The Pykka actor that all of ours derive from: typed receive, timers, supervision. Knows no actor in particular.

What Pykka leaves open is settled here: a scheduler runs the loop, the inbox is bounded, an exception in a `tell` never
vanishes (watchers get ActorFailed; a restartable actor is restarted within its budget), an `ask` has a deadline.
"""

import threading
from abc import abstractmethod
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Generic, TypeVar

import pykka
from pykka import ActorDeadError, ActorRef
from pykka._envelope import Envelope

from cluster.runtime.descriptors import Readable
from cluster.runtime.mailbox import NUM_CONTROL, NUM_DATA, Mailbox, MailboxFull
from cluster.runtime.scheduler import Scheduler, Threads, name_of_actor
from cluster.runtime.supervision import RestartBudget
from cluster.runtime.timers import TimerDue
from sage.base.clock import Clock, SystemClock
from sage.base.errors import InternalError
from sage.base.log import get_log

M = TypeVar("M")
R = TypeVar("R")


class Query(Generic[R]):
    """A message that is answered by an R; asked with `ask`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Watch:
    """Tell `watcher` when the actor ends: ActorEnded or ActorFailed."""

    watcher: ActorRef[Any]


@dataclass(frozen=True, slots=True)
class ActorEnded:
    """A watched actor stopped as it was asked to, or had ended before it was watched."""

    urn: str
    name: str


@dataclass(frozen=True, slots=True)
class ActorFailed:
    """A watched actor ended by an exception."""

    urn: str
    name: str
    error: BaseException


class ActorSilent(InternalError):
    """An actor did not answer within the deadline of an `ask`, or had ended."""


class Actor(pykka.ThreadingActor, Generic[M]):
    """An actor that receives messages of the union M, one at a time, where its scheduler runs it.

    `restartable`: after an exception `on_restart` is called and the actor goes on, up to 5 times in 60 s.
    """

    restartable: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        *,
        clock: Clock | None = None,
        scheduler: Scheduler | None = None,
        num_data: int = NUM_DATA,
        num_control: int = NUM_CONTROL,
    ) -> None:
        """`name` is what people read: the thread carries it. `num_*` bound the lanes of the mailbox."""
        self.name = name
        self.clock: Clock = clock if clock is not None else SystemClock()
        self._scheduler: Scheduler = scheduler if scheduler is not None else Threads()
        self.mailbox = self._scheduler.mailbox(self.clock, num_data=num_data, num_control=num_control)
        self._watchers: list[ActorRef[Any]] = []
        self._budget = RestartBudget()
        self._error: BaseException | None = None
        super().__init__()

    @abstractmethod
    def receive(self, message: M) -> object:
        """Handle `message`; what is returned answers an `ask`. Runs on the actor's thread."""

    def on_timer(self, timer_id: Hashable) -> None:
        """Handle a timer that came due."""
        raise InternalError(f"{self.name} set timer {timer_id!r} and does not handle it")

    def on_readable(self, fd: int) -> None:
        """Read what has come on a watched descriptor, until there is no more."""
        raise InternalError(f"{self.name} watches descriptor {fd} and does not handle it")

    def on_restart(self, error: BaseException) -> None:
        """Put the state right after `error`; called for restartable actors only."""

    def set_timer(self, timer_id: Hashable, after_s: float) -> None:
        """Have `on_timer(timer_id)` called in `after_s` seconds; replaces a timer of the same id."""
        self.mailbox.set_timer(timer_id, after_s)

    def cancel_timer(self, timer_id: Hashable) -> None:
        self.mailbox.cancel_timer(timer_id)

    def watch_fd(self, fd: int) -> None:
        """Have `on_readable(fd)` called while `fd` is readable."""
        self.mailbox.watch_fd(fd)

    def unwatch_fd(self, fd: int) -> None:
        self.mailbox.unwatch_fd(fd)

    # What Pykka calls.

    def _create_actor_inbox(self) -> Mailbox:  # type: ignore[override]  # Pykka calls it on the instance
        return self.mailbox

    def _start_actor_loop(self) -> None:
        self._scheduler.perform(self)

    def on_receive(self, message: Any) -> Any:
        match message:
            case TimerDue(timer_id):
                return self.on_timer(timer_id)
            case Readable(fd):
                return self.on_readable(fd)
            case Watch(watcher):
                return self._watchers.append(watcher)
            case _:
                return self.receive(message)

    # What the scheduler calls.

    def enter(self) -> None:
        try:
            self.on_start()
        except BaseException as error:  # noqa: BLE001 - whatever ends an actor is told to its watchers
            self._fail(error)

    def act(self) -> None:
        envelope = self.mailbox.get()
        try:
            answer = self._handle_receive(envelope.message)
        except BaseException as error:  # noqa: BLE001 - user code may raise SystemExit; Pykka would stop all actors
            self._handle_error(envelope, error)
        else:
            if envelope.reply_to is not None:
                envelope.reply_to.set(answer)

    def has_stopped(self) -> bool:
        return self.actor_stopped.is_set()

    def leave(self) -> None:
        self.mailbox.close()
        while not self.mailbox.empty():
            self._refuse(self.mailbox.get())
        ended: ActorEnded | ActorFailed = ActorEnded(self.actor_urn, self.name)
        if self._error is not None:
            ended = ActorFailed(self.actor_urn, self.name, self._error)
        for watcher in self._watchers:
            tell(watcher, ended)

    def _handle_error(self, envelope: Envelope[Any], error: BaseException) -> None:
        if envelope.reply_to is not None:
            envelope.reply_to.set_exception((type(error), error, error.__traceback__))
        elif self.restartable and self._budget.allows(self.clock.monotonic_s()):
            get_log(actor=self.name).error("actor restarted", exc_info=error)
            try:
                self.on_restart(error)
            except BaseException as second:  # noqa: BLE001 - an actor that cannot be put right fails like any other
                self._fail(second)
        else:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._error = error
        self._handle_failure(type(error), error, error.__traceback__)
        try:
            self.on_failure(type(error), error, error.__traceback__)
        except Exception as second:  # noqa: BLE001 - the watchers are told of the first
            get_log(actor=self.name).error("clean-up after a failure failed", exc_info=second)

    def _handle_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        get_log(actor=self.name).error("actor failed", exc_info=exception_value)
        pykka.ActorRegistry.unregister(self.actor_ref)
        self.actor_stopped.set()
        self._error = self._error if self._error is not None else exception_value

    def _refuse(self, envelope: Envelope[Any]) -> None:
        if isinstance(envelope.message, Watch):
            self._watchers.append(envelope.message.watcher)
        if envelope.reply_to is None:
            return
        if isinstance(envelope.message, pykka.messages._ActorStop):
            envelope.reply_to.set(None)
        else:
            dead = ActorDeadError(f"{self.name} ended before it handled the message")
            envelope.reply_to.set_exception((ActorDeadError, dead, None))


def tell(ref: ActorRef[Any], message: object) -> bool:
    """Send `message`; return False where the actor has ended or its mailbox is full (logged): never raises."""
    try:
        ref.tell(message)
    except ActorDeadError:
        return False
    except MailboxFull as error:
        get_log(actor=str(ref)).error("message refused", why=error.what)
        return False
    return True


def ask(ref: ActorRef[Any], query: Query[R], *, timeout_s: float) -> R:
    """Return the answer to `query`; raises what the actor raised, or ActorSilent after `timeout_s`."""
    try:
        answer: R = ref.actor_inbox.wait_for(ref.ask(query, block=False), timeout_s)  # type: ignore[attr-defined] # ours
    except pykka.Timeout as error:
        raise ActorSilent(f"{ref} did not answer {query!r} within {timeout_s} s") from error
    except ActorDeadError as error:
        raise ActorSilent(f"{ref} has ended and does not answer {query!r}") from error
    return answer


def watch(ref: ActorRef[Any], watcher: ActorRef[Any]) -> None:
    """Have `watcher` told ActorEnded or ActorFailed when the actor ends; at once where it already has."""
    if not tell(ref, Watch(watcher)):
        tell(watcher, ActorEnded(ref.actor_urn, ref.actor_class.__name__))


def stop(
    refs: Iterable[ActorRef[Any]],
    *,
    timeout_s: float,
    clock: Clock | None = None,
    scheduler: Scheduler | None = None,
) -> list[str]:
    """Stop actors and wait, `timeout_s` for all together; return the names of those that still run.

    `scheduler` is what performs them.
    """
    clock = clock if clock is not None else SystemClock()
    scheduler = scheduler if scheduler is not None else Threads()
    until_s = clock.monotonic_s() + timeout_s
    workers = [(ref, worker) for ref in refs if (worker := scheduler.worker_of(ref.actor_urn)) is not None]
    for ref, _ in workers:
        tell(ref, pykka.messages._ActorStop())
    for _, worker in workers:
        if worker is not threading.current_thread():
            worker.join(max(0.0, until_s - clock.monotonic_s()))
    return [name_of_actor(worker) for _, worker in workers if worker.is_alive()]
