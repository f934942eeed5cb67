"""What a task holds between two pieces of work, and who keeps it. Pure; knows no disk."""

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Any, Protocol

import msgspec

from cluster.runtime.call_book import CallJournal
from cluster.runtime.posts import PostLog
from operators.state import State
from operators.tables import Tables
from sage.base.batch import Batch
from sage.flow.checkpoint import StateKept
from sage.flow.dealing import PartitionsRead


class CheckpointStage(StrEnum):
    """What becomes of a checkpoint; each is told to every task that lives."""

    TAKE = "take"  # save what you hold: at once where you read or all input has ended, else once barriers have come
    DROP = "drop"  # it was given up: let nothing wait for it any more; unless you have answered, answer that
    COMMIT = "commit"  # it is complete: what it says of sinks is to be seen
    PAUSE = "pause"  # of no checkpoint: read nothing until the next word, since there is no room for any
    GO_ON = "go on"  # read again


@dataclass(frozen=True, slots=True)
class ReadFrom:
    """A reading goes on at `position`, as its reader said."""

    position: Any


@dataclass(frozen=True, slots=True)
class ReadAfter:
    """A reading goes on after its first `num_records`: its reader cannot say where it is."""

    num_records: int


@dataclass(frozen=True, slots=True)
class ReadNoMore:
    """The source has given its last record."""


@dataclass(frozen=True, slots=True)
class ReadParts:
    """What was read of a source by its partitions: by one task, or where another run goes on by all of its step."""

    read: PartitionsRead


Reading = ReadFrom | ReadAfter | ReadNoMore | ReadParts


@dataclass(frozen=True, slots=True)
class TaskState:
    """Everything by which a task goes on as if nothing had happened.

    | field | what |
    | --- | --- |
    | reading | where its source is, for a chain that begins with one |
    | waiting | batches that came and could not be taken yet |
    | watermark_s | that of all its inputs together, as its machine was told it |
    | has_ended | its machine was told that the input is over, and has given what it held |
    | is_final | nothing was in flight any more: all that it had to say is said |
    | counts | the fields of its machine's Counts |
    | num_letters | how many dead letters it has reported |
    """

    steps: State
    reading: Reading | None = None
    waiting: tuple[Batch, ...] = ()
    watermark_s: float = -inf
    has_ended: bool = False
    is_final: bool = False
    counts: tuple[int, ...] = ()
    num_letters: int = 0


class SavedPiece(msgspec.Struct, frozen=True, array_like=True):
    """Bytes of a file in which something of a task's state is; `crc32` is that of the bytes.

    Or a table of a task, in a folder of files: `crc32` is that of their names and sizes. What is in them has checksums
    of its own.
    """

    file: str
    offset_bytes: int
    len_bytes: int
    crc32: int

    @property
    def is_store(self) -> bool:
        return self.file.endswith(".store")


SavedPieces = tuple[SavedPiece, ...]
"""What makes a task's state: first one that holds all, then what changed, in order; and its tables."""


class Keeping(msgspec.Struct, frozen=True):
    """Where what the tasks of a run hold is saved, and what they go on from.

    `folder`: that of the flow; `begins_at`: the checkpoint of `begins_in` from which the run goes on, None for its
    start, and `lost` the steps of now whose state in it is left there. `state`: where the state of keys is.
    """

    folder: str
    begins_at: int | None = None
    begins_in: str = ""
    state: StateKept = "memory"
    lost: tuple[str, ...] = ()


class StateKeeper(Protocol):
    """Keeps what one task holds."""

    def saved(self) -> TaskState | None:
        """Return what the task goes on from; None where it begins. Raises CheckpointUnusable."""
        ...

    def tables(self) -> Tables | None:
        """Return where steps keep the state of keys; None: in memory."""
        ...

    def calls(self) -> CallJournal | None:
        """Return who keeps the task's model calls; None: nobody does."""
        ...

    def posts(self) -> PostLog | None:
        """Return who keeps what is posted to the task's source; None: nobody does."""
        ...

    def save(self, checkpoint_id: int | None, state: TaskState, *, commits: bool) -> None:
        """Save `state` without waiting for it; it is answered by a TaskSaved. `checkpoint_id` None: it is final."""
        ...
