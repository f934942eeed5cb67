"""JobManager: the actor that places jobs on nodes and obeys their machines. Knows nothing of what steps compute."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Any

from pykka import ActorRef

from cluster.jobs.accounts import Accounts
from cluster.jobs.explain import explain
from cluster.jobs.job import BeginOn, CancelAsked, JobEvent, JobMachine, JobOver, NodeGone, StopOn
from cluster.jobs.parts import parts_from_tasks
from cluster.jobs.placement import Placement, Strategy, place, rooms_of
from cluster.jobs.room import Placed, Room
from cluster.jobs.tasks import tasks_from_plan
from cluster.runtime.actor import Actor, ActorEnded, ActorFailed, Query, tell, watch
from cluster.runtime.messages import (
    BeginJob,
    DeployTasks,
    JobProgress,
    JobSetAside,
    NodeFact,
    StopJob,
    TaskSpec,
)
from cluster.runtime.scheduler import Scheduler
from sage.base.clock import Clock
from sage.base.errors import InternalError, SageError
from sage.base.ids import JobId, NodeId, TaskId, new_id
from sage.base.offer import NodeOffer
from sage.flow.plan import Plan
from sage.flow.runner import DeadLetterRecord, JobMetrics, JobStatus, NodeView
from sage.flow.spec import Read

MAX_DEAD_LETTERS = 10_000
"""Dead letters of a job that are kept; the newest stay, all are counted."""

MAX_PAST_JOBS = 1_000
"""Jobs that are over and still known, with their dead letters; the newest stay."""


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as seen from outside. `error` is why it failed or was cancelled; None otherwise."""

    metrics: JobMetrics
    error: SageError | None
    num_dead_letters: int
    is_over: bool


OnChange = Callable[[JobView], None]
"""Called on the manager's thread with every change; must return at once."""


@dataclass(frozen=True, slots=True)
class NodeJoined:
    """A node is there, or one that was offers something else now: what runs on it runs on."""

    node_id: NodeId
    ref: ActorRef[Any]
    offer: NodeOffer


@dataclass(frozen=True, slots=True)
class SubmitPlan(Query[JobId]):
    """Place the plan's tasks and start them. Answered by the id, or by NoRoom or FlowInvalid before anything runs."""

    plan: Plan
    on_change: OnChange


