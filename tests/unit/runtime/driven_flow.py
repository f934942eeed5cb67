"""A flow driven by hand: its drives, the links between them and a disk in memory, in an order drawn from a seed."""

from collections.abc import Sequence
from random import Random

from cluster.jobs.tasks import tasks_from_plan
from cluster.runtime.cuts import Cut
from cluster.runtime.driven import DrivenTasks, Move
from cluster.runtime.messages import TaskFact
from cluster.runtime.workshop import OperatorWorkshop
from operators.index import IndexStore
from operators.machine import Call, CallResult
from sage.base.clock import ManualClock
from sage.base.ids import JobId, RequestId, TaskId
from sage.base.inference import Request
from sage.base.settings import RuntimeSettings
from sage.flow.graph import Graph
from sage.flow.plan import plan_from_graph


class DrivenFlow:
    """One run of a flow. Calls are answered and timers fire whenever the seed says, as if any time had passed."""

    def __init__(self, graph: Graph, rng: Random, *, begins_at: Cut | None = None, batch_records: int = 3) -> None:
        self.rng = rng
        self._calls: list[tuple[TaskId, Call]] = []
        self.tasks = DrivenTasks(
            tasks_from_plan(JobId("job"), plan_from_graph(graph)),
            self,
            rng=rng,
            clock=ManualClock(),
            settings=RuntimeSettings(batch_records=batch_records, inbox_batches=2),
            begins_at=begins_at,
        )
        self.tasks.begin(OperatorWorkshop(IndexStore(), batch_records=batch_records, rng=Random(1)))

    @property
    def is_over(self) -> bool:
        return self.tasks.is_over

    @property
    def newest(self) -> Cut | None:
        """The newest complete checkpoint."""
        return self.tasks.cuts.newest

    @property
    def num_complete(self) -> int:
        return self.tasks.cuts.num_complete

    def run(self, num_moves: int) -> None:
        """Make so many moves, or fewer to the end."""
        for _ in range(num_moves):
            if self.is_over:
                return
            if self.rng.random() < 0.1 or not self.tasks.move(self._answers()):
                self.tasks.fire_any()

    def run_out(self) -> None:
        """Go on to the end."""
        for _ in range(10_000):
            self.run(100)
            if self.is_over:
                return
            if self.tasks.cuts.has_all_finals:
                self.begin_checkpoint()
        raise AssertionError(f"it stands still: {self.tasks.moves()} of {list(self.tasks.drives)}")

    def begin_checkpoint(self) -> None:
        self.tasks.begin_checkpoint()

    def drop_checkpoint(self) -> None:
        self.tasks.drop_checkpoint()

    def _answers(self) -> list[Move]:
        return [(self._answer_call, call) for call in self._calls]

    def _answer_call(self, asked: tuple[TaskId, Call]) -> None:
        self._calls.remove(asked)
        task_id, call = asked
        coroutine = call.fn(call.value).__await__()
        try:
            next(coroutine)
        except StopIteration as ended:
            self.tasks.result(task_id, [CallResult(call.call_id, ended.value, None)])

    # What tasks ask for.

    def call(self, task_id: TaskId, calls: Sequence[Call]) -> None:
        self._calls.extend((task_id, call) for call in calls)

    def ask(self, task_id: TaskId, requests: Sequence[Request]) -> None:
        raise AssertionError(requests)

    def withdraw(self, request_ids: Sequence[RequestId]) -> None:
        raise AssertionError(request_ids)

    def told(self, fact: TaskFact) -> None:
        """What counts is counted by the tasks."""


def run_in_lives(graph: Graph, rng: Random, *, most_checkpoints: int, steps: Sequence[int]) -> None:
    """Run to the end in one to four further lives, each from the newest checkpoint; some come to nothing."""
    run = DrivenFlow(graph, rng)
    for _ in range(rng.randint(1, 4)):
        for _ in range(rng.randint(0, most_checkpoints)):
            run.begin_checkpoint()
            run.run(rng.choice(steps))
            if rng.random() < 0.2:
                run.drop_checkpoint()
        run = DrivenFlow(graph, rng, begins_at=run.newest)
    run.run_out()
