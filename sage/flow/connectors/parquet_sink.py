"""Parquet files as a sink: rows are kept as Arrow batches, which can be gone on with, and become the file at the end.

A Parquet file cannot be gone on with after a kill, since its end says where everything is; Arrow's stream can be.
Knows nothing of steps or threads.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from sage.base.errors import SinkUnwritable
from sage.flow.check_numbers import Fault
from sage.flow.connectors.extras import library
from sage.flow.connectors.parquet_schema import fault_of_schema, unfit
from sage.flow.connectors.rows import check_columns, rows_from_records
from sage.flow.file_shares import FileShares, fault_of_path, path_of_share
from sage.flow.files import exists, opened_raw
from sage.flow.kept_position import position_as
from sage.flow.ports import Repeats, Written
from sage.flow.refused import first_refused, refused_alone
from sage.flow.whole_file import WholeFile, begin_whole, resume_whole

LEN_GROUP_ROWS = 1 << 16
_HOW = "Give write_parquet a schema=pyarrow.schema([...]) that all records fit."
_WRITING = "sage.writing"  # in the finished file: which writing it came of


@dataclass(frozen=True, slots=True)
class ParquetSink:
    """A row a record. `schema`: a pyarrow Schema; None: what the first batch of records looks like."""

    repeats: ClassVar = Repeats.HIDDEN

    path: str
    schema: Any = None
    beside: FileShares | None = None

    def share(self, number: int, num_shares: int) -> "ParquetSink":
        return replace(self, path=path_of_share(self.path, number), beside=FileShares(self.path, num_shares))

    def unshared(self) -> Fault | None:
        if self.schema is None:
            return Fault(
                "each file would have the schema of its own first records", "Give schema=pyarrow.schema([..])."
            )
        return fault_of_path(self.path)

    @property
    def refuses_records(self) -> bool:
        """Say whether a record is refused for itself: what the first ones look like is nobody's fault."""
        return self.schema is not None

    def form_of(self, record: object) -> dict[str, Any]:
        """Return the row of a record, and write nothing; raises SinkUnwritable where it does not fit the schema."""
        rows = rows_from_records([record], self.path)
        schema = self.schema if self.schema is not None else batch_of(rows, None, self.path).schema
        row: dict[str, Any] = batch_of(rows, schema, self.path).to_pylist()[0]
        return row

    def open(self) -> "ParquetWriter":
        """Start a temporary file beside `path`; raises SinkUnwritable, ExtraMissing."""
        return ParquetWriter(begin_whole(self.path, self.beside), self.schema)

    def resume(self, position: Sequence[Any], contents: Sequence[Any]) -> "ParquetWriter":
        place, head, num_rows = position_as(tuple[tuple[Any, ...], bytes | None, int], position, self.path)
        partial = str(next(iter(place), ""))
        if not os.path.exists(partial) and (batches := _finished(self.path, partial, num_rows)) is not None:
            writer = ParquetWriter(begin_whole(self.path), self.schema)  # it had come to its end, after the checkpoint
            for batch in batches:
                writer.add(batch)
            return writer
        writer = ParquetWriter(resume_whole(self.path, place), self.schema)
        if head is not None:
            writer.go_on(head, num_rows)
        return writer


