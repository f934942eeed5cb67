"""CSV files as a source: a dict or a typed record a row. Knows nothing of steps or threads."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from sage.base.errors import SourceUnreadable
from sage.flow.connectors.csv_rows import RowBlock, blocks_of_csv, check_header, header_of_csv
from sage.flow.connectors.empty_fields import NOTHING, empty_values
from sage.flow.dealing import PartitionsRead
from sage.flow.files import check_length, files_of_pattern, look_at_line, paths_from
from sage.flow.sources import NOWHERE, files_read

T_co = TypeVar("T_co", covariant=True)

_NOWHERE = RowBlock("", 1, 0, [], [])


@dataclass(frozen=True, slots=True)
class CsvSource(Generic[T_co]):
    """The rows of the file `path`, or of the files that match it, each with the columns of its file's first row.

    `as_type`: None for dicts of texts; else what each row is made into, its texts read as numbers, dates, ...
    """

    path: str
    as_type: type[T_co] | None = None
    delimiter: str = ","
    num_at_once: ClassVar[int] = 1

    def open(self) -> "CsvReader[T_co]":
        return CsvReader(self, files_of_pattern(self.path))

    def open_at(self, position: Sequence[Any]) -> "CsvReader[T_co]":
        path = position[0]
        return self._reader(paths_from(self.path, path), position) if path else self.open()

    def partitions(self) -> list[str]:
        return files_of_pattern(self.path)

    def open_partition(self, name: str, position: Sequence[Any] | None) -> "CsvReader[T_co]":
        return self._reader([name], position or NOWHERE)

    def by_partition(self, position: Sequence[Any]) -> PartitionsRead:
        return files_read(self.path, position)

    def _reader(self, paths: list[str], position: Sequence[Any]) -> "CsvReader[T_co]":
        path, first_line, offset_bytes, num_rows = position
        if not path:
            return CsvReader(self, paths)
        check_length(path, offset_bytes)
        reader = CsvReader(self, paths, first_line, offset_bytes)
        reader.pass_over(num_rows)
        return reader


class CsvReader(Generic[T_co]):
    def __init__(self, source: CsvSource[T_co], paths: list[str], first_line: int = 1, offset_bytes: int = 0) -> None:
        """Read files from a row on of the first."""
        self._source = source
        self._header: list[str] = []
        self._empty = {} if source.as_type is None else empty_values(source.as_type)
        self._blocks = self._blocks_of(paths, first_line, offset_bytes)
        self._block = _NOWHERE
        self._next = 0

    def position(self) -> tuple[str, int, int, int]:
        """Return the file, where in it a row begins (line from 1, offset in bytes), and how many rows since then."""
        return self._block.path, self._block.first_line, self._block.offset_bytes, self._next

    def pass_over(self, num_rows: int) -> None:
        """Read rows of the file that is begun, its header among them, for nothing."""
        if self._has_more():
            num_rows -= self._next
        while num_rows and self._has_more():
            num_now = min(num_rows, len(self._block.rows) - self._next)
            self._next += num_now
            num_rows -= num_now

    def read(self, max_records: int) -> Sequence[T_co] | None:
        if not self._has_more():
            return None
        start = self._next
        self._next = min(start + max_records, len(self._block.rows))
        return self._records(start, self._next)

    def close(self) -> None:
        self._blocks.close()

    def _has_more(self) -> bool:
        while self._next == len(self._block.rows):
            block = next(self._blocks, None)
            if block is None:
                return False
            self._block, self._next = block, 0
            if block.offset_bytes == 0:
                self._next = 1  # the header
        return True

    def _blocks_of(self, paths: list[str], first_line: int, offset_bytes: int) -> Generator[RowBlock, None, None]:
        for path in paths:
            header = header_of_csv(path, self._source.delimiter)
            if header is not None:
                check_header(path, header)
                self._header = header
                yield from blocks_of_csv(path, self._source.delimiter, first_line, offset_bytes)
            first_line, offset_bytes = 1, 0

    def _records(self, start: int, end: int) -> list[Any]:
        header = self._header
        try:
            dicts = [dict(zip(header, row, strict=True)) for row in self._block.rows[start:end]]
        except ValueError as error:
            raise self._ragged(start, end) from error
        if self._source.as_type is None:
            return dicts
        if self._empty:
            dicts = [self._filled(row) for row in dicts]
        return self._typed(dicts, start)

    def _filled(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a row with what an empty text stands for in each column."""
        return {
            name: value if value else empty
            for name, value in row.items()
            if value or (empty := self._empty.get(name, value)) is not NOTHING
        }

    def _typed(self, rows: list[dict[str, Any]], start: int) -> list[Any]:
        as_type = self._source.as_type
        number = 0
        try:
            records = []
            for number, row in enumerate(rows):  # noqa: B007 - read where a row fails
                records.append(msgspec.convert(row, as_type, strict=False))
        except msgspec.ValidationError as error:
            raise self._at_fault(start + number, f"does not fit the type: {error}") from error
        return records

    def _ragged(self, start: int, end: int) -> SourceUnreadable:
        wanted = len(self._header)
        for number in range(start, end):
            if len(row := self._block.rows[number]) != wanted:
                return self._at_fault(number, f"has {len(row)} fields, and there are {wanted} columns")
        raise AssertionError(start)

    def _at_fault(self, number: int, what: str) -> SourceUnreadable:
        line, path = self._block.lines[number], self._block.path
        return SourceUnreadable(f"line {line} of {path} {what}", look_at_line(path, line))
