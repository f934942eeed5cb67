"""A flow rehearsed in virtual time on one thread: for tests of flows. Decides only what happens next, by a seed."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from types import TracebackType
from typing import Any, Self

from cluster.checkpoints.joining import state_from_pieces
from cluster.checkpoints.pieces import PieceEncoder, frozen
from cluster.jobs.accounts import Accounts
from cluster.jobs.flow_types import flow_types
from cluster.jobs.tasks import tasks_from_plan
from cluster.local.explain import NODE_ID
from cluster.local.stand_in import check_models, replies_of
from cluster.runtime.driven import DrivenTasks, Move
from cluster.runtime.hosted import progress_of
from cluster.runtime.messages import TaskFact, TaskSetAside, TaskSpec
from cluster.runtime.saving import TaskState
from cluster.runtime.virtual_loop import VirtualCoroutines
from cluster.runtime.workshop import OperatorWorkshop
from operators.index import IndexStore
from operators.machine import Call
from sage.base.clock import SystemClock
from sage.base.errors import FlowInvalid, JobTimeout
from sage.base.ids import JobId, RequestId, TaskId
from sage.base.inference import Request
from sage.base.settings import RuntimeSettings
from sage.flow.connectors.http_source import posted_to
from sage.flow.graph import Graph, Step
from sage.flow.guarantees import guarantees_of
from sage.flow.plan import plan_from_graph
from sage.flow.rehearsal import Model
from sage.flow.runner import DeadLetterRecord, JobMetrics, JobResult, JobStatus
from sage.flow.spec import Read
from sage.flow.turns import chats_of

JOB_ID = JobId("rehearsal")
MAX_MOVES = 1_000_000
"""Moves without any time going on; a flow that makes more has a source that always has something."""

_INBOX_BATCHES = 2


class VirtualClock:
    """A clock that goes where it is told, from 0, for the epoch as well."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return self.now_s


