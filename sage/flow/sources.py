"""Sources as values: collections, text files, files of JSON lines. Knows nothing of steps or threads."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

import msgspec

from sage.base.errors import SourceUnreadable
from sage.flow.files import check_length, files_of_pattern, look_at_line, paths_from
from sage.flow.lines import Block, blocks_of_files

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True, eq=False)
class CollectionSource(Generic[T_co]):
    """What is at hand: a list, tuple or range is sliced; anything else is iterated anew at each reading."""

    items: Iterable[T_co]

    def open(self) -> "SliceReader[T_co] | IteratorReader[T_co]":
        items = self.items
        return SliceReader(items) if isinstance(items, list | tuple | range) else IteratorReader(iter(items))

    def open_at(self, position: int) -> "SliceReader[T_co] | IteratorReader[T_co]":
        """Go on after `position` items; where they are iterated, they must be the same again."""
        reader = self.open()
        reader.pass_over(position)
        return reader


class OneShotSource(Generic[T_co]):
    """An iterator, which can be read once only."""

    def __init__(self, items: Iterator[T_co]) -> None:
        self._items: Iterator[T_co] | None = items

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

    def open(self) -> "TextReader":
        return TextReader(blocks_of_files(files_of_pattern(self.path)))

    def open_at(self, position: Sequence[Any]) -> "TextReader":
        return text_reader_at(self.path, position)


@dataclass(frozen=True, slots=True)
class JsonLinesSource(Generic[T_co]):
    """One JSON value a line, decoded as `as_type`; blank lines are passed over."""

    path: str
    as_type: type[T_co]

    def open(self) -> "JsonLinesReader[T_co]":
        return JsonLinesReader(TextReader(blocks_of_files(files_of_pattern(self.path))), self.as_type)

    def open_at(self, position: Sequence[Any]) -> "JsonLinesReader[T_co]":
        return JsonLinesReader(text_reader_at(self.path, position), self.as_type)


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
    path, first_line, offset_bytes, num_lines = position
    if not path:
        return TextReader(blocks_of_files(files_of_pattern(pattern)))
    paths = paths_from(pattern, path)
    check_length(path, offset_bytes)
    reader = TextReader(blocks_of_files(paths, first_line, offset_bytes))
    reader.pass_over(num_lines)
    return reader


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
