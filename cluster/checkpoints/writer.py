"""The actor that brings states of tasks to the disk, off their threads. Knows nothing of what tasks compute.

What waits when it has its turn is written as one file: one fdatasync for all tasks of a node that a checkpoint reached.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from zlib import crc32

from cluster.checkpoints.disk import Disk
from cluster.checkpoints.folder import PART, CheckpointFolder, disk_refused
from cluster.checkpoints.pieces import FrozenState, PieceEncoder
from cluster.runtime.actor import Actor, tell
from cluster.runtime.messages import TaskSaved
from cluster.runtime.saving import SavedPiece, SavedPieces
from cluster.runtime.scheduler import Scheduler
from sage.base.clock import Clock
from sage.base.errors import InternalError, SageError
from sage.base.ids import TaskId, new_id


@dataclass(slots=True)
class SavedChain:
    """What makes the state of one task so far: changed by the writer alone."""

    task_id: TaskId
    encoder: PieceEncoder
    pieces: SavedPieces = ()


@dataclass(frozen=True, slots=True)
class SaveState:
    """Bring a state to the disk, then say so. `settle`: what it counts on, to be made durable before."""

    folder: str
    chain: SavedChain
    checkpoint_id: int | None
    state: FrozenState
    settle: tuple[Callable[[], None], ...]
    commits: bool
    report: Callable[[TaskSaved], None]


@dataclass(frozen=True, slots=True)
class _Encoded:
    wanted: SaveState
    piece: bytes
    is_whole: bool
    tables: SavedPieces


@dataclass(frozen=True, slots=True)
class WriteNow:
    """To itself: write what has come."""


class PartWriter(Actor[SaveState | WriteNow]):
    """One a node process, for all of its jobs."""

    restartable = True

    def __init__(
        self, open_disk: Callable[[str], Disk], *, clock: Clock, rng: Random, scheduler: Scheduler | None = None
    ) -> None:
        super().__init__("checkpoint writer", clock=clock, scheduler=scheduler)
        self._open_disk = open_disk
        self._prefix = new_id("node", rng, num_chars=8)
        self._num_files = 0
        self._waiting: list[SaveState] = []

    def receive(self, message: SaveState | WriteNow) -> None:
        if isinstance(message, SaveState):
            if not self._waiting:
                tell(self.actor_ref, WriteNow())
            self._waiting.append(message)
        else:
            self._write_waiting()

    def on_stop(self) -> None:
        """Write what has come: it may hold what is to be let go."""
        self._write_waiting()

    def _write_waiting(self) -> None:
        while self._waiting:
            folder = self._waiting[0].folder
            self._write(folder, [wanted for wanted in self._waiting if wanted.folder == folder])
            self._waiting = [wanted for wanted in self._waiting if wanted.folder != folder]

    def on_restart(self, error: BaseException) -> None:
        """Let no checkpoint wait for what was being written."""
        waiting, self._waiting = self._waiting, []
        for wanted in waiting:
            self._cannot(wanted, InternalError(f"the checkpoint writer broke: {type(error).__name__}: {error}"))

    def _write(self, folder: str, wanted: list[SaveState]) -> None:
        encoded: list[_Encoded] = []
        for one in wanted:
            try:
                for settle in one.settle:
                    settle()
                encoded.append(_Encoded(one, *one.chain.encoder.encode(one.state), self._tables(one)))
            except SageError as error:
                self._cannot(one, error)
        if not encoded:
            return
        self._num_files += 1
        name = f"{self._prefix}-{self._num_files}{PART}"
        try:
            self._open_disk(folder).write(name, [each.piece for each in encoded])
        except OSError as error:
            for each in encoded:
                self._cannot(each.wanted, disk_refused(folder, error))
            return
        self._tell(name, encoded)

    def _tables(self, wanted: SaveState) -> SavedPieces:
        """Return the tables that were laid down for a state; raises CheckpointUnusable."""
        folder = CheckpointFolder(self._open_disk(wanted.folder), wanted.folder)
        return tuple(folder.store(name) for step in wanted.state.lasting() for name, _ in step.stored)

    def _tell(self, name: str, encoded: list[_Encoded]) -> None:
        offset_bytes = 0
        for each in encoded:
            wanted, piece = each.wanted, each.piece
            saved = SavedPiece(name, offset_bytes, len(piece), crc32(piece))
            offset_bytes += len(piece)
            before = () if each.is_whole else tuple(old for old in wanted.chain.pieces if not old.is_store)
            wanted.chain.pieces = (*before, saved, *each.tables)
            num_letters = wanted.state.state.num_letters
            wanted.report(
                TaskSaved(
                    wanted.chain.task_id, wanted.checkpoint_id, wanted.chain.pieces, num_letters, commits=wanted.commits
                )
            )

    def _cannot(self, wanted: SaveState, error: SageError) -> None:
        wanted.chain.encoder.forget()
        wanted.report(TaskSaved(wanted.chain.task_id, wanted.checkpoint_id, None, error=error))
