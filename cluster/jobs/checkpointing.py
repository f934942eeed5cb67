"""When a run takes checkpoints, and when one is complete: one at a time. Pure; knows neither nodes nor disks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cluster.jobs.disk_pause import DiskPause
from cluster.runtime.saving import SavedPieces
from sage.base.errors import CheckpointUnusable, DiskFull, SageError
from sage.base.ids import TaskId

MAX_FAILED = 3
"""Checkpoints that may fail one after the other; then the job fails: it would lose more and more by a fault."""


@dataclass(frozen=True, slots=True)
class TakeNow:
    """Have every task that lives save what it holds."""

    checkpoint_id: int


@dataclass(frozen=True, slots=True)
class DropNow:
    """Let no task wait for this checkpoint any more."""

    checkpoint_id: int


@dataclass(frozen=True, slots=True)
class WriteManifest:
    """Every task has saved: make the checkpoint complete. `commits`: what it holds of sinks is shown then, for good."""

    checkpoint_id: int
    tasks: Mapping[TaskId, SavedPieces]
    commits: bool = False


@dataclass(frozen=True, slots=True)
class CommitNow:
    """The checkpoint is complete: let what it says of sinks be seen."""

    checkpoint_id: int


@dataclass(frozen=True, slots=True)
class WakeIn:
    """Call `due` again then; replaces what was said before."""

    after_s: float


@dataclass(frozen=True, slots=True)
class PauseReading:
    """There is no room for a checkpoint: let no task read until GoOnReading."""


@dataclass(frozen=True, slots=True)
class GoOnReading:
    """A checkpoint is complete again."""


@dataclass(frozen=True, slots=True)
class FailRun:
    """Of DiskFull, it is the job's to say whether it fails or begins anew once there may be room."""

    error: SageError


CheckpointOrder = TakeNow | DropNow | WriteManifest | CommitNow | WakeIn | PauseReading | GoOnReading | FailRun


