"""The actor that hosts tasks: starts, watches, stops them and says how far they are. Knows nothing of whole jobs."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from types import TracebackType

import msgspec
from pykka import ActorRef

from cluster.runtime.actor import Actor, ActorEnded, ActorFailed, tell, watch
from cluster.runtime.drive_ports import Workshop
from cluster.runtime.gauge import Gauge
from cluster.runtime.hands import KeepLetter, TaskPorts
from cluster.runtime.hosted import HostedJob
from cluster.runtime.lookup import LookUp, task_is_gone
from cluster.runtime.messages import (
    Begin,
    BeginJob,
    CheckpointJob,
    CheckpointTask,
    DeployTasks,
    JobOpened,
    JobSetAside,
    JobStopped,
    JobTaskDrained,
    JobTaskSaved,
    NodeFact,
    NodeOrder,
    StopJob,
    StopTask,
    TaskDrained,
    TaskFact,
    TaskFailed,
    TaskFinished,
    TaskOpened,
    TaskSaved,
    TaskSetAside,
    TaskSpec,
    TaskStopped,
)
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.saving import Keeping, StateKeeper
from cluster.runtime.scheduler import Scheduler, Threads
from cluster.runtime.task import Task
from cluster.runtime.transport import Transport
from operators.machine import DeadLetter
from sage.base.clock import Clock
from sage.base.errors import InternalError
from sage.base.ids import JobId, NodeId, TaskId
from sage.base.inference import Inference
from sage.base.log import get_log
from sage.base.settings import RuntimeSettings
from sage.flow.runner import DeadLetterRecord

KeeperFor = Callable[[TaskSpec], StateKeeper]

PROGRESS_EVERY_S = 0.1
_COROUTINES_END_S = 0.5  # for coroutines to take their cancellation when the node ends


@dataclass(frozen=True, slots=True)
class NodePorts:
    """What a node works with. `report` takes facts on the node's thread, without waiting.

    `keepers`: who keeps what tasks hold; None where no job takes checkpoints.
    """

    transport: Transport
    inference: Inference | None
    workshop: Workshop
    report: Callable[[NodeFact], object]
    settings: RuntimeSettings
    clock: Clock
    scheduler: Scheduler = field(default_factory=Threads)
    keepers: Callable[[Keeping, RecordTypes, Callable[[TaskFact], None]], KeeperFor] | None = None
    keep_letter: KeepLetter | None = None


@dataclass(frozen=True, slots=True)
class _StopDeadline:
    job_id: JobId


@dataclass(frozen=True, slots=True)
class _ProgressDue:
    job_id: JobId


class Node(Actor[NodeOrder | ActorEnded | ActorFailed]):
    """Hosts the tasks of any number of jobs."""

    def __init__(self, node_id: NodeId, ports: NodePorts) -> None:
        super().__init__(node_id, clock=ports.clock, scheduler=ports.scheduler)
        self._id = node_id
        self._ports = ports
        self._coroutines = ports.scheduler.coroutines(f"{node_id} coroutines")
        self._jobs: dict[JobId, HostedJob] = {}
        self._refs: dict[TaskId, ActorRef[Task]] = {}
        self._of_urn: dict[str, TaskSpec] = {}
        self._job_of: dict[TaskId, JobId] = {}

    def receive(self, message: NodeOrder | ActorEnded | ActorFailed) -> None:
        match message:
            case DeployTasks():
                self._deploy(message)
            case BeginJob(job_id):
                self._begin(job_id)
            case CheckpointJob(job_id, checkpoint_id, stage):
                self._tell_live(job_id, CheckpointTask(checkpoint_id, stage))
            case StopJob(job_id):
                self._stop_job(job_id)
            case LookUp(_, task_id):
                if task_id not in self._refs or not tell(self._refs[task_id], message):
                    message.answer(None, task_is_gone(task_id))
            case ActorEnded(urn):
                self._ended(urn, None)
            case ActorFailed(urn, _, error):
                self._ended(urn, error)
            case _:
                self._note(message)

    def on_timer(self, timer_id: Hashable) -> None:
        match timer_id:
            case _StopDeadline(job_id):
                self._leave_behind(job_id)
            case _ProgressDue(job_id):
                if (job := self._jobs.get(job_id)) is not None:
                    self._report_progress(job, None)
                self._watch_progress(job_id)
            case _:
                super().on_timer(timer_id)

    def on_stop(self) -> None:
        self._let_go()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._let_go()

    def _let_go(self) -> None:
        for ref in self._refs.values():
            tell(ref, StopTask())
        doing = self._coroutines.close(_COROUTINES_END_S)
        if doing is not None:
            get_log(node=self._id).warning("still running", what=f"a coroutine in {doing}")

    def _deploy(self, order: DeployTasks) -> None:
        job_id = order.job_id
        job = self._jobs[job_id] = HostedJob(job_id, self._id)
        ports = TaskPorts(
            transport=self._ports.transport,
            coroutines=self._coroutines,
            inference=self._ports.inference,
            workshop=self._ports.workshop,
            report=self._take_fact,
            settings=self._ports.settings,
            clock=self.clock,
            scheduler=self._ports.scheduler,
            keeper_for=self._keeper_for(order),
            keep_letter=self._keep_letter,
            types=order.types,
        )
        for spec in order.tasks:
            gauge = Gauge()
            job.add(spec.id, gauge)
            self._job_of[spec.id] = job_id
            ref = self._refs[spec.id] = Task.start(spec, ports, gauge)
            self._of_urn[ref.actor_urn] = spec
            watch(ref, self.actor_ref)

    def _keeper_for(self, order: DeployTasks) -> KeeperFor | None:
        if order.keeping is None:
            return None
        if self._ports.keepers is None:
            raise InternalError(f"job {order.job_id} takes checkpoints, and node {self._id} has nowhere to keep them")
        return self._ports.keepers(order.keeping, order.types, self._take_fact)

    def _tell_live(self, job_id: JobId, message: CheckpointTask) -> None:
        job = self._jobs.get(job_id)
        for task_id in job.live() if job is not None and not job.is_stopping else ():
            tell(self._refs[task_id], message)

    def _take_fact(self, fact: TaskFact) -> None:
        tell(self.actor_ref, fact)

    def _begin(self, job_id: JobId) -> None:
        if (job := self._jobs.get(job_id)) is None:
            return
        for task_id in job.live():
            tell(self._refs[task_id], Begin())
        self._watch_progress(job_id)

    def _note(self, fact: TaskFact) -> None:
        """Take what a task says, unless its job is gone: a task left behind may end after all."""
        job = self._jobs.get(self._job_of.get(fact.task_id, JobId("")))
        if job is None:
            return
        match fact:
            case TaskOpened():
                if job.opened(fact):
                    self._ports.report(JobOpened(job.job_id, self._id, job.listings()))
            case TaskDrained(task_id):
                self._ports.report(JobTaskDrained(job.job_id, task_id))
            case TaskSetAside(_, letters):
                self._ports.report(JobSetAside(job.job_id, tuple(map(self._from_here, letters))))
            case TaskSaved(task_id, checkpoint_id, pieces, num_letters, error, commits):
                saved = JobTaskSaved(job.job_id, task_id, checkpoint_id, pieces, num_letters, error, commits)
                self._ports.report(saved)
            case TaskFinished() | TaskStopped() | TaskFailed():
                job.said(fact)

    def _keep_letter(self, spec: TaskSpec, record: DeadLetterRecord, letter: DeadLetter) -> None:
        if self._ports.keep_letter is not None:
            self._ports.keep_letter(spec, self._from_here(record), letter)

    def _from_here(self, letter: DeadLetterRecord) -> DeadLetterRecord:
        return msgspec.structs.replace(letter, node=self._id)

    def _ended(self, urn: str, error: BaseException | None) -> None:
        spec = self._of_urn.pop(urn, None)
        job = self._jobs.get(spec.job_id) if spec is not None else None
        if spec is None or job is None:
            return
        self._ports.transport.disconnect(spec.id)
        ended = job.ended(spec.id, error)
        self._report_progress(job, (spec.id,))
        self._ports.report(ended)
        if job.is_stopping and not job.live():
            self._forget(job, ())

    # Stopping.

    def _stop_job(self, job_id: JobId) -> None:
        """Stop all tasks; where none is left, say so at once."""
        job = self._jobs.get(job_id)
        if job is None:
            self._ports.report(JobStopped(job_id, self._id, ()))
            return
        if job.is_stopping:
            return
        job.is_stopping = True
        for task_id in job.live():
            tell(self._refs[task_id], StopTask())
        if job.live():
            self.set_timer(_StopDeadline(job_id), self._ports.settings.stop_timeout_s)
        else:
            self._forget(job, ())

    def _leave_behind(self, job_id: JobId) -> None:
        """Name the tasks that did not stop in time, and go on without them: their threads are daemons."""
        if (job := self._jobs.get(job_id)) is None:
            return
        stuck = []
        for task_id in job.live():
            doing = self._ports.scheduler.doing(self._refs[task_id].actor_urn)
            if doing is not None:
                stuck.append(f"task {task_id} in {doing}")
            self._ports.transport.disconnect(task_id)
        self._forget(job, tuple(stuck))

    def _forget(self, job: HostedJob, stuck: tuple[str, ...]) -> None:
        self.cancel_timer(_StopDeadline(job.job_id))
        self.cancel_timer(_ProgressDue(job.job_id))
        del self._jobs[job.job_id]
        for task_id in [task_id for task_id, job_id in self._job_of.items() if job_id == job.job_id]:
            del self._job_of[task_id], self._refs[task_id]
        self._ports.report(JobStopped(job.job_id, self._id, stuck))

    # Progress.

    def _watch_progress(self, job_id: JobId) -> None:
        job = self._jobs.get(job_id)
        if job is not None and job.live():
            self.set_timer(_ProgressDue(job_id), PROGRESS_EVERY_S)

    def _report_progress(self, job: HostedJob, task_ids: Iterable[TaskId] | None) -> None:
        progress = job.progress(task_ids)
        if progress is not None:
            self._ports.report(progress)
