"""The actor around one drive: its thread, its mailbox and its hands. Knows nothing of what the machine computes."""

from collections.abc import Callable, Hashable

from pykka import ActorDeadError

from cluster.runtime.actor import Actor, tell
from cluster.runtime.at_work import put_to_work
from cluster.runtime.caching import cache_of
from cluster.runtime.call_book import CallBook
from cluster.runtime.drive import Drive
from cluster.runtime.failures import exit_refused
from cluster.runtime.gauge import Gauge
from cluster.runtime.hands import TaskHands, TaskPorts
from cluster.runtime.inflow import Inflow
from cluster.runtime.links import Grant, TaskMessage
from cluster.runtime.lookup import LookUp, look_up
from cluster.runtime.messages import (
    Begin,
    CheckpointTask,
    GoOn,
    SomethingCame,
    StopTask,
    TaskFailed,
    TaskSpec,
    TaskStopped,
)
from operators.machine import CallResult
from operators.partition import Partitioner
from sage.base.devices import context_with
from sage.base.errors import InternalError, SageError
from sage.base.inference import Reply
from sage.base.log import get_log

Order = Begin | CheckpointTask | StopTask | GoOn | SomethingCame | LookUp | TaskMessage


class Task(Actor[Order]):
    """One instance of a chain. Its last word to the node is exactly one of TaskFinished, TaskStopped, TaskFailed."""

    def __init__(self, spec: TaskSpec, ports: TaskPorts, gauge: Gauge) -> None:
        num_batches = ports.settings.inbox_batches
        num_data = (
            len(spec.inputs) * (2 * num_batches + 3) + 1
        )  # of each link batches, as often Idle, a Barrier, an End; a GoOn
        super().__init__(spec.id, clock=ports.clock, scheduler=ports.scheduler, num_data=num_data)
        self._spec = spec
        self._ports = ports
        self._replies: Inflow[Reply] = Inflow(self._notify)
        self._results: Inflow[CallResult] = Inflow(self._notify)
        self._is_going = False
        self._context = context_with(spec.devices)  # in which all code of the user runs
        put_to_work(self._context, spec)
        keeper = ports.keeper_for(spec) if ports.keeper_for is not None else None
        calls = keeper.calls() if keeper is not None else None
        self._book = CallBook(calls) if calls is not None else None
        self._cache = cache_of(spec, ports.types)
        self._hands = TaskHands(
            spec,
            ports,
            self._replies.put,
            self._results.put,
            self.set_timer,
            self._notify,
            gauge,
            self._book,
            self._cache,
        )
        split = Partitioner(spec.chain.steps[-1]).split  # what leaves by key leaves a key_by
        self._drive = Drive(
            spec,
            self._hands,
            gauge,
            split=split,
            settings=ports.settings,
            clock=ports.clock,
            keeper=keeper,
        )

    def on_start(self) -> None:
        self._ports.transport.connect(self._spec.id, self._arrive)
        self._guarded(lambda: self._drive.open(self._ports.workshop))

    def receive(self, message: Order) -> None:
        match message:
            case StopTask():
                self._leave(TaskStopped(self._spec.id))
            case GoOn():
                self._is_going = False
                self._guarded(self._advance)
            case LookUp():
                self._context.run(look_up, self._drive.machine, message)
                self._guarded(self._advance)
            case _:
                self._guarded(lambda: self._take(message))

    def on_timer(self, timer_id: Hashable) -> None:
        assert isinstance(timer_id, int)
        self._guarded(lambda: self._fire(timer_id))

    def _take(self, message: Begin | CheckpointTask | SomethingCame | TaskMessage) -> None:
        match message:
            case Begin():
                self._drive.begin()
            case CheckpointTask(checkpoint_id, stage):
                self._drive.checkpoint(checkpoint_id, stage)
            case SomethingCame():
                self._drive.reply(self._hands.heard(self._replies.take()))
                self._drive.result(self._hands.returned(self._results.take()))
            case _:
                self._drive.arrive(message)
        if isinstance(message, CheckpointTask | Grant) and self.mailbox.has_urgent():
            return self._go_on()  # of many such, each would have a slow read before a StopTask behind them
        self._advance()

    def _fire(self, timer_id: int) -> None:
        self._drive.fire(timer_id)
        self._advance()

    def _advance(self) -> None:
        """Work until there is nothing to do, or until a control message waits: it goes first."""
        while self._drive.step():
            if self.mailbox.has_urgent() and not self._drive.is_over:
                return self._go_on()
        if self._drive.is_over:
            self._end()

    def _go_on(self) -> None:
        if not self._is_going:
            self._is_going = tell(self.actor_ref, GoOn())

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do `work` unless all is over; what it raises fails the task."""
        if self._drive.is_over:
            return
        try:
            self._context.run(work)
        except SageError as error:
            self._leave(TaskFailed(self._spec.id, error))
        except Exception as error:  # noqa: BLE001 - the job must learn of it, whatever it is
            internal = InternalError(f"task {self._spec.id} broke: {type(error).__name__}: {error}")
            internal.__cause__ = error
            self._leave(TaskFailed(self._spec.id, internal))
        except BaseException as error:  # noqa: BLE001 - sys.exit() of a user's function ends its job, nothing else
            self._leave(TaskFailed(self._spec.id, exit_refused(self._spec, error)))

    def _leave(self, last_word: TaskStopped | TaskFailed) -> None:
        """End before the end: let go of everything, whatever happens on the way."""
        if self._drive.is_over:
            return
        self._close_books()  # first: what the machine withdraws is asked again by whoever goes on
        for error in self._context.run(self._drive.give_up):
            get_log(task=self._spec.id).warning("letting go failed", why=str(error))
        self._ports.report(last_word)
        self._end()

    def _end(self) -> None:
        self._ports.transport.disconnect(self._spec.id)
        self._ports.coroutines.cancel(self._spec.id)
        self._close_books()
        self.stop()

    def _close_books(self) -> None:
        for kept in (self._book, self._cache):
            if kept is not None:
                kept.close()

    # Called on other threads.

    def _arrive(self, message: TaskMessage) -> bool:
        try:
            self.actor_ref.tell(message)
        except ActorDeadError:
            return False
        return True

    def _notify(self) -> None:
        tell(self.actor_ref, SomethingCame())