class RehearsedFlow:
    """One rehearsal; see sage.flow.rehearsal.Rehearsal."""

    def __init__(
        self, graph: Graph, *, seed: int, models: Mapping[str, Model], checkpoints: bool, batch_records: int
    ) -> None:
        """Raises FlowInvalid for what cannot be rehearsed."""
        if chats := chats_of(graph):
            what = f"the flow answers chat requests, of {', '.join(chats)}, and a rehearsal has none"
            raise FlowInvalid(what, "Give the steps another source: from_collection of requests.")
        if posted := [source.name for step in graph.steps if (source := posted_to(step.spec)) is not None]:
            what = f"the flow reads what is posted to {', '.join(posted)}, and a rehearsal listens to nobody"
            raise FlowInvalid(what, "Give the steps another source: sage.testing.Scripted.")
        if cached := [step.name for step in graph.steps if getattr(step.spec, "cache", None) is not None]:
            what = f"step {cached[0]!r} keeps answers in a cache, and a rehearsal keeps nothing beyond itself"
            raise FlowInvalid(what, "Rehearse it without cache=.", param="cache")
        check_models(graph, models)
        self._clock = VirtualClock()
        self._graph = replace(graph, steps=tuple(_with_clock(step, self._clock) for step in graph.steps))
        self._specs = tasks_from_plan(JOB_ID, plan_from_graph(self._graph))
        self._rng = Random(seed)
        self._models = models
        self._types = flow_types(graph) if checkpoints else None
        self._settings = RuntimeSettings(batch_records=batch_records, inbox_batches=_INBOX_BATCHES)
        self._asked: dict[RequestId, tuple[TaskId, Request]] = {}
        self._coroutines = VirtualCoroutines(self._clock)
        self._letters: list[DeadLetterRecord] = []
        self._failed: BaseException | None = None
        self._tasks = self._begun()

    @property
    def now_s(self) -> float:
        return self._clock.now_s

    @property
    def is_over(self) -> bool:
        return self._tasks.is_over

    def settle(self) -> None:
        self._guarded(self._settle)

    def advance(self, seconds: float) -> None:
        if not 0 <= seconds < math.inf:
            raise FlowInvalid(f"time cannot go on by {seconds!r} s", param="seconds")
        self._guarded(lambda: self._advance_to(self.now_s + seconds))

    def finish(self, within_s: float = 86_400.0) -> JobResult:
        ends_s = self.now_s + within_s
        self._guarded(lambda: self._finish(ends_s))
        metrics = self.metrics()
        return JobResult(
            JOB_ID,
            JobStatus.FINISHED,
            metrics.records_in,
            metrics.records_out,
            len(self._letters),
            self.now_s,
            guarantees_of(self._graph, 0, is_kept=self._types is not None),
        )

    def checkpoint(self) -> None:
        if self._types is None:
            raise FlowInvalid("this rehearsal takes no checkpoints", "Write rehearse(flow, checkpoints=True).")
        self._guarded(self._take_checkpoint)

    def crash(self) -> None:
        self._let_go()
        self._letters.clear()
        self._failed = None
        newest = self._tasks.cuts.newest
        self._tasks = self._begun(newest)

    def dead_letters(self) -> list[DeadLetterRecord]:
        return list(self._letters)

    def metrics(self) -> JobMetrics:
        accounts = Accounts(self._specs, {spec.id: NODE_ID for spec in self._specs})
        accounts.report(progress_of(task_id, gauge) for task_id, gauge in self._tasks.gauges.items())
        if self._failed is not None:
            return accounts.metrics(JobStatus.FAILED, self.now_s)
        return accounts.metrics(JobStatus.FINISHED if self.is_over else JobStatus.RUNNING, self.now_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._let_go()

    # How it goes on.

    def _settle(self) -> None:
        for _ in range(MAX_MOVES):
            if not self._tasks.move(self._others()):
                return
        what = f"the flow made {MAX_MOVES:,} moves without any time going on"
        raise JobTimeout(what, "Give it a source that ends, or that pauses: sage.testing.Pause.")

    def _others(self) -> list[Move]:
        """Return what may happen beside the tasks: an answer of a model, a turn of the coroutines."""
        moves: list[Move] = [(self._answer, request_id) for request_id in self._asked]
        return [*moves, (self._coroutines.turn, None)] if self._coroutines.is_ready() else moves

    def _advance_to(self, until_s: float) -> None:
        self._settle()
        while (due_s := self._next_s()) is not None and due_s <= until_s:
            self._go_to(due_s)
        self._clock.now_s = until_s

    def _finish(self, ends_s: float) -> None:
        self._settle()
        while not self.is_over:
            due_s = self._next_s()
            if self._types is not None and self._tasks.cuts.has_all_finals and not self._tasks.cuts.is_on_its_way:
                self._take_checkpoint()  # what has two phases is shown by it
            elif due_s is None:
                raise JobTimeout("the flow waits for what no time brings", self._what_is_awaited())
            elif due_s > ends_s:
                self._clock.now_s = ends_s
                raise JobTimeout(f"the flow had not ended at {ends_s:g} s of virtual time", "finish(within_s=...).")
            else:
                self._go_to(due_s)

    def _go_to(self, due_s: float) -> None:
        self._clock.now_s = max(self.now_s, due_s)
        if (timer_s := self._tasks.next_timer_s()) is not None and timer_s <= self.now_s:
            self._tasks.fire_next()
        self._settle()

    def _next_s(self) -> float | None:
        found = (self._tasks.next_timer_s(), self._coroutines.next_s())
        return min((due_s for due_s in found if due_s is not None), default=None)

    def _what_is_awaited(self) -> str:
        if num := self._coroutines.num_running:
            return (
                f"{num} coroutines wait for something outside: give the step one that needs no network and no thread."
            )
        return "A source gives nothing and does not end."

    def _take_checkpoint(self) -> None:
        self._settle()
        self._tasks.begin_checkpoint()
        self._settle()

    # The run.

    def _begun(self, begins_at: dict[TaskId, TaskState] | None = None) -> DrivenTasks:
        tasks = DrivenTasks(
            self._specs,
            self,
            rng=self._rng,
            clock=self._clock,
            settings=self._settings,
            is_kept=self._types is not None,
            begins_at=begins_at,
            kept=self._kept,
        )
        self._tasks = tasks
        rng = Random(self._rng.getrandbits(64))
        records = self._settings.batch_records
        workshop = OperatorWorkshop(IndexStore(), batch_records=records, rng=rng, clock=self._clock)
        self._guarded(lambda: tasks.begin(workshop))
        return tasks

    def _kept(self, spec: TaskSpec, state: TaskState) -> TaskState:
        """Return the state as it would be read again; raises RecordUnsendable for what cannot be saved."""
        assert self._types is not None
        for step in state.steps.values():
            if step.settle is not None:
                step.settle()
        piece, _ = PieceEncoder().encode(frozen(state, self._types))
        return state_from_pieces([piece], self._types)

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do `work`; what fails in it ends the rehearsal, and is what the next call raises as well."""
        if self._failed is not None:
            raise self._failed
        try:
            work()
        except JobTimeout:
            raise
        except BaseException as error:
            self._failed = error
            self._let_go()
            raise

    def _let_go(self) -> None:
        self._asked.clear()
        self._coroutines.close()
        self._tasks.give_up()

    # What the tasks ask for.

    def _answer(self, request_id: RequestId) -> None:
        task_id, request = self._asked.pop(request_id)
        self._tasks.reply(task_id, replies_of(request, self._models))

    def ask(self, task_id: TaskId, requests: Sequence[Request]) -> None:
        self._asked.update({request.id: (task_id, request) for request in requests})

    def withdraw(self, request_ids: Sequence[RequestId]) -> None:
        for request_id in request_ids:
            self._asked.pop(request_id, None)

    def call(self, task_id: TaskId, calls: Sequence[Call]) -> None:
        self._coroutines.start(task_id, calls, lambda results: self._tasks.result(task_id, results))

    def free(self, task_id: TaskId, num_permits: int) -> None:
        self._coroutines.free(task_id, num_permits)

    def told(self, fact: TaskFact) -> None:
        if isinstance(fact, TaskSetAside):
            self._letters.extend(fact.letters)


def _with_clock(step: Step, clock: VirtualClock) -> Step:
    """Give a source that goes by the machine's clock the virtual one."""
    spec = step.spec
    if not isinstance(spec, Read) or not isinstance(getattr(spec.source, "clock", None), SystemClock):
        return step
    source: Any = spec.source
    return replace(step, spec=replace(spec, source=replace(source, clock=clock)))
