"""The tasks of a job driven by hand, a move at a time, in an order drawn from a seed. Knows no thread, no real time.

A move is a step of a task, a message that arrives, or a checkpoint that is shown to be complete. What leaves the tasks
for somebody else, who answers when it likes, goes to an Outside.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf, nextafter
from random import Random
from typing import Any, Protocol

from cluster.runtime.cuts import Cut, Cuts
from cluster.runtime.drive import Drive
from cluster.runtime.drive_ports import Workshop
from cluster.runtime.gauge import Gauge
from cluster.runtime.links import Grant, Link, TaskMessage, recipient_of
from cluster.runtime.messages import TaskFact, TaskFinished, TaskSaved, TaskSpec
from cluster.runtime.saving import CheckpointStage, TaskState
from operators.machine import Call, CallResult, DeadLetter
from operators.partition import Partitioner
from sage.base.clock import Clock
from sage.base.ids import RequestId, TaskId
from sage.base.inference import Reply, Request
from sage.base.settings import RuntimeSettings
from sage.flow.runner import DeadLetterRecord

Move = tuple[Callable[[Any], object], Any]
"""What may happen next: a function, and what it is called with."""


class Outside(Protocol):
    """Whoever is asked by the tasks of a job, and hears from them."""

    def ask(self, task_id: TaskId, requests: Sequence[Request]) -> None: ...

    def withdraw(self, request_ids: Sequence[RequestId]) -> None: ...

    def call(self, task_id: TaskId, calls: Sequence[Call]) -> None: ...

    def free(self, task_id: TaskId, num_permits: int) -> None: ...

    def told(self, fact: TaskFact) -> None: ...


@dataclass(frozen=True, slots=True)
class KeptInMemory:
    """Keeps what one task holds in a Cuts; `kept` is what is made of it for that."""

    spec: TaskSpec
    cuts: Cuts
    begins_at: TaskState | None
    kept: Callable[[TaskSpec, TaskState], TaskState]

    def saved(self) -> TaskState | None:
        """Return a state of the task's own: it changes values in place, and others may go on from the same."""
        return None if self.begins_at is None else self.kept(self.spec, self.begins_at)

    def tables(self) -> None:
        return None

    def calls(self) -> None:
        return None

    def posts(self) -> None:
        return None

    def save(self, checkpoint_id: int | None, state: TaskState, *, commits: bool) -> None:
        self.cuts.take(self.spec.id, checkpoint_id, self.kept(self.spec, state))


def by_reference(spec: TaskSpec, state: TaskState) -> TaskState:
    """Keep a state as it is: what a snapshot failed to copy shows."""
    return state


