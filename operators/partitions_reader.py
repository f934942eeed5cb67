"""Reads the partitions of a source that are one instance's, in turn or together. Knows no kind of source."""

from collections import deque
from collections.abc import Hashable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from operators.read_times import ReadTimes
from sage.base.errors import CheckpointUnusable, SourceUnreadable
from sage.flow.dealing import Dealt, PartitionRead, PartitionsRead, deal
from sage.flow.ports import MarkedReader, PacedReader, PartitionedSource, PositionedReader, SourceReader, WokenReader

WOKEN_EVERY_S = 0.05
"""How often to look at a reader that would wake its task: among several, none of them can."""


@runtime_checkable
class DealtReader(SourceReader[Any], Protocol):
    """A reader of what was dealt to one instance. `listing`: the same where the same partitions were found."""

    times: ReadTimes
    listing: str

    def read_so_far(self) -> PartitionsRead:
        """Return where each of its partitions is; also once it is closed."""
        ...


class PlacedReader(PositionedReader[Any], Protocol):
    """A reader of several partitions together."""

    def owned(self) -> Sequence[Hashable]:
        """Return what its partitions are to event time."""
        ...

    def positions(self) -> Sequence[tuple[str, Any]]:
        """Return the name and the position of each partition."""
        ...


@runtime_checkable
class TogetherSource(PartitionedSource[Any], Protocol):
    """A source that reads partitions together better than each alone."""

    def open_together(self, left: Sequence[PartitionRead], *, is_new: bool) -> PlacedReader:
        """Go on with those that have a position and begin others. `is_new`: nothing of the source was read before."""
        ...


def dealt_reader(source: Any, read: Any, instance: int, num_instances: int) -> DealtReader:
    """Open what is dealt to one instance, where `read` was read of `source` before: PartitionsRead, or as one reader.

    Raises SourceUnreadable, and CheckpointUnusable where it cannot be said which partitions were read.
    """
    assert isinstance(source, PartitionedSource), "others are refused before"
    if not isinstance(read, PartitionsRead):
        by_partition = getattr(source, "by_partition", None)
        if by_partition is None:
            raise CheckpointUnusable(
                "the source was read as a whole, and is now to be read by its partitions",
                'Read it by one instance until its end, or begin anew: resume="never".',
            )
        read = by_partition(read)
    dealt = deal(source.partitions(), read, instance, num_instances)
    if isinstance(source, TogetherSource):
        return TogetherReader(source, dealt, is_new=read == PartitionsRead())
    return PartitionsReader(source, dealt)


@dataclass(slots=True)
class _Open:
    name: str
    reader: PositionedReader[Any]


class PartitionsReader:
    """Reads one partition at a time of those that are open; the next one's turn is after each read.

    Where the source wants fewer at once than are left, those are open that come first, and all before the first that
    is new: several instances read them side by side before, and none may get ahead in event time by that.
    """

    def __init__(self, source: PartitionedSource[Any], dealt: Dealt) -> None:
        self._source = source
        self._num_at_once: int = getattr(source, "num_at_once", None) or len(dealt.left)
        self._left = deque(dealt.left)
        self._ended = list(dealt.ended)
        self._open: deque[_Open] = deque()
        self._num_empty = 0  # reads that gave nothing, one after the other
        self.listing = dealt.listing
        self.times = ReadTimes(went_on={each.name: each.name for each in dealt.left if each.position is not None})
        with ExitStack() as undone:  # what was opened is closed where the next cannot be
            undone.callback(self.close)
            while self._left and self._left[0].position is not None:
                self._begin(self._left.popleft())
            self._begin_left()
            undone.pop_all()

    def read(self, max_records: int) -> Sequence[Any] | None:
        if not self._open:
            return None
        current = self._open[0]
        self.times.current = current.name
        values = current.reader.read(max_records)
        if values is None:
            self._end()
            return [] if self._open else None
        self.times.ask(current.name)
        self._open.rotate(-1)
        self._num_empty = 0 if values else self._num_empty + 1
        if isinstance(current.reader, MarkedReader) and (stated_s := current.reader.watermark_s()) is not None:
            self.times.state(current.name, stated_s)
        return values

    def pause_s(self) -> float:
        """Return how long none of them has anything; those that wait themselves are read again at once."""
        if self._num_empty < len(self._open):
            return 0.0
        self._num_empty = 0  # after the pause each is read again
        return min((_pause_s(each.reader) for each in self._open), default=0.0)

    def read_so_far(self) -> PartitionsRead:
        latest_s = self.times.latest_s
        begun = [PartitionRead(each.name, each.reader.position(), latest_s[each.name]) for each in self._open]
        begun += [each for each in self._left if each.position is not None]
        return PartitionsRead(tuple(begun), tuple(self._ended))

    def close(self) -> None:
        while self._open:
            self._open.pop().reader.close()

    def _begin_left(self) -> None:
        while self._left and len(self._open) < self._num_at_once:
            self._begin(self._left.popleft())

    def _begin(self, each: PartitionRead) -> None:
        reader = self._source.open_partition(each.name, each.position)
        if not callable(getattr(reader, "position", None)):
            reader.close()
            raise SourceUnreadable(
                f"the reader of partition {each.name!r} cannot say where it is", "Give it position()."
            )
        if isinstance(reader, WokenReader):
            reader.wake_by(_look_later)
        self._open.append(_Open(each.name, reader))
        self.times.begin(each.name, each.latest_s)

    def _end(self) -> None:
        over = self._open.popleft()
        over.reader.close()
        self.times.end(over.name)
        self._ended.append(over.name)
        self._num_empty = 0
        self._begin_left()


class TogetherReader:
    """Reads all partitions of one instance by one reader of the source; an instance without any has nothing to read."""

    def __init__(self, source: TogetherSource, dealt: Dealt, *, is_new: bool) -> None:
        self._ended = dealt.ended
        self._reader = source.open_together(dealt.left, is_new=is_new) if dealt.left else None
        self.listing = dealt.listing
        self.times = ReadTimes(owned=frozenset(self._reader.owned()) if self._reader is not None else ())

    def read(self, max_records: int) -> Sequence[Any] | None:
        return None if self._reader is None else self._reader.read(max_records)

    def read_so_far(self) -> PartitionsRead:
        positions = self._reader.positions() if self._reader is not None else ()
        return PartitionsRead(tuple(PartitionRead(name, position) for name, position in positions), self._ended)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


def _pause_s(reader: SourceReader[Any]) -> float:
    if isinstance(reader, PacedReader):
        return reader.pause_s()
    return WOKEN_EVERY_S if isinstance(reader, WokenReader) else 0.0


def _look_later() -> None:
    """What a reader has is found at the next look."""
