"""A flow driven by hand: its drives, the links between them and a disk in memory, in an order drawn from a seed."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from cluster.jobs.tasks import tasks_from_plan
from cluster.runtime.drive import Drive, Gauge
from cluster.runtime.links import Grant, Link, TaskMessage, recipient_of
from cluster.runtime.messages import TaskFact, TaskFinished, TaskSaved
from cluster.runtime.saving import CheckpointStage, TaskState
from cluster.runtime.workshop import OperatorWorkshop
from operators.index import IndexStore
from operators.machine import Call, CallResult, DeadLetter
from operators.partition import Partitioner
from sage.base.clock import ManualClock
from sage.base.ids import JobId, RequestId, TaskId
from sage.base.inference import Request
from sage.base.settings import RuntimeSettings
from sage.flow.graph import Graph
from sage.flow.plan import plan_from_graph
from sage.flow.runner import DeadLetterRecord

Cut = dict[TaskId, TaskState]


@dataclass
class MemoryKeeper:
    """Keeps states by reference: what is not copied by a snapshot shows."""

    task_id: TaskId
    begins_at: TaskState | None
    world: "DrivenFlow"

    def saved(self) -> TaskState | None:
        return self.begins_at

    def save(self, checkpoint_id: int | None, state: TaskState, *, commits: bool) -> None:
        if checkpoint_id is None:
            self.world.ended(self.task_id, state)
        else:
            self.world.answered(self.task_id, checkpoint_id, state)


class DrivenFlow:
    """One run of a flow. `newest` is its newest complete checkpoint."""

    def __init__(self, graph: Graph, rng: Random, *, begins_at: Cut | None = None, batch_records: int = 3) -> None:
        self.rng = rng
        self.newest: Cut | None = begins_at
        self.finals: Cut = {}
        self.num_complete = 0
        self._specs = {spec.id: spec for spec in tasks_from_plan(JobId("job"), plan_from_graph(graph))}
        self._ways: dict[tuple[Link, bool], deque[TaskMessage]] = {}
        self._calls: list[tuple[TaskId, Call]] = []
        self._timers: dict[TaskId, set[int]] = {}
        self._over: set[TaskId] = set()
        self._cut: Cut = {}
        self._checkpoint_id = 0
        self._awaited: set[TaskId] = set()
        self._is_dropped = False
        self._commits: dict[TaskId, deque[int]] = {}
        settings = RuntimeSettings(batch_records=batch_records, inbox_batches=2)
        workshop = OperatorWorkshop(IndexStore(), batch_records=batch_records, rng=Random(1))
        self.drives = {
            spec.id: Drive(
                spec,
                DrivenHands(spec.id, self),
                Gauge(),
                split=Partitioner().split,
                settings=settings,
                clock=ManualClock(),
                keeper=MemoryKeeper(spec.id, begins_at[spec.id] if begins_at is not None else None, self),
            )
            for spec in self._specs.values()
        }
        for drive in self.drives.values():
            drive.open(workshop)
        for drive in self.drives.values():
            drive.begin()

    @property
    def is_over(self) -> bool:
        return len(self._over) == len(self.drives)

    def run(self, num_moves: int) -> None:
        """Make so many moves, or fewer to the end."""
        for _ in range(num_moves):
            if self.is_over:
                return
            moves = (self._step, self._step, self._deliver, self._deliver, self._answer_call, self._fire, self._commit)
            self.rng.choice(moves)()

    def run_out(self) -> None:
        """Go on to the end."""
        for _ in range(10_000):
            self.run(100)
            if self.is_over:
                return
            if len(self.finals) == len(self.drives):
                self.begin_checkpoint()
        raise AssertionError(f"it stands still: {self._over} of {list(self.drives)} are over")

    def begin_checkpoint(self) -> None:
        """Ask for one, unless one is on its way."""
        if self._awaited or self.is_over:
            return
        self._checkpoint_id += 1
        self._cut = dict(self.finals)
        self._is_dropped = False
        self._awaited = self.drives.keys() - self.finals.keys()
        self._completed()
        for task_id in self.drives.keys() - self._over:
            self.drives[task_id].checkpoint(self._checkpoint_id, CheckpointStage.TAKE)

    def drop_checkpoint(self) -> None:
        if self._awaited:
            self._is_dropped = True
            for task_id in self.drives.keys() - self._over:
                self.drives[task_id].checkpoint(self._checkpoint_id, CheckpointStage.DROP)

    def answered(self, task_id: TaskId, checkpoint_id: int, state: TaskState | None) -> None:
        assert checkpoint_id == self._checkpoint_id
        if task_id in self.finals:
            return  # it passes on barriers while it waits to commit
        self._awaited.remove(task_id)
        self._is_dropped = self._is_dropped or state is None
        if state is not None:
            self._cut[task_id] = state
        self._completed()

    def ended(self, task_id: TaskId, state: TaskState) -> None:
        """Take a final state: it answers any checkpoint that the task has not answered."""
        self.finals[task_id] = state
        if task_id in self._awaited:
            self._awaited.remove(task_id)
            self._cut[task_id] = state
            self._completed()

    def _completed(self) -> None:
        if not self._awaited and self._cut and not self._is_dropped:
            self.newest, self._cut = self._cut, {}
            self.num_complete += 1
            for task_id in self.drives:
                self._commits.setdefault(task_id, deque()).append(self._checkpoint_id)

    # Moves.

    def _step(self) -> None:
        task_id = self.rng.choice([*self.drives])
        if task_id not in self._over:
            self.drives[task_id].step()

    def _deliver(self) -> None:
        ways = [way for way in self._ways.values() if way]
        if ways:
            message = self.rng.choice(ways).popleft()
            task_id = recipient_of(message)
            if task_id not in self._over:
                self.drives[task_id].arrive(message)

    def _answer_call(self) -> None:
        if self._calls:
            task_id, call = self._calls.pop(self.rng.randrange(len(self._calls)))
            coroutine = call.fn(call.value).__await__()
            try:
                next(coroutine)
            except StopIteration as ended:
                self.drives[task_id].result([CallResult(call.call_id, ended.value, None)])

    def _commit(self) -> None:
        told = [task_id for task_id, ids in self._commits.items() if ids and task_id not in self._over]
        if told:
            task_id = self.rng.choice(told)
            self.drives[task_id].checkpoint(self._commits[task_id].popleft(), CheckpointStage.COMMIT)

    def _fire(self) -> None:
        waiting = [(task_id, timer) for task_id, timers in self._timers.items() for timer in sorted(timers)]
        if waiting:
            task_id, timer = self.rng.choice(waiting)
            self._timers[task_id].remove(timer)
            self.drives[task_id].fire(timer)

    # What hands do.

    def send(self, message: TaskMessage) -> None:
        self._ways.setdefault((message.link, isinstance(message, Grant)), deque()).append(message)

    def call(self, task_id: TaskId, calls: Sequence[Call]) -> None:
        self._calls.extend((task_id, call) for call in calls)

    def set_timer(self, task_id: TaskId, timer_id: int) -> None:
        self._timers.setdefault(task_id, set()).add(timer_id)

    def told(self, fact: TaskFact) -> None:
        match fact:
            case TaskFinished(task_id):
                self._over.add(task_id)
            case TaskSaved(task_id, checkpoint_id, None) if checkpoint_id is not None:
                self.answered(task_id, checkpoint_id, None)
            case _:
                pass


@dataclass
class DrivenHands:
    task_id: TaskId
    world: DrivenFlow

    def send(self, message: TaskMessage) -> None:
        self.world.send(message)

    def ask(self, requests: Sequence[Request]) -> None:
        raise AssertionError(requests)

    def withdraw(self, request_ids: Sequence[RequestId]) -> None:
        raise AssertionError(request_ids)

    def call(self, calls: Sequence[Call]) -> None:
        self.world.call(self.task_id, calls)

    def set_timer(self, timer_id: int, after_s: float) -> None:
        self.world.set_timer(self.task_id, timer_id)

    def wake(self) -> None:
        raise AssertionError("no source of these flows is woken")

    def report(self, fact: TaskFact) -> None:
        self.world.told(fact)

    def keep_letter(self, record: DeadLetterRecord, letter: DeadLetter) -> None:
        """Letters are told; nothing is kept."""