class Checkpointing:
    """The checkpoints of one run, from its begin to its end.

    The next one is begun `every_s` after the last was begun, but not before every task has answered that. One that
    takes longer than `timeout_s` is given up: no task waits for it any more, and all answer nevertheless. Where sinks
    commit, a last one is taken once every task has said all.

    Where there is no room for one, nothing is read any more, and it is tried again until there is, or `pause` says
    that it took too long. What would be lost by a fault does not grow meanwhile.
    """

    def __init__(
        self, tasks: Iterable[TaskId], *, every_s: float, timeout_s: float, first_id: int, pause: DiskPause
    ) -> None:
        self._pause = pause
        self._is_paused = False
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._next_id = first_id
        self._tasks = set(tasks)
        self._finals: dict[TaskId, SavedPieces] = {}
        self._saved: dict[TaskId, SavedPieces] = {}
        self._awaited: set[TaskId] = set()
        self._committing: set[TaskId] = set()
        self._uncommitted: set[TaskId] = set()
        self._current: int | None = None
        self._began_s = 0.0
        self._error: SageError | None = None
        self._num_failed = 0
        self._is_asked = False
        self.newest: int | None = None
        self.num_complete = 0

    def begin(self, now_s: float) -> list[CheckpointOrder]:
        """The run works from now on."""
        self._began_s = now_s
        return [WakeIn(self._every_s)]

    def ask(self, now_s: float) -> list[CheckpointOrder]:
        """Begin one as soon as none is on its way: a savepoint is wanted."""
        self._is_asked = True
        return self._take(now_s) if self._current is None else []

    def due(self, now_s: float) -> list[CheckpointOrder]:
        """Time has passed: begin the next, or give the one on its way up."""
        if self._current is None:
            return [] if self.is_all_final and not self._uncommitted else self._take(now_s)
        if self._error is not None:
            return []
        self._error = CheckpointUnusable(
            f"checkpoint {self._current} took longer than {self._timeout_s:g} s; "
            f"waiting for {', '.join(sorted(self._awaited)[:3])}",
            "Let functions and sources return now and then, or give it more time: timeout_s=...",
        )
        return [DropNow(self._current)]

    def saved(
        self,
        task_id: TaskId,
        checkpoint_id: int | None,
        pieces: SavedPieces | None,
        error: SageError | None,
        now_s: float,
        *,
        commits: bool = False,
    ) -> list[CheckpointOrder]:
        """A task has answered, for this checkpoint or for good (None). `commits`: it waits for that to be complete."""
        if task_id not in self._tasks:
            return []
        if checkpoint_id is None:
            if pieces is None:
                return [FailRun(error or CheckpointUnusable(f"task {task_id} could not be saved"))]
            self._finals[task_id] = pieces
            self._uncommitted |= {task_id} if commits else set()
            if self._current is None and self.is_all_final and self._uncommitted:
                return self._take(now_s)
        if checkpoint_id not in (None, self._current) or task_id not in self._awaited:
            return []
        self._awaited.remove(task_id)
        self._committing |= {task_id} if commits else set()
        self._error = self._error or error
        if pieces is not None:
            self._saved[task_id] = pieces
        return [] if self._awaited else self._answered(now_s)

    def written(self, error: SageError | None, now_s: float) -> list[CheckpointOrder]:
        """The manifest is on the disk, or could not be brought there."""
        self._error = error
        complete = self._current
        if error is not None or complete is None:
            return self._ended(now_s)
        self.newest, self.num_complete = complete, self.num_complete + 1
        self._uncommitted -= {task for task in self._uncommitted if self._saved[task] is self._finals[task]}
        self._pause.room_came()
        goes_on, self._is_paused = self._is_paused, False
        return [
            *([CommitNow(complete)] if self._committing else []),
            *([GoOnReading()] if goes_on else []),
            *self._ended(now_s),
        ]

    @property
    def next_id(self) -> int:
        """The number of the next one: no later run uses one that this has used."""
        return self._next_id

    @property
    def is_all_final(self) -> bool:
        """Say whether every task has said all: there is nothing left to save."""
        return len(self._finals) == len(self._tasks)

    def _take(self, now_s: float) -> list[CheckpointOrder]:
        self._is_asked = False
        self._current, self._next_id = self._next_id, self._next_id + 1
        self._began_s = now_s
        self._error = None
        self._saved = dict(self._finals)
        self._committing = set(self._uncommitted)
        self._awaited = self._tasks - self._finals.keys()
        if not self._awaited:
            return self._answered(now_s)
        return [TakeNow(self._current), WakeIn(self._timeout_s)]

    def _answered(self, now_s: float) -> list[CheckpointOrder]:
        assert self._current is not None
        if self._error is not None or len(self._saved) < len(self._tasks):
            return self._ended(now_s)
        return [WriteManifest(self._current, self._saved, commits=bool(self._committing))]

    def _ended(self, now_s: float) -> list[CheckpointOrder]:
        self._current = None
        if isinstance(self._error, DiskFull):
            return self._wait_for_room(self._error, now_s)
        self._num_failed = self._num_failed + 1 if self._error is not None else 0
        if self._error is not None and self._num_failed >= MAX_FAILED:
            return [FailRun(_given_up(self._error))]
        if self._is_asked or (self.is_all_final and self._uncommitted and self._error is None):
            return self._take(now_s)
        return [WakeIn(max(0.0, self._began_s + self._every_s - now_s))]

    def _wait_for_room(self, error: DiskFull, now_s: float) -> list[CheckpointOrder]:
        """Pause, and try again: no room is no failure of the row that fails the job."""
        self._num_failed = 0
        retry_s = self._pause.refused(error, now_s)
        if retry_s is None:
            return [FailRun(error)]
        was_paused, self._is_paused = self._is_paused, True
        return [*([] if was_paused else [PauseReading()]), WakeIn(retry_s)]


def _given_up(error: SageError) -> SageError:
    """Return what fails the job: it goes on from the last complete checkpoint once the cause is mended."""
    failed = CheckpointUnusable(
        f"{MAX_FAILED} checkpoints failed one after the other, the last so: {error.what}", error.do
    )
    failed.__cause__ = error
    return failed