@dataclass(frozen=True, slots=True)
class CheckRoom(Query[None]):
    """Answered by NoRoom where the plan's tasks would not fit now; before anything is started for it."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class ExplainJob(Query[list[str]]):
    """Answered by a line for each task: where it is and why; by nothing for a job that is not known."""

    job_id: JobId


@dataclass(frozen=True, slots=True)
class CancelJob:
    job_id: JobId


@dataclass(frozen=True, slots=True)
class DeadLettersOf(Query[list[DeadLetterRecord]]):
    job_id: JobId


@dataclass(frozen=True, slots=True)
class NodesNow(Query[list[NodeView]]):
    """Ask for all nodes."""


ManagerMessage = (
    NodeJoined
    | CheckRoom
    | SubmitPlan
    | ExplainJob
    | CancelJob
    | DeadLettersOf
    | NodesNow
    | NodeFact
    | ActorEnded
    | ActorFailed
)


@dataclass(slots=True)
class _Job:
    machine: JobMachine
    accounts: Accounts
    placement: Placement
    nodes: Mapping[TaskId, NodeId]
    on_change: OnChange
    started_s: float
    letters: deque[DeadLetterRecord]
    num_letters: int = 0


class JobManager(Actor[ManagerMessage]):
    """Runs any number of jobs side by side."""

    def __init__(
        self, clock: Clock, rng: Random, strategy: Strategy = Strategy.SPREAD, *, scheduler: Scheduler | None = None
    ) -> None:
        super().__init__("job manager", clock=clock, scheduler=scheduler)
        self._rng = rng
        self._strategy = strategy
        self._nodes: dict[NodeId, tuple[ActorRef[Any], NodeOffer]] = {}
        self._jobs: dict[JobId, _Job] = {}
        self._past: deque[JobId] = deque()

    def receive(self, message: ManagerMessage) -> object:
        match message:
            case NodeJoined(node_id, ref, offer):
                self._joined(node_id, ref, offer)
            case SubmitPlan(plan, on_change):
                return self._submit(plan, on_change)
            case CheckRoom(plan):
                self._place(tasks_from_plan(JobId("job"), plan))
            case ExplainJob(job_id):
                return explain(self._jobs[job_id].placement) if job_id in self._jobs else []
            case CancelJob(job_id):
                self._happened(job_id, CancelAsked())
            case DeadLettersOf(job_id):
                job = self._jobs.get(job_id)
                return list(job.letters) if job is not None else []
            case NodesNow():
                return [NodeView(r.node_id, r.offer.total, r.free, r.num_parts) for r in self._rooms()]
            case JobProgress(job_id, _, tasks):
                if job := self._jobs.get(job_id):
                    job.accounts.report(tasks)
                    self._changed(job)
            case JobSetAside(job_id, letters):
                if job := self._jobs.get(job_id):
                    job.letters.extend(letters)
                    job.num_letters += len(letters)
            case ActorEnded(urn):
                self._lost(urn, "ended")
            case ActorFailed(urn, _, error):
                self._lost(urn, f"broke: {type(error).__name__}: {error}")
            case _:
                self._happened(message.job_id, message)
        return None

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let nobody wait for ever: every job that was not over has failed."""
        error = InternalError(f"the job manager broke: {exception_type and exception_type.__name__}: {exception_value}")
        error.__cause__ = exception_value
        for job in self._jobs.values():
            if not job.machine.is_over:
                job.on_change(JobView(job.accounts.metrics(JobStatus.FAILED, 0.0), error, job.num_letters, True))

    def _submit(self, plan: Plan, on_change: OnChange) -> JobId:
        job_id = JobId(new_id("job", self._rng, num_chars=8))
        tasks = tasks_from_plan(job_id, plan)
        placement = self._place(tasks)
        at = placement.nodes()
        nodes = {task.id: at[task.id] for task in tasks}
        sources = [task.id for task in tasks if isinstance(task.chain.steps[0].spec, Read)]
        job = self._jobs[job_id] = _Job(
            machine=JobMachine(job_id, dict.fromkeys(nodes.values()), nodes, sources),
            accounts=Accounts(tasks, nodes),
            placement=placement,
            nodes=nodes,
            on_change=on_change,
            started_s=self.clock.monotonic_s(),
            letters=deque(maxlen=MAX_DEAD_LETTERS),
        )
        for node_id in dict.fromkeys(nodes.values()):
            here = tuple(task for task in tasks if nodes[task.id] == node_id)
            tell(self._nodes[node_id][0], DeployTasks(job_id, here))
        self._changed(job)
        return job_id

    def _happened(self, job_id: JobId, event: JobEvent) -> None:
        if (job := self._jobs.get(job_id)) is None:
            return
        for order in job.machine.handle(event):
            match order:
                case BeginOn(node_id):
                    tell(self._nodes[node_id][0], BeginJob(job_id))
                case StopOn(node_id):
                    tell(self._nodes[node_id][0], StopJob(job_id))
                case JobOver():
                    self._past.append(job_id)
        self._changed(job)
        while len(self._past) > MAX_PAST_JOBS:
            del self._jobs[self._past.popleft()]

    def _changed(self, job: _Job) -> None:
        duration_s = self.clock.monotonic_s() - job.started_s
        metrics = job.accounts.metrics(job.machine.status, duration_s)
        job.on_change(JobView(metrics, job.machine.error, job.num_letters, job.machine.is_over))

    def _joined(self, node_id: NodeId, ref: ActorRef[Any], offer: NodeOffer) -> None:
        known = self._nodes.get(node_id)
        self._nodes[node_id] = (ref, offer)
        if known is None or known[0] != ref:
            watch(ref, self.actor_ref)

    def _place(self, tasks: tuple[TaskSpec, ...]) -> Placement:
        return place(parts_from_tasks(tasks), self._offers(), taken=self._taken(), strategy=self._strategy)

    def _rooms(self) -> list[Room]:
        return rooms_of(self._offers(), self._taken())

    def _offers(self) -> dict[NodeId, NodeOffer]:
        return {node_id: offer for node_id, (_, offer) in self._nodes.items()}

    def _taken(self) -> list[Placed]:
        """Return what the tasks of jobs that are not over hold."""
        return [placed for job in self._jobs.values() if not job.machine.is_over for placed in job.placement.placed]

    def _lost(self, urn: str, how: str) -> None:
        """Fail every job that has tasks on a node that is no more."""
        lost = next((node_id for node_id, (ref, _) in self._nodes.items() if ref.actor_urn == urn), None)
        if lost is None:
            return
        for job_id, job in self._jobs.items():
            if lost in job.nodes.values():
                self._happened(job_id, NodeGone(lost, InternalError(f"node {lost} {how}")))
        del self._nodes[lost]
