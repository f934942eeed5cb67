"""JobManager: the actor that places jobs on nodes and obeys their machines. Knows nothing of what steps compute."""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from random import Random
from types import TracebackType

from cluster.jobs.bookkeeper import Bookkeeper
from cluster.jobs.explain import explain
from cluster.jobs.job import BeginAnew, BeginOn, CancelAsked, JobEvent, JobOver, NodeGone, RecordsLost, StopOn
from cluster.jobs.journal import Journal, MemoryJournal
from cluster.jobs.nodes import Nodes
from cluster.jobs.orders import (
    CancelJob,
    CheckRoom,
    CloseNode,
    DeadLettersOf,
    ExplainJob,
    JobView,
    ManagerMessage,
    NodeJoined,
    NodeLeft,
    NodesNow,
    OnChange,
    ResumePlan,
    RunBroke,
    SubmitPlan,
)
from cluster.jobs.placement import Placement, Strategy
from cluster.jobs.room import Placed
from cluster.jobs.run import JobRun, new_run, run_id_of, unplaced_run
from cluster.jobs.tasks import tasks_from_plan
from cluster.jobs.waiting import WaitingJobs
from cluster.runtime.actor import Actor, ActorEnded, ActorFailed
from cluster.runtime.messages import JobProgress, JobSetAside, JobTaskSaved
from cluster.runtime.scheduler import Scheduler
from sage.base.clock import Clock
from sage.base.errors import InternalError, JobCancelled, NameTaken, NoRoom, SageError
from sage.base.ids import JobId, NodeId, new_id
from sage.flow.plan import Plan
from sage.flow.runner import DeadLetterRecord, JobStatus, NodeView

PROGRESS_EVERY_S = 0.1
"""How often at most the progress of a job is told; what else happens to it is told at once."""

MAX_DEAD_LETTERS = 10_000
"""Dead letters of a job that are kept; the newest stay, all are counted."""

MAX_PAST_JOBS = 1_000
"""Jobs that are over and still known, with their dead letters; the newest stay."""


@dataclass(slots=True)
class _Job:
    """`plan`: None once the job is over: it holds the user's data."""

    plan: Plan | None
    run: JobRun
    on_change: OnChange
    started_s: float
    letters: deque[DeadLetterRecord]
    num_restarts_left: int
    num_restarts: int = 0
    num_letters: int = 0
    loss: SageError | None = None  # why the newest run was begun
    waits_for: NoRoom | None = None  # why it has not begun yet