class DrivenTasks:
    """One run of the tasks of a job. Whatever a task raises, the call that moved it raises."""

    def __init__(
        self,
        specs: Iterable[TaskSpec],
        outside: Outside,
        *,
        rng: Random,
        clock: Clock,
        settings: RuntimeSettings,
        is_kept: bool = True,
        begins_at: Cut | None = None,
        kept: Callable[[TaskSpec, TaskState], TaskState] = by_reference,
    ) -> None:
        """`is_kept`: checkpoints are taken. `begins_at`: the one to go on from."""
        self._specs = tuple(specs)
        self._outside = outside
        self._rng = rng
        self._clock = clock
        self._ways: dict[tuple[Link, bool], deque[TaskMessage]] = {}
        self._timers: dict[tuple[TaskId, int], float] = {}
        self._busy: dict[TaskId, None] = {}
        self._over: set[TaskId] = set()
        self.cuts = Cuts([spec.id for spec in self._specs], begins_at)
        self.gauges = {spec.id: Gauge() for spec in self._specs}
        self.drives = {
            spec.id: Drive(
                spec,
                DrivenHands(spec.id, self, outside),
                self.gauges[spec.id],
                split=Partitioner(spec.chain.steps[-1]).split,
                settings=settings,
                clock=clock,
                keeper=KeptInMemory(spec, self.cuts, (begins_at or {}).get(spec.id), kept) if is_kept else None,
            )
            for spec in self._specs
        }

    def begin(self, workshop: Workshop) -> None:
        """Open every task, then begin."""
        for drive in self.drives.values():
            drive.open(workshop)
        for task_id, drive in self.drives.items():
            drive.begin()
            self.wake(task_id)

    @property
    def is_over(self) -> bool:
        return len(self._over) == len(self.drives)

    def moves(self) -> list[Move]:
        """Return what may happen now, in an order that is the same in every run."""
        moves: list[Move] = [(self._step, task_id) for task_id in self._busy]
        moves += [(self._deliver, way) for way, messages in self._ways.items() if messages]
        return moves + [(self._commit, task_id) for task_id in self.cuts.to_commit if task_id not in self._over]

    def move(self, others: Sequence[Move] = ()) -> bool:
        """Make one of these moves, or of `others`; False where there is none."""
        moves = [*self.moves(), *others]
        if not moves:
            return False
        fn, given = self._rng.choice(moves)
        fn(given)
        return True

    def wake(self, task_id: TaskId) -> None:
        """Let the task be stepped again."""
        if task_id not in self._over:
            self._busy[task_id] = None

    def reply(self, task_id: TaskId, replies: Sequence[Reply]) -> None:
        if task_id not in self._over:
            self.drives[task_id].reply(replies)
            self.wake(task_id)

    def result(self, task_id: TaskId, results: Sequence[CallResult]) -> None:
        if task_id not in self._over:
            self.drives[task_id].result(results)
            self.wake(task_id)

    def give_up(self) -> list[Exception]:
        """End before the end; return what failed on the way."""
        left = [self.drives[task_id] for task_id in self.drives if task_id not in self._over]
        self._over.update(self.drives)
        self._busy.clear()
        self._ways.clear()
        self._timers.clear()
        return [error for drive in left for error in drive.give_up()]

    # Timers.

    def next_timer_s(self) -> float | None:
        """Return when the next timer is due."""
        return min(self._timers.values(), default=None)

    def fire_next(self) -> None:
        """Fire the timer that is due first; of several, the one set first."""
        self.fire(min(self._timers, key=self._timers.__getitem__))

    def fire_any(self) -> None:
        """Fire a timer drawn from all, as if it was due."""
        if self._timers:
            self.fire(self._rng.choice([*self._timers]))

    def fire(self, timer: tuple[TaskId, int]) -> None:
        del self._timers[timer]
        task_id, timer_id = timer
        if task_id not in self._over:
            self.drives[task_id].fire(timer_id)
            self.wake(task_id)

    # Checkpoints.

    def begin_checkpoint(self) -> None:
        """Ask for one, unless one is on its way or all is over."""
        if not self.is_over and (checkpoint_id := self.cuts.begin()) is not None:
            self._tell(checkpoint_id, CheckpointStage.TAKE)

    def drop_checkpoint(self) -> None:
        if (checkpoint_id := self.cuts.drop()) is not None:
            self._tell(checkpoint_id, CheckpointStage.DROP)

    def _tell(self, checkpoint_id: int, stage: CheckpointStage) -> None:
        for task_id in self.drives:
            if task_id not in self._over:
                self.drives[task_id].checkpoint(checkpoint_id, stage)
                self.wake(task_id)

    # Moves.

    def _step(self, task_id: TaskId) -> None:
        if not self.drives[task_id].step():
            self._busy.pop(task_id, None)

    def _deliver(self, way: tuple[Link, bool]) -> None:
        message = self._ways[way].popleft()
        task_id = recipient_of(message)
        if task_id not in self._over:
            self.drives[task_id].arrive(message)
            self.wake(task_id)

    def _commit(self, task_id: TaskId) -> None:
        self.drives[task_id].checkpoint(self.cuts.pop_commit(task_id), CheckpointStage.COMMIT)
        self.wake(task_id)

    # What hands do.

    def send(self, message: TaskMessage) -> None:
        self._ways.setdefault((message.link, isinstance(message, Grant)), deque()).append(message)

    def set_timer(self, task_id: TaskId, timer_id: int, after_s: float) -> None:
        now_s = self._clock.monotonic_s()
        self._timers.pop((task_id, timer_id), None)
        # However little it is, it is later: what looks at the clock then must see that it has moved.
        self._timers[task_id, timer_id] = max(now_s + after_s, nextafter(now_s, inf)) if after_s > 0 else now_s

    def told(self, fact: TaskFact) -> None:
        match fact:
            case TaskFinished(task_id):
                self._over.add(task_id)
                self._busy.pop(task_id, None)
            case TaskSaved(task_id, checkpoint_id, None) if checkpoint_id is not None:
                self.cuts.take(task_id, checkpoint_id, None)
            case _:
                pass
        self._outside.told(fact)


@dataclass(frozen=True, slots=True)
class DrivenHands:
    """The hands of one task."""

    task_id: TaskId
    tasks: DrivenTasks
    outside: Outside

    def send(self, message: TaskMessage) -> None:
        self.tasks.send(message)

    def ask(self, requests: Sequence[Request]) -> None:
        self.outside.ask(self.task_id, requests)

    def withdraw(self, request_ids: Sequence[RequestId]) -> None:
        self.outside.withdraw(request_ids)

    def call(self, calls: Sequence[Call]) -> None:
        self.outside.call(self.task_id, calls)

    def free(self, num_permits: int) -> None:
        self.outside.free(self.task_id, num_permits)

    def set_timer(self, timer_id: int, after_s: float) -> None:
        self.tasks.set_timer(self.task_id, timer_id, after_s)

    def wake(self) -> None:
        self.tasks.wake(self.task_id)

    def report(self, fact: TaskFact) -> None:
        self.tasks.told(fact)

    def keep_letter(self, record: DeadLetterRecord, letter: DeadLetter) -> None:
        """Letters are told; nothing is kept."""
