"""The actor that completes and forgets checkpoints for a job manager: its files are not the manager's to wait for."""

from collections.abc import Callable
from dataclasses import dataclass

from cluster.checkpoints.folder import CheckpointFolder
from cluster.checkpoints.letters import LetterPart
from cluster.checkpoints.manifest import Manifest
from cluster.checkpoints.savepoint import write_savepoint
from cluster.runtime.actor import Actor
from cluster.runtime.scheduler import Scheduler
from sage.base.clock import Clock
from sage.base.errors import InternalError, SageError

Done = Callable[[SageError | None], object]
"""Called on the clerk's thread, once; must not wait."""


@dataclass(frozen=True, slots=True)
class CompleteCheckpoint:
    """Make a checkpoint complete; then forget all but the `num_kept` newest.

    `letters`: a file that it needs. `commits`: sinks show what it holds once it is complete.
    """

    folder: str
    manifest: Manifest
    num_kept: int
    done: Done
    letters: LetterPart | None = None
    commits: bool = False


@dataclass(frozen=True, slots=True)
class CopyCheckpoint:
    """Write all of a checkpoint into another folder, where nobody forgets it."""

    folder: str
    manifest: Manifest
    target: str
    done: Done


@dataclass(frozen=True, slots=True)
class ForgetCheckpoints:
    """The flow has come to its end: its next run begins anew."""

    folder: str
    done: Done


@dataclass(frozen=True, slots=True)
class LetGo:
    """Say when everything that was ordered before is done."""

    folder: str
    done: Done


ClerkOrder = CompleteCheckpoint | CopyCheckpoint | ForgetCheckpoints | LetGo


class CheckpointClerk(Actor[ClerkOrder]):
    """One a job manager."""

    restartable = True

    def __init__(
        self, open_folder: Callable[[str], CheckpointFolder], *, clock: Clock, scheduler: Scheduler | None = None
    ) -> None:
        super().__init__("checkpoint clerk", clock=clock, scheduler=scheduler)
        self._open_folder = open_folder
        self._done: Done | None = None

    def receive(self, message: ClerkOrder) -> None:
        self._done = message.done
        try:
            self._obey(message)
        except SageError as error:
            self._answer(error)
        else:
            self._answer(None)

    def on_restart(self, error: BaseException) -> None:
        """Let nobody wait for what was being done."""
        self._answer(InternalError(f"the checkpoint clerk broke: {type(error).__name__}: {error}"))

    def _obey(self, order: ClerkOrder) -> None:
        folder = self._open_folder(order.folder)
        match order:
            case CompleteCheckpoint(manifest=manifest, num_kept=num_kept, letters=letters, commits=commits):
                if letters is not None:
                    folder.write(letters.piece.file, [letters.content])
                folder.complete(manifest, num_kept, commits=commits)
            case CopyCheckpoint(manifest=manifest, target=target):
                write_savepoint(manifest, folder, self._open_folder(target))
            case ForgetCheckpoints():
                folder.clear()
            case LetGo():
                pass

    def _answer(self, error: SageError | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(error)
