"""A flow driven by hand: its drives, the links between them and a disk in memory, in an order drawn from a seed."""

from collections.abc import Sequence
from random import Random

from cluster.checkpoints.manifest import Manifest, SavedTask
from cluster.checkpoints.restoring import state_for_task
from cluster.jobs.tasks import tasks_from_plan
from cluster.runtime.cuts import Cut
from cluster.runtime.driven import DrivenTasks, Move
from cluster.runtime.messages import TaskFact, TaskSpec
from cluster.runtime.saving import TaskState
from cluster.runtime.workshop import OperatorWorkshop
from operators.index import IndexStore
from operators.machine import Call, CallResult
from sage.base.clock import ManualClock
from sage.base.ids import EngineId, JobId, RequestId, TaskId
from sage.base.inference import ChatRequest, Finished, Request, Token, Usage
from sage.base.settings import RuntimeSettings
from sage.flow.graph import Graph
from sage.flow.plan import plan_from_graph


class DrivenFlow:
    """One run of a flow. Calls are answered and timers fire whenever the seed says, as if any time had passed.

    A simulated model, which repeats what it is asked, answers model steps as late.
    """

    def __init__(self, graph: Graph, rng: Random, *, begins_at: Cut | None = None, batch_records: int = 3) -> None:
        self.rng = rng
        self._calls: list[tuple[TaskId, Call]] = []
        self._requests: list[tuple[TaskId, ChatRequest]] = []
        self.tasks = DrivenTasks(
            _specs(graph),
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
        asked = [(self._answer_request, request) for request in self._requests]
        return [*((self._answer_call, call) for call in self._calls), *asked]

    def _answer_call(self, asked: tuple[TaskId, Call]) -> None:
        self._calls.remove(asked)
        task_id, call = asked
        coroutine = call.fn(call.value).__await__()
        try:
            next(coroutine)
        except StopIteration as ended:
            self.tasks.result(task_id, [CallResult(call.call_id, ended.value, None)])

    def _answer_request(self, asked: tuple[TaskId, ChatRequest]) -> None:
        self._requests.remove(asked)
        task_id, request = asked
        whole = Finished(request.id, "stop", Usage(1, 1), EngineId("simulated"))
        self.tasks.reply(task_id, [Token(request.id, request.messages[-1].content), whole])

    # What tasks ask for.

    def call(self, task_id: TaskId, calls: Sequence[Call]) -> None:
        self._calls.extend((task_id, call) for call in calls)

    def free(self, task_id: TaskId, num_permits: int) -> None:
        """Calls end in any order here, whatever permits they have."""

    def ask(self, task_id: TaskId, requests: Sequence[Request]) -> None:
        for request in requests:
            assert isinstance(request, ChatRequest), request
            self._requests.append((task_id, request))

    def withdraw(self, request_ids: Sequence[RequestId]) -> None:
        raise AssertionError(request_ids)

    def told(self, fact: TaskFact) -> None:
        """What counts is counted by the tasks."""


def _specs(graph: Graph) -> tuple[TaskSpec, ...]:
    return tasks_from_plan(JobId("job"), plan_from_graph(graph))


def dealt_out_anew(cut: Cut, before: Graph, now: Graph) -> Cut:
    """Return what the tasks of `now` go on from, where those of `before` came to `cut`: steps go by their names."""
    taken = {
        SavedTask(_names(spec), spec.instance, spec.chain.parallelism, ()): cut[spec.id] for spec in _specs(before)
    }
    manifest = Manifest(1, "driven", JobId("job"), 1.0, tuple(taken))
    found: list[tuple[TaskSpec, TaskState | None]] = [
        (spec, state_for_task(manifest, spec, taken.__getitem__)) for spec in _specs(now)
    ]
    return {spec.id: state for spec, state in found if state is not None}


def _names(spec: TaskSpec) -> tuple[str, ...]:
    return tuple(step.name for step in spec.chain.steps)


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
