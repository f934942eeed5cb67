"""Parquet files as a source: a dict or a typed record a row. Knows nothing of steps or threads."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from sage.base.errors import SourceUnreadable
from sage.flow.connectors.extras import library
from sage.flow.dealing import PartitionsRead
from sage.flow.files import files_of_pattern, opened, paths_from
from sage.flow.sources import files_read

T_co = TypeVar("T_co", covariant=True)

_LEN_READ_ROWS = 1024


@dataclass(frozen=True, slots=True)
class ParquetSource(Generic[T_co]):
    """The rows of the file `path`, or of the files that match it; `columns`: only these, None for all."""

    path: str
    as_type: type[T_co] | None = None
    columns: tuple[str, ...] | None = None
    num_at_once: ClassVar[int] = 1

    def open(self) -> "ParquetReader[T_co]":
        """Start a reading; raises SourceUnreadable, ExtraMissing."""
        return ParquetReader(self, files_of_pattern(self.path))

    def open_at(self, position: Sequence[Any]) -> "ParquetReader[T_co]":
        path, row_group, num_rows = position
        return ParquetReader(self, paths_from(self.path, path), row_group, num_rows) if path else self.open()

    def partitions(self) -> list[str]:
        return files_of_pattern(self.path)

    def open_partition(self, name: str, position: Sequence[Any] | None) -> "ParquetReader[T_co]":
        _, row_group, num_rows = position or ("", 0, 0)
        return ParquetReader(self, [name], row_group, num_rows)

    def by_partition(self, position: Sequence[Any]) -> PartitionsRead:
        return files_read(self.path, position)


class ParquetReader(Generic[T_co]):
    """Reads row group by row group, and of each some rows at a time: a large file is never in memory as a whole."""

    def __init__(self, source: ParquetSource[T_co], paths: list[str], row_group: int = 0, num_rows: int = 0) -> None:
        """Begin in the first file, after `num_rows` of a row group."""
        self._source = source
        self._parquet = library("pyarrow.parquet", "arrow")
        self._batches = self._batches_of(paths, row_group, num_rows)
        self._place: tuple[str, int, int] = ("", 0, 0)
        self._rows: Any = None  # a pyarrow RecordBatch that begins at `_place`
        self._next = 0

    def position(self) -> tuple[str, int, int]:
        """Return the file, the number of the row group, and how many rows of it were read."""
        path, row_group, first = self._place
        return path, row_group, first + self._next

    def read(self, max_records: int) -> Sequence[T_co] | None:
        while self._rows is None or self._next == self._rows.num_rows:
            batch = next(self._batches, None)
            if batch is None:
                return None
            (self._place, self._rows), self._next = batch, 0
        start, self._next = self._next, min(self._next + max_records, self._rows.num_rows)
        return self._records(self._rows.slice(start, self._next - start).to_pylist(), start)

    def close(self) -> None:
        self._batches.close()

    def _batches_of(
        self, paths: list[str], row_group: int, num_rows: int
    ) -> Generator[tuple[tuple[str, int, int], Any], None, None]:
        for path in paths:
            with ExitStack() as stack:
                file = self._opened(path, stack)
                for group in range(row_group, file.num_row_groups):
                    yield from self._rows_of(path, file, group, num_rows)
                    num_rows = 0
            row_group, num_rows = 0, 0

    def _opened(self, path: str, stack: ExitStack) -> Any:
        raw = stack.enter_context(opened(path))
        try:
            file = stack.enter_context(self._parquet.ParquetFile(raw))
        except self._broken() as error:
            raise SourceUnreadable(f"{path} is not Parquet: {error}", "Is it whole?") from error
        if missing := sorted(set(self._source.columns or ()) - set(file.schema_arrow.names)):
            known = ", ".join(file.schema_arrow.names)
            raise SourceUnreadable(f"{path} has no column {', '.join(missing)}", f"It has {known}.")
        return file

    def _rows_of(
        self, path: str, file: Any, group: int, num_passed: int
    ) -> Generator[tuple[tuple[str, int, int], Any], None, None]:
        first = 0
        columns = None if self._source.columns is None else list(self._source.columns)
        try:
            for batch in file.iter_batches(_LEN_READ_ROWS, row_groups=[group], columns=columns, use_threads=False):
                end = first + batch.num_rows
                if end > num_passed:
                    begin = max(first, num_passed)
                    yield (path, group, begin), batch.slice(begin - first)
                first = end
        except self._broken() as error:
            what = f"{path} cannot be read in row group {group} after {first} rows: {error}"
            raise SourceUnreadable(what, "Bring back a whole copy of it.") from error

    def _broken(self) -> tuple[type[Exception], ...]:
        return (library("pyarrow", "arrow").ArrowException, OSError)

    def _records(self, rows: list[dict[str, Any]], start: int) -> list[Any]:
        if self._source.as_type is None:
            return rows
        number = 0
        try:
            records = []
            for number, row in enumerate(rows):  # noqa: B007 - read where a row fails
                records.append(msgspec.convert(row, self._source.as_type))
        except msgspec.ValidationError as error:
            path, row_group, first = self._place
            what = f"row {first + start + number} of row group {row_group} of {path} does not fit the type: {error}"
            raise SourceUnreadable(what, "Change the type, or what wrote the file.") from error
        return records
