"""Sources as values: collections, text files, files of JSON lines. Knows nothing of steps or threads."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, ClassVar, Generic, TypeVar, cast

import msgspec

from sage.base.errors import SourceUnreadable
from sage.flow.check_numbers import Fault
from sage.flow.dealing import PartitionRead, PartitionsRead
from sage.flow.files import check_length, files_of_pattern, look_at_line, paths_from
from sage.flow.lines import Block, blocks_of_files

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


NUM_SLICES = 128
"""Into which a collection is cut where several instances read it; it is also how many may."""


@dataclass(frozen=True, slots=True, eq=False)
class CollectionSource(Generic[T_co]):
    """What is at hand: a list, tuple or range is sliced; anything else is iterated anew at each reading."""

    items: Iterable[T_co]
    num_at_once: ClassVar[int] = 1

    def open(self) -> "SliceReader[T_co] | IteratorReader[T_co]":
        items = self.items
        return SliceReader(items) if isinstance(items, list | tuple | range) else IteratorReader(iter(items))

    def open_at(self, position: int) -> "SliceReader[T_co] | IteratorReader[T_co]":
        """Go on after `position` items; where they are iterated, they must be the same again."""
        reader = self.open()
        reader.pass_over(position)
        return reader

    def undealt(self) -> Fault | None:
        """Return why one instance reads it; None for what can be sliced."""
        if isinstance(self.items, list | tuple | range):
            return None
        what = f"a {type(self.items).__name__} can only be iterated, from its begin on, and so by one instance"
        return Fault(what, "Give from_collection a list, which is dealt in slices.")

    def partitions(self) -> list[str]:
        """Return the slices that instances share, each by its bounds; of a list, a tuple or a range alone."""
        return [f"{start}:{end}" for start, end in pairwise(self._bounds())]

    def open_partition(self, name: str, position: int | None) -> "SliceReader[T_co]":
        start, _, end = name.partition(":")
        reader = SliceReader(self._sliceable()[int(start) : int(end)])
        reader.pass_over(position or 0)
        return reader

    def by_partition(self, position: int) -> PartitionsRead:
        """Return what one instance has read of all, as if it had been dealt."""
        read = [(PartitionRead(f"{start}:{end}", position - start), end) for start, end in pairwise(self._bounds())]
        return PartitionsRead(
            tuple(each for each, end in read if each.position > 0 and position < end),
            tuple(each.name for each, end in read if end <= position),
        )

    def _sliceable(self) -> Sequence[T_co]:
        assert isinstance(self.items, list | tuple | range), "others are not dealt"
        return cast("Sequence[T_co]", self.items)

    def _bounds(self) -> list[int]:
        num_items = len(self._sliceable())
        num_slices = min(NUM_SLICES, num_items)
        return [num_items * number // num_slices for number in range(num_slices + 1)] if num_slices else []


class OneShotSource(Generic[T_co]):
    """An iterator, which can be read once only."""

    def __init__(self, items: Iterator[T_co]) -> None:
        self._items: Iterator[T_co] | None = items

    def undealt(self) -> Fault | None:
        """Return why one instance reads it."""
        return Fault("an iterator can be read once only, and so by one instance", "Give from_collection a list.")

    def open(self) -> "IteratorReader[T_co]":
        """Start the only reading; raises SourceUnreadable at the second."""
        items, self._items = self._items, None
        if items is None:
            raise SourceUnreadable(
                "this collection is an iterator that an earlier run has read",
                "Give from_collection a list, or something that can be iterated again.",
            )
        return IteratorReader(items)


def source_from_collection(items: Iterable[T]) -> CollectionSource[T] | OneShotSource[T]:
    """Return `items` as a source."""
    return OneShotSource(items) if isinstance(items, Iterator) else CollectionSource(items)


@dataclass(frozen=True, slots=True)
class TextSource:
    """The lines of the file `path`, or of the files that match it."""

    path: str
    num_at_once: ClassVar[int] = 1

    def open(self) -> "TextReader":
        return TextReader(blocks_of_files(files_of_pattern(self.path)))

    def open_at(self, position: Sequence[Any]) -> "TextReader":
        return text_reader_at(self.path, position)

    def partitions(self) -> list[str]:
        return files_of_pattern(self.path)

    def open_partition(self, name: str, position: Sequence[Any] | None) -> "TextReader":
        return text_reader_of(name, position)

    def by_partition(self, position: Sequence[Any]) -> PartitionsRead:
        return files_read(self.path, position)


@dataclass(frozen=True, slots=True)
class JsonLinesSource(Generic[T_co]):
    """One JSON value a line, decoded as `as_type`; blank lines are passed over."""

    path: str
    as_type: type[T_co]
    num_at_once: ClassVar[int] = 1

    def open(self) -> "JsonLinesReader[T_co]":
        return JsonLinesReader(TextReader(blocks_of_files(files_of_pattern(self.path))), self.as_type)

    def open_at(self, position: Sequence[Any]) -> "JsonLinesReader[T_co]":
        return JsonLinesReader(text_reader_at(self.path, position), self.as_type)

    def partitions(self) -> list[str]:
        return files_of_pattern(self.path)

    def open_partition(self, name: str, position: Sequence[Any] | None) -> "JsonLinesReader[T_co]":
        return JsonLinesReader(text_reader_of(name, position), self.as_type)

    def by_partition(self, position: Sequence[Any]) -> PartitionsRead:
        return files_read(self.path, position)


class SliceReader(Generic[T_co]):
    """Reads a sequence by slices: no work for the single record."""

    def __init__(self, items: Sequence[T_co]) -> None:
        self._items = items
        self._next = 0

    def read(self, max_records: int) -> Sequence[T_co] | None:
        found = self._items[self._next : self._next + max_records]
        self._next += len(found)
        return found or None

    def position(self) -> int:
        return self._next

    def pass_over(self, num: int) -> None:
        self._next += num

    def close(self) -> None:
        """Nothing to let go."""


class IteratorReader(Generic[T_co]):
    """Reads an iterator; a generator is closed at the end."""

    def __init__(self, items: Iterator[T_co]) -> None:
        self._items = items
        self._num_read = 0

    def read(self, max_records: int) -> Sequence[T_co] | None:
        found = list(islice(self._items, max_records))
        self._num_read += len(found)
        return found or None

    def position(self) -> int:
        return self._num_read

    def pass_over(self, num: int) -> None:
        """Iterate over the next `num` items."""
        self._num_read += sum(1 for _ in islice(self._items, num))

    def close(self) -> None:
        close = getattr(self._items, "close", None)
        if close is not None:
            close()


class TextReader:
    """Reads lines."""

    def __init__(self, blocks: Generator[Block, None, None]) -> None:
        self._blocks = blocks
        self._block = Block("", 1, [], 0)
        self._next = 0

    def position(self) -> tuple[str, int, int, int]:
        """Return the file, where in it a line begins (number from 1, offset in bytes), and how many lines since then.

        Lines are read in blocks; the bytes of a part of one are not counted, since that would take time at every read.
        """
        path, first_line, _, offset_bytes = self._block
        return path, first_line, offset_bytes, self._next

    def pass_over(self, num_lines: int) -> None:
        """Read lines of the file that is begun, for nothing."""
        while num_lines and (block := self.read_block(num_lines)) is not None:
            num_lines -= len(block.lines)

    def read(self, max_records: int) -> Sequence[str] | None:
        block = self.read_block(max_records)
        return None if block is None else block.lines

    def read_block(self, max_records: int) -> Block | None:
        """Return up to `max_records` lines of one file, with their place in it."""
        while self._next == len(self._block.lines):
            block = next(self._blocks, None)
            if block is None:
                return None
            self._block, self._next = block, 0
        path, first_line, lines, offset_bytes = self._block
        start, self._next = self._next, min(self._next + max_records, len(lines))
        return Block(path, first_line + start, lines[start : self._next], offset_bytes)

    def close(self) -> None:
        self._blocks.close()


def text_reader_at(pattern: str, position: Sequence[Any]) -> TextReader:
    """Return a reader of the files that match, from a position on; raises SourceUnreadable where its file is gone."""
    path = position[0]
    return _text_reader(paths_from(pattern, path) if path else files_of_pattern(pattern), position)


def text_reader_of(path: str, position: Sequence[Any] | None) -> TextReader:
    """Return a reader of one file, from a position on; raises SourceUnreadable where it is shorter than that."""
    return _text_reader([path], position or NOWHERE)


NOWHERE = ("", 1, 0, 0)
"""The position of a reader that has read nothing."""


def _text_reader(paths: list[str], position: Sequence[Any]) -> TextReader:
    path, first_line, offset_bytes, num_lines = position
    if not path:
        return TextReader(blocks_of_files(paths))
    check_length(path, offset_bytes)
    reader = TextReader(blocks_of_files(paths, first_line, offset_bytes))
    reader.pass_over(num_lines)
    return reader


def files_read(pattern: str, position: Sequence[Any]) -> PartitionsRead:
    """Return what one instance has read of all files that match, in their order, as if they had been dealt.

    `position` begins with the file that is being read. Raises SourceUnreadable where that is gone.
    """
    path = position[0]
    if not path:
        return PartitionsRead()
    left = set(paths_from(pattern, path))
    before = [found for found in files_of_pattern(pattern) if found not in left]
    return PartitionsRead((PartitionRead(path, position),), tuple(before))


class JsonLinesReader(Generic[T_co]):
    """Reads lines and decodes each."""

    def __init__(self, lines: TextReader, as_type: type[T_co]) -> None:
        self._lines = lines
        self._decoder: msgspec.json.Decoder[T_co] = msgspec.json.Decoder(as_type)

    def read(self, max_records: int) -> Sequence[T_co] | None:
        while (block := self._lines.read_block(max_records)) is not None:
            if records := self._decoded(block):
                return records
        return None

    def position(self) -> tuple[str, int, int, int]:
        return self._lines.position()

    def close(self) -> None:
        self._lines.close()

    def _decoded(self, block: Block) -> list[T_co]:
        records: list[T_co] = []
        number, decode = block.first_line, self._decoder.decode
        try:
            for number, line in enumerate(block.lines, block.first_line):  # noqa: B007 - read where a line fails
                if line and not line.isspace():
                    records.append(decode(line))
        except msgspec.DecodeError as error:
            kind = "does not fit the type" if isinstance(error, msgspec.ValidationError) else "is not JSON"
            raise SourceUnreadable(
                f"line {number} of {block.path} {kind}: {error}", look_at_line(block.path, number)
            ) from error
        return records