class ParquetWriter:
    def __init__(self, file: WholeFile, schema: Any) -> None:
        self._file = file
        self._arrow = library("pyarrow", "arrow")
        self._schema = schema
        self._head: bytes | None = None
        self._num_rows = 0
        self._num_waiting = 0
        self._rows: list[Mapping[str, Any]] = []  # until there is a schema
        self._batches: list[Any] = []

    def go_on(self, head: bytes, num_rows: int) -> None:
        """The file begins with this schema, and has so many rows."""
        self._schema, self._head = self._arrow.ipc.read_schema(self._arrow.py_buffer(head)), head
        self._num_rows = num_rows

    def add(self, batch: Any) -> None:
        """Append a pyarrow RecordBatch; raises SinkUnwritable where the disk refuses."""
        if self._head is None:
            self._schema = batch.schema
            head: bytes = self._schema.serialize().to_pybytes()
            self._head = head
            self._file.write(head)
        self._file.write(batch.serialize().to_pybytes())
        self._num_rows += batch.num_rows

    def write(self, records: Sequence[object]) -> None:
        """Append; raises SinkUnwritable where the disk refuses, or a record is no row of the schema."""
        rows = rows_from_records(records, self._file.path)
        if self._schema is None:
            self._rows += rows  # the more there are, the better they say what the schema is
        elif rows:
            self._batches.append(batch_of(rows, self._schema, self._file.path))
        self._num_waiting += len(rows)
        if self._num_waiting >= LEN_GROUP_ROWS:
            self._append()

    def written(self) -> Written:
        self._append()
        written = self._file.written()
        return Written((written.position, self._head, self._num_rows), settle=written.settle)

    def close(self, *, complete: bool) -> None:
        """Make the Parquet file and put it in its place, or remove what was begun."""
        is_made = False
        try:
            if complete:
                self._append()
                self._file.rewrite(self._to_parquet)
                is_made = True
        finally:
            self._file.close(complete=is_made)

    def _append(self) -> None:
        """Write the rows that are waiting as one batch."""
        rows, self._rows = self._rows, []
        if rows:
            self._schema = batch_of(rows, None, self._file.path).schema
            if (fault := fault_of_schema(self._schema)) is not None:
                raise SinkUnwritable(f"the first records for {self._file.path} give no schema: {fault.what}", _HOW)
            self._batches.append(batch_of(rows, self._schema, self._file.path))
        batches, self._batches, self._num_waiting = self._batches, [], 0
        if batches:
            for batch in self._arrow.Table.from_batches(batches).combine_chunks().to_batches():
                self.add(batch)

    def _to_parquet(self, source: Any, target: Any) -> None:
        """Read Arrow's stream and write Parquet, a row group at a time."""
        parquet = library("pyarrow.parquet", "arrow")
        schema = self._schema if self._schema is not None else self._arrow.schema([])
        with parquet.ParquetWriter(target, schema) as writer:
            if self._head is not None:
                for batch in self._arrow.ipc.open_stream(source):
                    writer.write_batch(batch, row_group_size=LEN_GROUP_ROWS)
            writer.add_key_value_metadata({_WRITING: self._file.partial})


def batch_of(rows: Sequence[Mapping[str, Any]], schema: Any, path: str) -> Any:
    """Return rows as a pyarrow RecordBatch; `schema` None: what they look like.

    Raises SinkUnwritable, which says of each that does not fit a schema what is wrong.
    """
    if schema is not None:
        check_columns(rows, schema.names, path)
    try:
        return _batch_of(rows, schema, path)
    except SinkUnwritable:
        if schema is not None and (refused := _unfit_alone(rows, schema, path)):
            raise first_refused(refused) from None
        raise


def _unfit_alone(rows: Sequence[Mapping[str, Any]], schema: Any, path: str) -> dict[int, SinkUnwritable]:
    def fit(part: Sequence[int]) -> dict[int, SinkUnwritable]:
        try:
            _batch_of([rows[at] for at in part], schema, path)
        except SinkUnwritable as error:
            return dict.fromkeys(part, error)
        return {}

    return refused_alone(range(len(rows)), fit)


def _batch_of(rows: Sequence[Mapping[str, Any]], schema: Any, path: str) -> Any:
    arrow = library("pyarrow", "arrow")
    try:
        batch = arrow.RecordBatch.from_pylist(rows, schema=schema)
        if (what := unfit(batch)) is not None:
            raise TypeError(what)
        return batch
    except (arrow.ArrowException, TypeError, OverflowError, UnicodeEncodeError) as error:
        raise SinkUnwritable(
            f"records for {path} do not fit its schema: {error}; the schema is "
            f"{', '.join(f'{field.name}: {field.type}' for field in schema or ())}",
            _HOW,
        ) from error


def _finished(path: str, partial: str, num_rows: int) -> list[Any] | None:
    """Return the first rows of a file that came of this writing; None where it did not."""
    if not exists(path):
        return None
    arrow, parquet = library("pyarrow", "arrow"), library("pyarrow.parquet", "arrow")
    try:
        with opened_raw(path) as raw, parquet.ParquetFile(raw) as file:
            if (file.metadata.metadata or {}).get(_WRITING.encode()) != partial.encode():
                return None
            batches, num_left = [], num_rows
            for batch in file.iter_batches(LEN_GROUP_ROWS):
                batches.append(batch.slice(0, num_left))
                num_left -= batches[-1].num_rows
            return batches
    except (arrow.ArrowException, OSError):
        return None
