"""The checkpoints of one job over all of its runs: obeys their deciders. Knows nothing of placing and of jobs' ends."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pykka import ActorRef

from cluster.checkpoints.clerk import CompleteCheckpoint, CopyCheckpoint, Done, ForgetCheckpoints, LetGo
from cluster.checkpoints.letters import NO_LETTERS, HeldLetters, LetterPart, is_due, letter_part
from cluster.checkpoints.manifest import Manifest, SavedTask
from cluster.jobs.checkpointing import (
    Checkpointing,
    CheckpointOrder,
    CommitNow,
    DropNow,
    FailRun,
    GoOnReading,
    PauseReading,
    TakeNow,
    WakeIn,
    WriteManifest,
)
from cluster.jobs.disk_pause import DiskPause
from cluster.jobs.job import DiskRefused, RunFailed
from cluster.jobs.nodes import Nodes
from cluster.jobs.run import JobRun
from cluster.jobs.set_aside import JobLetters
from cluster.runtime.actor import tell
from cluster.runtime.messages import JobTaskSaved
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.saving import CheckpointStage, Keeping, SavedPieces
from sage.base.clock import Clock
from sage.base.errors import CheckpointUnusable, DiskFull, InternalError, SageError
from sage.base.ids import JobId, TaskId
from sage.base.log import get_log
from sage.base.settings import FULL_DISK_S
from sage.flow.checkpoint import StateKept
from sage.flow.state_form import forms_of

_NUM_SAVED = 4
"""States of a task that may yet be part of a checkpoint: that of the one on its way, and its last."""


@dataclass(frozen=True, slots=True)
class CheckpointPlan:
    """How a job takes checkpoints. `folder`: that of its flow; `next_id`: the number of its first.

    `begins_at`: from which one of `begins_in` it goes on, None for its start; that holds `letters`. `notes`: which
    newer ones were passed over, and why. `clerk` completes them. `on_over` is called once nothing more is written.
    `full_disk_s`: how long it waits for room on a disk.
    `dropped`: what may be let go; `lost`: steps of the flow that for this begin with nothing.
    """

    folder: str
    every_s: float
    timeout_s: float
    num_kept: int
    begins_at: int | None
    begins_in: str
    next_id: int
    clerk: ActorRef[Any]
    letters: HeldLetters = NO_LETTERS
    lost: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    state: StateKept = "memory"
    types: RecordTypes = field(default_factory=RecordTypes)
    on_over: Callable[[], object] = lambda: None
    notes: tuple[str, ...] = ()
    full_disk_s: float = FULL_DISK_S


@dataclass(frozen=True, slots=True)
class CheckpointDue:
    """The timer of one job: `JobCheckpoints.due` is to be called."""

    job_id: JobId


@dataclass(frozen=True, slots=True)
class CheckpointPorts:
    """What this works with, on the manager's thread. `written` has `JobCheckpoints.written` called there, from any.

    So has `left` `JobCheckpoints.left`. `paused` is called where the job waits for room from now on, or no more.
    """

    nodes: Nodes
    wake_in: Callable[[float], object]
    fail: Callable[[JobRun, SageError], object]
    written: Callable[[SageError | None], object]
    left: Callable[[], object]
    paused: Callable[[], object]
    clock: Clock


class JobCheckpoints:
    """`is_writing`: a manifest is on its way to the disk; until that is decided, no other run may begin.

    `is_leaving`: the job is over, and its folder is not yet another's to use.
    """

    def __init__(self, plan: CheckpointPlan, flow: str, ports: CheckpointPorts) -> None:
        self._plan = plan
        self._flow = flow
        self._ports = ports
        self._begins_at = plan.begins_at
        self._begins_in = plan.begins_in
        self._lost = plan.lost
        self._next_id = plan.next_id
        self._run: JobRun | None = None
        self._machine: Checkpointing | None = None
        self._manifest: Manifest | None = None
        self._num_letters: dict[TaskId, deque[tuple[SavedPieces, int]]] = {}
        self._savepoints: list[tuple[str, Done]] = []
        self._copying: list[tuple[str, Done]] = []
        self._is_over = False
        self.is_writing = False
        self.is_leaving = False
        self.num_complete = 0
        self._retry_s: float | None = None
        self._was_full: str | None = None
        self._pause = DiskPause(plan.full_disk_s)
        self._run_pause = DiskPause(plan.full_disk_s)  # of what runs ended by
        self.letters = JobLetters(plan.letters.newest, plan.letters.num)
        self._letter_pieces = plan.letters.pieces

    @property
    def keeping(self) -> Keeping:
        """Where the tasks of the next run save, and what they go on from."""
        return Keeping(self._plan.folder, self._begins_at, self._begins_in, self._plan.state, self._lost)

    @property
    def types(self) -> RecordTypes:
        return self._plan.types

    @property
    def waits_for(self) -> DiskFull | None:
        """What has no room, so that nothing is read now."""
        return self._pause.why or self._run_pause.why

    @property
    def begins_at(self) -> int | None:
        return self._begins_at

    def begin(self, run: JobRun) -> None:
        """A run works from now on; nothing happens where that is known."""
        plan = self._plan
        if self._run is run:
            return
        self._run = run
        self._num_letters = {}
        for pause in (self._pause, self._run_pause):
            pause.went_on(self._now_s())
        self._machine = Checkpointing(
            run.nodes, every_s=plan.every_s, timeout_s=plan.timeout_s, first_id=self._next_id, pause=self._pause
        )
        self._obey(self._machine.begin(self._now_s()))
        if self._savepoints:
            self._obey(self._machine.ask(self._now_s()))

    def due(self) -> None:
        if self._machine is not None:
            self._obey(self._machine.due(self._now_s()))

    def saved(self, fact: JobTaskSaved) -> None:
        if self._machine is not None:
            if fact.pieces is not None:
                saved = self._num_letters.setdefault(fact.task_id, deque(maxlen=_NUM_SAVED))
                saved.append((fact.pieces, fact.num_letters))
            orders = self._machine.saved(
                fact.task_id, fact.checkpoint_id, fact.pieces, fact.error, self._now_s(), commits=fact.commits
            )
            self._obey(orders)

    def savepoint(self, target: str, done: Done) -> None:
        """Have all that the job holds copied to another folder, as soon as a new checkpoint is complete."""
        if self._is_over or (self._machine is not None and self._machine.is_all_final):
            done(CheckpointUnusable("the job does not run any more, so it has nothing to save", "Ask while it runs."))
            return
        self._savepoints.append((target, done))
        if self._machine is not None:
            self._obey(self._machine.ask(self._now_s()))

    def written(self, error: SageError | None) -> None:
        """The manifest is on the disk, or could not be brought there; the run may be over meanwhile."""
        self.is_writing = False
        manifest, copying = self._manifest, self._copying
        self._manifest, self._copying = None, []
        assert manifest is not None
        if error is None:
            self._begins_at, self._begins_in, self._lost = manifest.checkpoint_id, self._plan.folder, ()
            self.num_complete += 1
            self._letter_pieces = manifest.letters
        self.letters.completed(is_good=error is None)
        for target, done in copying:
            if error is not None:
                done(error)
            elif not tell(self._plan.clerk, CopyCheckpoint(self._plan.folder, manifest, target, done)):
                done(InternalError("the checkpoint clerk has ended"))
        if self._machine is not None:
            self._obey(self._machine.written(error, self._now_s()))

    def refused(self, error: DiskFull) -> DiskRefused | RunFailed:
        """Return what it means for the run that there is no room for what it cannot go on without.

        Several of its tasks may say so: they wait together, once.
        """
        if self._pause.is_spent:
            return RunFailed(self._pause.given_up(error))
        if self._retry_s is None:
            self._retry_s = self._run_pause.refused(error, self._now_s())
            self._tell_pause()
        return RunFailed(self._run_pause.given_up(error)) if self._retry_s is None else DiskRefused(error)

    def put_off_s(self) -> float:
        """Return how long the next run is to wait: that a disk may have room by then."""
        retry_s, self._retry_s = self._retry_s, None
        return retry_s or 0.0

    def end_run(self) -> None:
        """The run is no more: what it had saved for a checkpoint that is not complete is lost."""
        if self._machine is not None:
            self._next_id = self._machine.next_id
        self._machine = self._run = None

    def over(self, *, is_finished: bool) -> None:
        """The job is over; where it has finished, its flow begins anew the next time."""
        self.end_run()
        self._is_over = True
        self._refuse_savepoints()
        plan = self._plan
        order = ForgetCheckpoints if is_finished else LetGo
        self.is_leaving = tell(plan.clerk, order(plan.folder, self._let_go))
        if not self.is_leaving:
            plan.on_over()

    def left(self) -> None:
        """The folder is free: whoever waits for the job's end may begin its flow again."""
        self.is_leaving = False

    def _let_go(self, error: SageError | None) -> None:
        """Called on the clerk's thread."""
        if error is not None:
            get_log(flow=self._flow).warning("checkpoints not removed", why=error.what)
        self._plan.on_over()
        self._ports.left()

    def _refuse_savepoints(self) -> None:
        savepoints, self._savepoints = self._savepoints, []
        for _, done in savepoints:
            done(CheckpointUnusable("the job was over before the savepoint was complete", "Ask earlier."))

    def _obey(self, orders: list[CheckpointOrder]) -> None:
        run = self._run
        assert run is not None
        for order in orders:
            match order:
                case TakeNow(checkpoint_id):
                    self._tell(run, checkpoint_id, CheckpointStage.TAKE)
                case DropNow(checkpoint_id):
                    get_log(flow=self._flow).warning("checkpoint given up", checkpoint=checkpoint_id)
                    self._tell(run, checkpoint_id, CheckpointStage.DROP)
                case CommitNow(checkpoint_id):
                    self._tell(run, checkpoint_id, CheckpointStage.COMMIT)
                case WakeIn(after_s):
                    self._ports.wake_in(after_s)
                case WriteManifest():
                    self._write(run, order)
                case PauseReading():
                    self._tell(run, 0, CheckpointStage.PAUSE)
                case GoOnReading():
                    self._tell(run, 0, CheckpointStage.GO_ON)
                case FailRun(error):
                    self._ports.fail(run, error)
        self._tell_pause()

    def _tell_pause(self) -> None:
        """Say once that the job waits for room, and once that it does no more."""
        why = self.waits_for.what if self.waits_for is not None else None
        if why == self._was_full:
            return
        self._was_full = why
        if why is not None:
            get_log(flow=self._flow).warning("job paused", why=why)
        else:
            get_log(flow=self._flow).warning("job goes on", why="it reads again")
        self._ports.paused()

    def _write(self, run: JobRun, order: WriteManifest) -> None:
        tasks = tuple(
            SavedTask(
                tuple(step.name for step in spec.chain.steps),
                spec.instance,
                spec.chain.parallelism,
                order.tasks[spec.id],
            )
            for spec in run.deployment.tasks
        )
        clock, plan = self._ports.clock, self._plan
        part, pieces = self._letters_of(run, order)
        self._manifest = Manifest(
            order.checkpoint_id,
            self._flow,
            run.id,
            clock.unix_s(),
            tasks,
            pieces,
            self.letters.num_held,
            forms_of(step for spec in run.deployment.tasks for step in spec.chain.steps),
            plan.dropped,
        )
        self._copying, self._savepoints = self._savepoints, []
        self.is_writing = True
        wanted = CompleteCheckpoint(
            plan.folder, self._manifest, plan.num_kept, self._ports.written, part, commits=order.commits
        )
        if not tell(plan.clerk, wanted):
            self._ports.written(InternalError("the checkpoint clerk has ended"))

    def _letters_of(self, run: JobRun, order: WriteManifest) -> tuple[LetterPart | None, SavedPieces]:
        """Return a file to be written, where letters are new, and what then makes the letters of a checkpoint."""
        new = self.letters.cut(
            {
                task_id: num
                for task_id, pieces in order.tasks.items()
                for saved, num in self._num_letters[task_id]
                if saved is pieces
            }
        )
        if not new and (self._letter_pieces or not self.letters.num_held):
            return None, self._letter_pieces
        if is_due(self._letter_pieces):
            part = letter_part(self.letters.held(), run.id, order.checkpoint_id)
            return part, (part.piece,)
        part = letter_part(new, run.id, order.checkpoint_id)
        return part, (*self._letter_pieces, part.piece)

    def _tell(self, run: JobRun, checkpoint_id: int, stage: CheckpointStage) -> None:
        for node_id in dict.fromkeys(run.nodes.values()):
            if node_id in self._ports.nodes:
                self._ports.nodes[node_id].checkpoint(run.id, checkpoint_id, stage)

    def _now_s(self) -> float:
        return self._ports.clock.monotonic_s()