class JobManager(Actor[ManagerMessage]):
    """Runs any number of jobs side by side."""

    def __init__(
        self,
        clock: Clock,
        rng: Random,
        strategy: Strategy = Strategy.SPREAD,
        *,
        journal: Journal | None = None,
        patience_s: float = 0.0,
        scheduler: Scheduler | None = None,
    ) -> None:
        """`journal`: where jobs are written down, closed by whoever opened it; by default it ends with this process.

        `patience_s`: how long a job that begins again waits for nodes that have room.
        """
        super().__init__("job manager", clock=clock, scheduler=scheduler)
        self._books = Bookkeeper(journal if journal is not None else MemoryJournal(), clock)
        self._rng = rng
        self._nodes = Nodes(strategy)
        self._jobs: dict[JobId, _Job] = {}
        self._job_of_run: dict[JobId, JobId] = {}
        self._past: deque[JobId] = deque()
        self._moving: set[JobId] = set()
        self._waiting = WaitingJobs(patience_s)

    def receive(self, message: ManagerMessage) -> object:
        match message:
            case NodeJoined(node_id, node, offer):
                self._nodes.join(node_id, node, offer)
                self._place_waiting()
            case NodeLeft(node_id, error):
                self._left(node_id, error)
            case RunBroke(run_id, error):
                self._happened(run_id, RecordsLost(error))
            case CloseNode(node_id, is_closed):
                self._nodes.close(node_id, is_closed=is_closed)
                self._place_waiting()
            case SubmitPlan():
                return self._submit(message)
            case ResumePlan():
                self._resume(message)
            case CheckRoom(plan):
                self._nodes.place(plan, tasks_from_plan(JobId("job"), plan), self._taken())
            case ExplainJob(job_id):
                return explain(self._jobs[job_id].run.placement) if job_id in self._jobs else []
            case CancelJob(job_id):
                self._cancel(job_id)
            case DeadLettersOf(job_id):
                return list(self._jobs[job_id].letters) if job_id in self._jobs else []
            case NodesNow():
                return [
                    NodeView(r.node_id, r.offer.total, r.free, r.num_parts) for r in self._nodes.rooms(self._taken())
                ]
            case ActorEnded(_, name):
                self._left(NodeId(name), InternalError(f"node {name} ended"))
            case ActorFailed(_, name, error):
                self._left(NodeId(name), InternalError(f"node {name} broke: {type(error).__name__}: {error}"))
            case JobProgress() | JobSetAside():
                self._note(message)
            case JobTaskSaved():
                pass  # no run takes checkpoints yet
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
            if not job.run.machine.is_over:
                metrics = job.run.accounts.metrics(JobStatus.FAILED, 0.0)
                job.on_change(JobView(metrics, error, job.num_letters, True, job.run.id, job.num_restarts))

    # Jobs.

    def _submit(self, wanted: SubmitPlan) -> JobId:
        job_id = wanted.job_id if wanted.job_id is not None else JobId(new_id("job", self._rng, num_chars=8))
        if job_id in self._jobs:
            raise NameTaken(f"there is a job {job_id} already")
        run = self._placed_run(job_id, wanted.plan, job_id, wanted.num_restarts)
        self._books.begin(run, wanted.plan.graph.name, wanted.code, wanted.num_restarts, wanted.about)
        job = self._jobs[job_id] = _Job(
            plan=wanted.plan,
            run=run,
            on_change=wanted.on_change,
            started_s=self.clock.monotonic_s(),
            letters=deque(maxlen=MAX_DEAD_LETTERS),
            num_restarts_left=wanted.num_restarts,
        )
        self._deploy(job)
        return job_id

    def _resume(self, wanted: ResumePlan) -> None:
        record, now_s = wanted.record, self.clock.monotonic_s()
        self._books.take_up(record)
        job = self._jobs[record.id] = _Job(
            plan=wanted.plan,
            run=unplaced_run(record.id, run_id_of(record.id, record.num_restarts)),
            on_change=wanted.on_change,
            started_s=now_s - max(0.0, self.clock.unix_s() - record.created_unix_s),
            letters=deque(maxlen=MAX_DEAD_LETTERS),
            num_restarts_left=record.num_restarts_left,
            num_restarts=record.num_restarts,
        )
        if wanted.refusal is not None:
            return self._give_up(job, wanted.refusal)
        self._waiting.add(record.id, now_s, wanted.after_s)
        self._place_waiting()

    def _placed_run(self, run_id: JobId, plan: Plan, job_id: JobId, num_restarts_left: int) -> JobRun:
        tasks = tasks_from_plan(run_id, plan)
        return new_run(job_id, tasks, self._nodes.place(plan, tasks, self._taken()), num_restarts_left)

    def _deploy(self, job: _Job) -> None:
        run = job.run
        self._job_of_run[run.id] = run.deployment.job_id
        self._changed(job)  # first: no other run gets the number of one that a node has seen
        for node_id in dict.fromkeys(run.nodes.values()):
            self._nodes[node_id].deploy(run.deployment)

    def _job_of(self, run_id: JobId) -> _Job | None:
        """Return the job whose newest run this is; what comes from an older one counts no more."""
        return self._jobs.get(self._job_of_run.get(run_id, JobId("")))

    def _happened(self, run_id: JobId, event: JobEvent) -> None:
        if (job := self._job_of(run_id)) is None:
            return
        before = _outlook(job)
        for order in job.run.machine.handle(event):
            match order:
                case BeginOn(node_id):
                    self._nodes[node_id].begin(run_id)
                case StopOn(node_id):
                    self._nodes[node_id].stop(run_id)
                case JobOver():
                    self._over(job)
                case BeginAnew():
                    self._begin_anew(job)
        if _outlook(job) == before:
            self._tell_soon(job)
        else:
            self._changed(job)
        if job.run.machine.is_over:
            self._place_waiting()

    def _begin_anew(self, job: _Job) -> None:
        """Begin the next run from nothing: what the last one read, counted and set aside comes again."""
        lost, job_id, plan = job.run, job.run.deployment.job_id, job.plan
        assert plan is not None, "a job that is over does not begin anew"
        del self._job_of_run[lost.id]
        lost.placement = Placement()  # what it held is free, for its successor too
        job.loss = lost.machine.error
        job.num_restarts += 1
        job.num_restarts_left -= 1
        job.letters.clear()
        job.num_letters = 0
        job.run = unplaced_run(job_id, run_id_of(job_id, job.num_restarts))
        self._waiting.add(job_id, self.clock.monotonic_s())
        self._place_waiting()

    def _place_waiting(self) -> None:
        """Begin the jobs for which there is room now, and give up those that have waited for too long."""
        now_s = self.clock.monotonic_s()
        for job_id in self._waiting.ready(now_s):
            job = self._jobs[job_id]
            assert job.plan is not None, "a job that is over does not wait"
            try:
                run = self._placed_run(job.run.id, job.plan, job_id, job.num_restarts_left)
            except NoRoom as error:
                self._found_no_room(job, error, is_late=self._waiting.is_late(job_id, now_s))
                continue
            self._waiting.remove(job_id)
            job.run = run
            job.waits_for = None
            self._deploy(job)
        if (due_s := self._waiting.next_s(now_s)) is not None:
            self.set_timer("room", max(0.0, due_s - now_s))

    def _found_no_room(self, job: _Job, error: NoRoom, *, is_late: bool) -> None:
        if job.loss is not None:
            error.add_note(f"the job was to begin anew after this: {job.loss}")
        if is_late:
            return self._give_up(job, error)
        job.waits_for = error
        self._changed(job)

    def _cancel(self, job_id: JobId) -> None:
        job = self._jobs.get(job_id)
        if job is not None and job_id in self._waiting:
            self._give_up(job, JobCancelled(f"job {job_id} was cancelled"), JobStatus.CANCELLED)
        elif job is not None:
            self._happened(job.run.id, CancelAsked())

    def _give_up(self, job: _Job, error: SageError, status: JobStatus = JobStatus.FAILED) -> None:
        """End a job of which nothing runs."""
        self._waiting.remove(job.run.deployment.job_id)
        job.run.machine.give_up(error, status)
        self._over(job)
        self._changed(job)

    def _over(self, job: _Job) -> None:
        self._job_of_run.pop(job.run.id, None)
        job.plan = None
        job.run.let_go()
        self._past.append(job.run.deployment.job_id)
        while len(self._past) > MAX_PAST_JOBS:
            del self._jobs[self._past.popleft()]

    def _note(self, fact: JobProgress | JobSetAside) -> None:
        if (job := self._job_of(fact.job_id)) is None:
            return
        if isinstance(fact, JobProgress):
            job.run.accounts.report(fact.tasks)
            self._tell_soon(job)
        else:
            job.letters.extend(fact.letters)
            job.num_letters += len(fact.letters)

    def _tell_soon(self, job: _Job) -> None:
        """Tell of progress within PROGRESS_EVERY_S: every node reports as often, and the sums take time."""
        if not self._moving:
            self.set_timer("progress", PROGRESS_EVERY_S)
        self._moving.add(job.run.deployment.job_id)

    def on_timer(self, timer_id: Hashable) -> None:
        if timer_id == "room":
            return self._place_waiting()
        moving, self._moving = self._moving, set()
        for job_id in moving:
            job = self._jobs.get(job_id)
            if job is not None and not job.run.machine.is_over:
                self._changed(job)

    def _changed(self, job: _Job) -> None:
        run, duration_s = job.run, self.clock.monotonic_s() - job.started_s
        metrics = run.accounts.metrics(run.machine.status, duration_s)
        error = run.machine.error or (None if run.machine.is_over else job.waits_for or job.loss)
        self._books.note(run, metrics, num_restarts=job.num_restarts, num_dead_letters=job.num_letters, error=error)
        job.on_change(JobView(metrics, error, job.num_letters, run.machine.is_over, run.id, job.num_restarts))

    # Nodes.

    def _left(self, node_id: NodeId, error: SageError) -> None:
        """Have every job that has tasks on a node that is no more begin anew, or fail."""
        if not self._nodes.leave(node_id):
            return
        for job in [job for job in self._jobs.values() if not job.run.machine.is_over]:
            if node_id in job.run.nodes.values():
                self._happened(job.run.id, NodeGone(node_id, error))

    def _taken(self) -> list[Placed]:
        """Return what the tasks of jobs that are not over hold."""
        live = [job.run for job in self._jobs.values() if not job.run.machine.is_over]
        return [placed for run in live for placed in run.placement.placed]


def _outlook(job: _Job) -> tuple[object, ...]:
    """Return what others wait to hear of a job; how far it is can wait."""
    machine = job.run.machine
    return job.run.id, machine.status, machine.is_over, machine.error
