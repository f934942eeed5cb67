"""The protocols a user may implement: sources and sinks. Knows no implementation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeVar, runtime_checkable

T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


class SourceReader(Protocol[T_co]):
    """One reading of a source; used by one thread."""

    def read(self, max_records: int) -> Sequence[T_co] | None:
        """Return up to `max_records` records, waiting for the first if need be; None at the end.

        Nothing may be returned after a wait of a moment: it is called again, and between two calls a job is stopped
        and checkpoints are taken.
        """
        ...

    def close(self) -> None:
        """Let go of files and sockets; called once, also after a failure."""
        ...


@runtime_checkable
class WokenReader(SourceReader[T_co], Protocol[T_co]):
    """A SourceReader that never waits: where nothing is there now, `read` returns an empty sequence."""

    def wake_by(self, wake: Callable[[], object]) -> None:
        """Have `wake` called, on any thread, when something came after such a read; called once, before any read."""
        ...


@runtime_checkable
class PacedReader(SourceReader[T_co], Protocol[T_co]):
    """A SourceReader that never waits: where nothing is there now, `read` returns an empty sequence."""

    def pause_s(self) -> float:
        """Return after how many seconds to read again; called after each read that gave nothing."""
        ...


@runtime_checkable
class MarkedReader(SourceReader[T_co], Protocol[T_co]):
    """A SourceReader that knows by itself how far event time is, for a source with `timestamp=`."""

    def watermark_s(self) -> float | None:
        """Return the time before which nothing is to be expected any more, as of the last read; None: no news.

        Called once after each read. The watermark that follows the latest record counts where it is higher.
        """
        ...


class Source(Protocol[T_co]):
    """Where records come from: a value; opening it starts a reading."""

    def open(self) -> SourceReader[T_co]:
        """Start a reading; raises SourceUnreadable."""
        ...


class Repeats(Enum):
    """What becomes of a record that is written again, since a run began again: of what a Sink has as `repeats`."""

    HIDDEN = "hidden"
    """Nobody sees what a run has written before it has ended well."""
    SAME = "same"
    """Writing it again leaves all as it was."""
    BY_KEY = "by key"
    """It comes twice, with the same key: whoever gets it may know it by that."""
    SHOWN = "shown"
    """It is there twice. So it is where a sink says nothing."""


class SinkWriter(Protocol[T_contra]):
    """One writing of a sink; used by one thread."""

    def write(self, records: Sequence[T_contra]) -> None:
        """Take `records`, in order; raises SinkUnwritable."""
        ...

    def close(self, *, complete: bool) -> None:
        """Finish: called once; `complete` is False where the job failed or was cancelled."""
        ...


class Sink(Protocol[T_contra]):
    """Where records end: a value; opening it starts a writing."""

    def open(self) -> SinkWriter[T_contra]:
        """Start a writing; raises SinkUnwritable."""
        ...


@runtime_checkable
class SharedSink(Sink[T_contra], Protocol[T_contra]):
    """A sink that several instances of its step write at the same time, each a share of its own."""

    def share(self, number: int, num_shares: int) -> Sink[T_contra]:
        """Return what instance `number` writes, from 0; where it writes alone `num_shares` is 1.

        Where a run goes on with fewer instances than began, these also resume the shares of those that are no more:
        `number` is `num_shares` or above then. Such a share is written no further, and closed with the others.
        """
        ...


class PositionedReader(SourceReader[T_co], Protocol[T_co]):
    """A reading that can say where it is. Of any other, a resumed job reads all again and passes over what it had."""

    def position(self) -> Any:
        """Return, as plain values, where the next `read` goes on; called between two of them."""
        ...


@runtime_checkable
class RewindableSource(Source[T_co], Protocol[T_co]):
    """A source whose readings are PositionedReaders."""

    def open_at(self, position: Any) -> PositionedReader[T_co]:
        """Start a reading where an earlier one said it was; raises SourceUnreadable."""
        ...


@runtime_checkable
class PartitionedSource(Protocol[T_co]):
    """A source of partitions that can be read apart: instances of its step share them, whole ones each.

    It needs no `open`: one instance reads all partitions. Each has event time of its own: the slowest of those that are
    open counts, but for what `idle_after_s` says. An instance reads its partitions in turn; `num_at_once`, where the
    source has that, are open at a time, and the next one is begun when one of them has ended.
    """

    def partitions(self) -> Sequence[str]:
        """Return the names of all there are, each once, in the order in which to begin them; raises SourceUnreadable.

        Each instance asks, when the job begins or goes on: all nodes have to see the same. A name that is new then is
        read by one of them.
        """
        ...

    def open_partition(self, name: str, position: Any) -> PositionedReader[T_co]:
        """Start to read one, or go on where a reader of it said it was; None is its start. Raises SourceUnreadable."""
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """How far a writing is: what a checkpoint keeps of it.

    `position`: plain values from which `resume` goes on; what is written later is undone then. `contents`: all records
    so far, where nothing but the checkpoint keeps them; a list that only grows, of which what is new is saved. Another
    number of instances is dealt the contents in pieces, in order; one that had no share gets its piece without a
    position (None).
    `settle` makes durable what `position` counts on; it is called once, on any thread, also after `close`, and raises
    SinkUnwritable.

    `commit` makes it so for a sink of two phases: others see nothing before it. It is called on the writer's thread,
    between two writes or before `close`, once a checkpoint with `position` is complete, and raises SinkUnwritable. A
    position says all that is not known to be committed, since later ones may be taken before a commit is called, and
    none is called of a checkpoint that was given up: a commit also shows what those before would have shown. Where the
    process ends before it is called, `resume` does it: it commits what its position says, unless that was done.
    """

    position: Any = None
    contents: Sequence[Any] = ()
    settle: Callable[[], None] | None = None
    commit: Callable[[], None] | None = None


class ResumableWriter(SinkWriter[T_contra], Protocol[T_contra]):
    """A writing that can be gone on with after its process has ended.

    `close(complete=False)` keeps what a position counts on, once `written` was called.
    """

    def written(self) -> Written:
        """Return how far it is; called between two writes."""
        ...


@runtime_checkable
class ResumableSink(Sink[T_contra], Protocol[T_contra]):
    """A sink whose writings are ResumableWriters: each record counts once, however often the job begins again."""

    def resume(self, position: Any, contents: Sequence[Any]) -> ResumableWriter[T_contra]:
        """Go on with a writing where it said it was; raises SinkUnwritable."""
        ...


def repeats_of(sink: object) -> Repeats:
    """Return what becomes in `sink` of a record that is written again."""
    found = getattr(sink, "repeats", Repeats.SHOWN)
    assert isinstance(found, Repeats), sink
    return found
