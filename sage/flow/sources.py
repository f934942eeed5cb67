"""Sources as values: collections, text files, files of JSON lines. Knows nothing of steps or threads."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import msgspec

from sage.base.errors import SourceUnreadable
from sage.flow.lines import Block, blocks_of_files, files_of_pattern

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True, eq=False)
class CollectionSource(Generic[T_co]):
    """What is at hand: a list, tuple or range is sliced; anything else is iterated anew at each reading."""

    items: Iterable[T_co]

    def open(self) -> "SliceReader[T_co] | IteratorReader[T_co]":
        items = self.items
        return SliceReader(items) if isinstance(items, list | tuple | range) else IteratorReader(iter(items))


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


@dataclass(frozen=True, slots=True)
class JsonLinesSource(Generic[T_co]):
    """One JSON value a line, decoded as `as_type`; blank lines are passed over."""

    path: str
    as_type: type[T_co]

    def open(self) -> "JsonLinesReader[T_co]":
        return JsonLinesReader(blocks_of_files(files_of_pattern(self.path)), self.as_type)


class SliceReader(Generic[T_co]):
    """Reads a sequence by slices: no work for the single record."""

    def __init__(self, items: Sequence[T_co]) -> None:
        self._items = items
        self._next = 0

    def read(self, max_records: int) -> Sequence[T_co] | None:
        found = self._items[self._next : self._next + max_records]
        self._next += len(found)
        return found or None

    def close(self) -> None:
        """Nothing to let go."""


class IteratorReader(Generic[T_co]):
    """Reads an iterator; a generator is closed at the end."""

    def __init__(self, items: Iterator[T_co]) -> None:
        self._items = items

    def read(self, max_records: int) -> Sequence[T_co] | None:
        return list(islice(self._items, max_records)) or None

    def close(self) -> None:
        close = getattr(self._items, "close", None)
        if close is not None:
            close()


class TextReader:
    """Reads lines."""

    def __init__(self, blocks: Generator[Block, None, None]) -> None:
        self._blocks = blocks
        self._block = Block("", 1, [])
        self._next = 0

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
        path, first_line, lines = self._block
        start, self._next = self._next, min(self._next + max_records, len(lines))
        return Block(path, first_line + start, lines[start : self._next])

    def close(self) -> None:
        self._blocks.close()


class JsonLinesReader(Generic[T_co]):
    """Reads lines and decodes each."""

    def __init__(self, blocks: Generator[Block, None, None], as_type: type[T_co]) -> None:
        self._lines = TextReader(blocks)
        self._decoder: msgspec.json.Decoder[T_co] = msgspec.json.Decoder(as_type)

    def read(self, max_records: int) -> Sequence[T_co] | None:
        while (block := self._lines.read_block(max_records)) is not None:
            if records := self._decoded(block):
                return records
        return None

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
                f"line {number} of {block.path} {kind}: {error}", f"Look at it: sed -n {number}p {block.path}"
            ) from error
        return records
