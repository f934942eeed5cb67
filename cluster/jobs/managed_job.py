"""A job as its manager has it: its newest run, what it set aside, how often it may begin anew. Decides nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pykka import ActorRef

from cluster.checkpoints.clerk import Done
from cluster.jobs.bookkeeper import JobRestarts
from cluster.jobs.job import JobEvent, JobOrder, RunFailed
from cluster.jobs.job_checkpoints import CheckpointDue, CheckpointPorts, JobCheckpoints
from cluster.jobs.nodes import Nodes
from cluster.jobs.orders import (
    CheckpointsLeft,
    CheckpointWritten,
    DeadLettersOf,
    ExplainJob,
    FindTask,
    JobPaused,
    JobView,
    OnChange,
    ResumePlan,
    SubmitPlan,
    TaskAt,
)
from cluster.jobs.run import JobRun
from cluster.jobs.set_aside import JobLetters
from cluster.runtime.actor import tell
from cluster.runtime.messages import JobTaskEnded, JobTaskSaved
from sage.base.clock import Clock
from sage.base.errors import CheckpointUnusable, DiskFull, JournalUnusable, NoRoom, SageError, StateUnreachable
from sage.base.ids import JobId
from sage.flow.plan import Plan
from sage.flow.runner import JobMetrics, JobStatus


@dataclass(slots=True)
class ManagedJob:
    """`plan`: None once the job is over: it holds the user's data."""

    plan: Plan | None
    run: JobRun
    on_change: OnChange
    started_s: float
    num_restarts_left: int
    num_restarts: int = 0
    letters: JobLetters = field(default_factory=JobLetters)
    loss: SageError | None = None  # why the newest run was begun
    waits_for: NoRoom | JournalUnusable | None = None  # why it has not begun yet
    checkpoints: JobCheckpoints | None = None

    @property
    def id(self) -> JobId:
        return self.run.deployment.job_id

    @property
    def restarts(self) -> JobRestarts:
        return JobRestarts(self.num_restarts, self.num_restarts_left)

    @property
    def is_placed(self) -> bool:
        """Say whether its newest run has nodes; it waits for them, or is over, where not."""
        return bool(self.run.nodes)

    def metrics(self, now_s: float) -> JobMetrics:
        machine = self.run.machine
        why = self.checkpoints.waits_for if self.checkpoints is not None and not machine.is_over else None
        status = JobStatus.PAUSED if why is not None and machine.status is JobStatus.RUNNING else machine.status
        return self.run.accounts.metrics(status, now_s - self.started_s, why.what if why is not None else "")

    def handle(self, event: JobEvent) -> list[JobOrder]:
        """Have its newest run take what happened: a run that ends for want of room begins anew once there may be some.

        That costs none of the restarts: a disk says by itself when it is mended, and the wait for that has an end.
        """
        if isinstance(event, RunFailed | JobTaskEnded) and isinstance(event.error, DiskFull):
            event = self.checkpoints.refused(event.error) if self.checkpoints is not None else _unkept(event.error)
        return self.run.machine.handle(event)

    def error(self) -> SageError | None:
        """Return why it failed or was cancelled, or why it begins anew."""
        machine = self.run.machine
        return machine.error or (None if machine.is_over else self.waits_for or self.loss)

    def view(self, now_s: float) -> JobView:
        is_leaving = self.checkpoints is not None and self.checkpoints.is_leaving
        is_over = self.run.machine.is_over and not is_leaving
        return JobView(self.metrics(now_s), self.error(), self.letters.num, is_over, self.run.id, self.num_restarts)

    def last_view(self, error: SageError) -> JobView:
        """Return what to tell where nobody is there any more to run it."""
        metrics = self.run.accounts.metrics(JobStatus.FAILED, 0.0)
        return JobView(metrics, error, self.letters.num, True, self.run.id, self.num_restarts)

    def keep_by(self, checkpoints: JobCheckpoints | None) -> None:
        """Let checkpoints, if there are to be any, hold what the job does, its dead letters too."""
        if checkpoints is not None:
            self.checkpoints = checkpoints
            self.letters = checkpoints.letters

    def outlook(self) -> tuple[object, ...]:
        """Return what others wait to hear of a job; how far it is can wait."""
        machine = self.run.machine
        return self.run.id, machine.status, machine.is_over, machine.error

    def run_moved_on(self) -> None:
        """Its newest run has another status: where its tasks work from now on, checkpoints begin."""
        if self.checkpoints is not None and self.run.machine.has_begun:
            self.checkpoints.begin(self.run)

    def begins(self, run: JobRun) -> None:
        """Account for its next run, which waits for nothing any more."""
        self.run = run
        self.waits_for = None

    def cannot_begin(self, error: NoRoom | JournalUnusable) -> None:
        """Account for a refusal to place its next run, or to write it down."""
        if self.loss is not None:
            error.add_note(f"the job was to begin anew after this: {self.loss}")
        self.waits_for = error

    def saved(self, fact: JobTaskSaved) -> None:
        """Account for what a task of the newest run has saved."""
        if self.checkpoints is not None:
            self.checkpoints.saved(fact)

    def checkpoint_due(self) -> None:
        if self.checkpoints is not None:
            self.checkpoints.due()

    def has_written(self, error: SageError | None) -> bool:
        """Account for a manifest; return whether the next run waited for it."""
        if self.checkpoints is not None:
            self.checkpoints.written(error)
        return not self.is_placed and not self.run.machine.is_over

    def about_folder(self, news: CheckpointsLeft | JobPaused) -> None:
        """Account for a folder of checkpoints that is free again; that a disk is full is known already."""
        if self.checkpoints is not None and isinstance(news, CheckpointsLeft):
            self.checkpoints.left()

    def put_off_s(self) -> float:
        """Return how long its next run is to wait, beside for nodes."""
        return self.checkpoints.put_off_s() if self.checkpoints is not None else 0.0

    def lose_run(self) -> None:
        """Account for a run that is no more; dead letters that come again are forgotten."""
        self.loss = self.run.machine.error
        self.num_restarts += 1
        self.num_restarts_left -= 0 if isinstance(self.loss, DiskFull) else 1
        self.letters.lose_run()
        if self.checkpoints is not None:
            self.checkpoints.end_run()


