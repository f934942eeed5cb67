"""JobManager: the actor that places jobs on nodes and obeys their machines. Knows nothing of what steps compute."""

from collections import deque
from collections.abc import Hashable
from random import Random
from types import TracebackType

from cluster.jobs.bookkeeper import Bookkeeper
from cluster.jobs.broken_gpus import struck
from cluster.jobs.job import (
    BeginAnew,
    BeginOn,
    CancelAsked,
    DeviceGone,
    JobEvent,
    JobOver,
    NodeGone,
    RecordsLost,
    RunFailed,
    StopOn,
)
from cluster.jobs.job_checkpoints import CheckpointDue, JobCheckpoints
from cluster.jobs.journal import Journal, MemoryJournal
from cluster.jobs.managed_job import ManagedJob, answer_of_job, checkpoints_of, take_savepoint
from cluster.jobs.node_news import CloseNode, LetEngineGo, NodeJoined, NodeLeft
from cluster.jobs.nodes import Nodes
from cluster.jobs.orders import (
    AboutCheckpoints,
    CancelJob,
    CheckpointsLeft,
    CheckpointWritten,
    CheckRoom,
    DeadLettersOf,
    ExplainJob,
    FindTask,
    JobPaused,
    ManagerMessage,
    NodesNow,
    PlaceEngines,
    ResumePlan,
    RunBroke,
    SavepointOf,
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
from sage.base.errors import InternalError, JobCancelled, JournalUnusable, NameTaken, NoRoom, SageError
from sage.base.ids import JobId, NodeId, new_id
from sage.flow.plan import Plan
from sage.flow.runner import JobStatus

PROGRESS_EVERY_S = 0.1
"""How often at most the progress of a job is told; what else happens to it is told at once."""
MAX_PAST_JOBS = 1_000
"""Jobs that are over and still known, with their dead letters; the newest stay."""


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
        self._jobs: dict[JobId, ManagedJob] = {}
        self._job_of_run: dict[JobId, JobId] = {}
        self._past: deque[JobId] = deque()
        self._moving: dict[JobId, None] = {}
        self._waiting = WaitingJobs(patience_s)

    def receive(self, message: ManagerMessage) -> object:
        match message:
            case NodeJoined() | CloseNode() | LetEngineGo():
                self._room_changed(message)
            case NodeLeft(node_id, error):
                self._left(node_id, error)
            case RunBroke(run_id, error):
                self._happened(run_id, RecordsLost(error))
            case SubmitPlan():
                return self._submit(message)
            case ResumePlan():
                self._resume(message)
            case CheckRoom(plan, engines):
                self._nodes.check(plan, tasks_from_plan(JobId("job"), plan), engines, self._taken())
            case PlaceEngines(parts, on_break):
                return self._nodes.place_engines(parts, self._taken(), on_break)
            case ExplainJob(job_id) | DeadLettersOf(job_id) | FindTask(job_id):
                return answer_of_job(self._jobs.get(job_id), self._nodes, message)
            case CancelJob(job_id):
                self._cancel(job_id)
            case NodesNow():
                return self._nodes.views(self._taken())
            case ActorEnded(_, name):
                self._left(NodeId(name), InternalError(f"node {name} ended"))
            case ActorFailed(_, name, error):
                self._left(NodeId(name), InternalError(f"node {name} broke: {type(error).__name__}: {error}"))
            case JobProgress() | JobSetAside():
                self._note(message)
            case JobTaskSaved() | CheckpointWritten() | CheckpointsLeft() | JobPaused() | SavepointOf():
                self._about_checkpoints(message)
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
                job.on_change(job.last_view(error))

    def _submit(self, wanted: SubmitPlan) -> JobId:
        job_id = wanted.job_id if wanted.job_id is not None else JobId(new_id("job", self._rng, num_chars=8))
        if job_id in self._jobs:
            raise NameTaken(f"there is a job {job_id} already")
        run = self._placed_run(job_id, wanted.plan, job_id, wanted.num_restarts)
        self._books.begin(run, wanted.plan.graph.name, wanted.code, wanted.num_restarts, wanted.about)
        job = self._jobs[job_id] = ManagedJob(
            plan=wanted.plan,
            run=run,
            on_change=wanted.on_change,
            started_s=self.clock.monotonic_s(),
            num_restarts_left=wanted.num_restarts,
        )
        job.keep_by(self._checkpoints(job_id, wanted))
        self._deploy(job)
        return job_id

    def _resume(self, wanted: ResumePlan) -> None:
        record, now_s = wanted.record, self.clock.monotonic_s()
        self._books.take_up(record)
        job = self._jobs[record.id] = ManagedJob(
            plan=wanted.plan,
            run=unplaced_run(record.id, run_id_of(record.id, record.num_restarts)),
            on_change=wanted.on_change,
            started_s=now_s - max(0.0, self.clock.unix_s() - record.created_unix_s),
            num_restarts_left=record.num_restarts_left,
            num_restarts=record.num_restarts,
        )
        job.keep_by(self._checkpoints(record.id, wanted))
        if wanted.refusal is not None:
            return self._give_up(job, wanted.refusal)
        self._waiting.add(record.id, now_s, wanted.after_s)
        self._place_waiting()

    def _placed_run(self, run_id: JobId, plan: Plan, job_id: JobId, num_restarts_left: int) -> JobRun:
        tasks = tasks_from_plan(run_id, plan)
        return new_run(job_id, tasks, self._nodes.place(plan, tasks, self._taken()), num_restarts_left)

    def _deploy(self, job: ManagedJob) -> None:
        run = job.run
        if job.checkpoints is not None:
            run.keep_by(job.checkpoints.keeping, job.checkpoints.types)
        self._job_of_run[run.id] = run.deployment.job_id
        self._changed(job)  # first: no other run gets the number of one that a node has seen
        for node_id in dict.fromkeys(run.nodes.values()):
            self._nodes[node_id].deploy(run.deployment)

    def _job_of(self, run_id: JobId) -> ManagedJob | None:
        """Return the job whose newest run this is; what comes from an older one counts no more."""
        return self._jobs.get(self._job_of_run.get(run_id, JobId("")))

    def _happened(self, run_id: JobId, event: JobEvent) -> None:
        if (job := self._job_of(run_id)) is None:
            return
        before = job.outlook()
        for order in job.handle(event):
            match order:
                case BeginOn(node_id):
                    self._nodes[node_id].begin(run_id)
                case StopOn(node_id):
                    self._nodes[node_id].stop(run_id)
                case JobOver():
                    self._over(job)
                case BeginAnew():
                    self._begin_anew(job)
        if job.outlook() == before:
            self._tell_soon(job)
        else:
            job.run_moved_on()
            self._changed(job)
        if job.run.machine.is_over:
            self._place_waiting()

    def _begin_anew(self, job: ManagedJob) -> None:
        """Begin the next run from the newest checkpoint, or from nothing: what came since then comes again."""
        del self._job_of_run[job.run.id]
        job.run.placement = Placement()  # what it held is free, for its successor too
        job.lose_run()
        job.run = unplaced_run(job.id, run_id_of(job.id, job.num_restarts))
        self._wait(job)

    def _wait(self, job: ManagedJob) -> None:
        """Begin the job's next run once there is room, and it is decided from which checkpoint."""
        if job.checkpoints is None or not job.checkpoints.is_writing:
            self._waiting.add(job.id, self.clock.monotonic_s(), job.put_off_s())
            self._place_waiting()

    def _place_waiting(self) -> None:
        """Begin the jobs for which there is room now, and give up those that have waited for too long."""
        now_s = self.clock.monotonic_s()
        for job_id in self._waiting.ready(now_s):
            job = self._jobs[job_id]
            assert job.plan is not None, "a job that is over does not wait"
            try:
                run = self._placed_run(job.run.id, job.plan, job_id, job.num_restarts_left)
                self._books.begin_anew(run, job.restarts)
            except (NoRoom, JournalUnusable) as error:
                job.cannot_begin(error)
                if isinstance(error, JournalUnusable):
                    self._waiting.put_off(job_id, now_s)
                if self._waiting.is_late(job_id, now_s):
                    self._give_up(job, error)
                else:
                    self._changed(job)
                continue
            self._waiting.remove(job_id)
            job.begins(run)
            self._deploy(job)
        if (due_s := self._waiting.next_s(now_s)) is not None:
            self.set_timer("room", max(0.0, due_s - now_s))

    def _cancel(self, job_id: JobId) -> None:
        job = self._jobs.get(job_id)
        if job is not None and not job.is_placed and not job.run.machine.is_over:
            self._give_up(job, JobCancelled(f"job {job_id} was cancelled"), JobStatus.CANCELLED)
        elif job is not None:
            self._happened(job.run.id, CancelAsked())

    def _give_up(self, job: ManagedJob, error: SageError, status: JobStatus = JobStatus.FAILED) -> None:
        """End a job of which nothing runs."""
        self._waiting.remove(job.id)
        job.run.machine.give_up(error, status)
        self._over(job)
        self._changed(job)

    def _over(self, job: ManagedJob) -> None:
        self._job_of_run.pop(job.run.id, None)
        job.plan = None
        job.run.let_go()
        if job.checkpoints is not None:
            job.checkpoints.over(is_finished=job.run.machine.status is JobStatus.FINISHED)
        self._past.append(job.id)
        while len(self._past) > MAX_PAST_JOBS:
            del self._jobs[self._past.popleft()]

    def _note(self, fact: JobProgress | JobSetAside) -> None:
        if (job := self._job_of(fact.job_id)) is None:
            return
        if isinstance(fact, JobProgress):
            job.run.accounts.report(fact.tasks)
            self._tell_soon(job)
        else:
            job.letters.add(fact.letters)

    def _tell_soon(self, job: ManagedJob) -> None:
        """Tell of progress within PROGRESS_EVERY_S: every node reports as often, and the sums take time."""
        if not self._moving:
            self.set_timer("progress", PROGRESS_EVERY_S)
        self._moving[job.id] = None

    def on_timer(self, timer_id: Hashable) -> None:
        if timer_id == "room":
            return self._place_waiting()
        if isinstance(timer_id, CheckpointDue):
            return self._jobs[timer_id.job_id].checkpoint_due() if timer_id.job_id in self._jobs else None
        moving, self._moving = self._moving, {}
        for job_id in moving:
            job = self._jobs.get(job_id)
            if job is not None and not job.run.machine.is_over:
                self._changed(job)

    def _changed(self, job: ManagedJob) -> None:
        view = job.view(self.clock.monotonic_s())
        self._books.note(job.run, view.metrics, job.restarts, num_dead_letters=job.letters.num, error=view.error)
        job.on_change(view)

    # Checkpoints.

    def _checkpoints(self, job_id: JobId, wanted: SubmitPlan | ResumePlan) -> JobCheckpoints | None:
        def fail(run: JobRun, error: SageError) -> None:
            self._happened(run.id, RunFailed(error))

        ref, nodes = self.actor_ref, self._nodes
        return checkpoints_of(job_id, wanted, ref, nodes, set_timer=self.set_timer, fail=fail, clock=self.clock)

    def _about_checkpoints(self, message: AboutCheckpoints) -> None:
        match message:
            case JobTaskSaved(run_id):
                if (job := self._job_of(run_id)) is not None:
                    job.saved(message)
            case CheckpointWritten(job_id, error):
                if (job := self._jobs.get(job_id)) is not None and job.has_written(error):
                    self._wait(job)
            case CheckpointsLeft(job_id) | JobPaused(job_id):
                if (job := self._jobs.get(job_id)) is not None:
                    job.about_folder(message)
                    self._changed(job)
            case SavepointOf(job_id, target, done):
                take_savepoint(self._jobs.get(job_id), target, done)

    def _room_changed(self, news: NodeJoined | CloseNode | LetEngineGo) -> None:
        """Count anew; what runs where a device has broken ends, and begins anew where there is another."""
        self._nodes.change(news)
        if isinstance(news, NodeJoined):
            for job in [job for job in self._jobs.values() if not job.run.machine.is_over]:
                for _, error in struck(job.run.placement.placed, news.node_id, news.offer):
                    self._happened(job.run.id, DeviceGone(error))
        self._place_waiting()

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