def checkpoints_of(
    job_id: JobId,
    wanted: SubmitPlan | ResumePlan,
    manager: ActorRef[Any],
    nodes: Nodes,
    *,
    set_timer: Callable[[CheckpointDue, float], object],
    fail: Callable[[JobRun, SageError], object],
    clock: Clock,
) -> JobCheckpoints | None:
    """Return the checkpoints of a job, if it takes any; their news come to its manager as messages."""
    if wanted.checkpoints is None:
        return None
    ports = CheckpointPorts(
        nodes=nodes,
        wake_in=lambda after_s: set_timer(CheckpointDue(job_id), after_s),
        fail=fail,
        written=lambda error: tell(manager, CheckpointWritten(job_id, error)),
        left=lambda: tell(manager, CheckpointsLeft(job_id)),
        paused=lambda: tell(manager, JobPaused(job_id)),
        clock=clock,
    )
    return JobCheckpoints(wanted.checkpoints, wanted.plan.graph.name, ports)


def answer_of_job(job: ManagedJob | None, nodes: Nodes, question: ExplainJob | DeadLettersOf | FindTask) -> object:
    """Answer what is asked of one job; None: it is not known. Raises StateUnreachable."""
    match question:
        case ExplainJob():
            return nodes.explain(job.run.placement) if job is not None else []
        case DeadLettersOf():
            return job.letters.newest() if job is not None else []
        case FindTask():
            return _task_at(job, nodes, question)


def _unkept(error: DiskFull) -> RunFailed:
    """Return the end of a run that has nothing to go on from once there is room."""
    do = 'Make room there and start the flow again. With checkpoint=sage.Checkpoint("DIR") it waits for room by itself.'
    failed = DiskFull(error.what, do)
    failed.__cause__ = error
    return RunFailed(failed)


def _task_at(job: ManagedJob | None, nodes: Nodes, wanted: FindTask) -> TaskAt:
    if job is not None and job.run.machine.has_begun:
        for task in job.run.deployment.tasks:
            is_it = task.instance == wanted.instance and any(step.name == wanted.step for step in task.chain.steps)
            if is_it and (node_id := job.run.nodes[task.id]) in nodes:  # a lost node's job stops for a while
                return TaskAt(nodes[node_id], job.run.id, task.id)
    do = "It is over, waits for room, or begins just now: see its status."
    raise StateUnreachable(f"job {wanted.job_id} does not run now", do)


def take_savepoint(job: ManagedJob | None, target: str, done: Done) -> None:
    """Have all that a job holds copied to the folder `target`; `done` is called once, perhaps on another thread."""
    if job is None or job.checkpoints is None:
        done(CheckpointUnusable("the job takes no checkpoints", 'Submit it with checkpoint=sage.Checkpoint("DIR").'))
    else:
        job.checkpoints.savepoint(target, done)
