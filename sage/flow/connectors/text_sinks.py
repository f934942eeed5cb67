"""Files of lines and of CSV as sinks, which appear, whole, at a good end. Knows nothing of steps or threads."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from sage.base.errors import SinkUnwritable
from sage.flow.check_numbers import Fault
from sage.flow.connectors.rows import check_columns, rows_from_records
from sage.flow.file_shares import FileShares, fault_of_path, path_of_share
from sage.flow.kept_position import position_as
from sage.flow.ports import Repeats, Written
from sage.flow.refused import each_of
from sage.flow.whole_file import WholeFile, begin_whole, resume_whole


@dataclass(frozen=True, slots=True)
class TextSink:
    """One text a line, UTF-8."""

    repeats: ClassVar = Repeats.HIDDEN
    refuses_records: ClassVar = True

    path: str
    beside: FileShares | None = None

    def share(self, number: int, num_shares: int) -> "TextSink":
        return replace(self, path=path_of_share(self.path, number), beside=FileShares(self.path, num_shares))

    def unshared(self) -> Fault | None:
        return fault_of_path(self.path)

    def open(self) -> "TextWriter":
        """Start a temporary file beside `path`; raises SinkUnwritable."""
        return TextWriter(begin_whole(self.path, self.beside))

    def resume(self, position: Sequence[Any], contents: Sequence[Any]) -> "TextWriter":
        return TextWriter(resume_whole(self.path, position))

    def form_of(self, record: object) -> str:
        """Return the line of a record, and write nothing; raises SinkUnwritable where it is none."""
        return _line(record, self.path).decode()


class TextWriter:
    def __init__(self, file: WholeFile) -> None:
        self._file = file

    def write(self, records: Sequence[object]) -> None:
        """Append; raises SinkUnwritable where the disk refuses, or a record is no line."""
        path = self._file.path
        try:
            lines = [_line(record, path) for record in records]
        except SinkUnwritable:
            each_of(records, lambda record: _line(record, path))
            raise
        self._file.write(b"".join(lines))

    def written(self) -> Written:
        return self._file.written()

    def close(self, *, complete: bool) -> None:
        """Put the file in its place, or remove what was begun."""
        self._file.close(complete=complete)


def _line(record: object, path: str) -> bytes:
    """Return a text and the end of its line; raises SinkUnwritable."""
    if not isinstance(record, str) or "\n" in record:
        what = "is of more than one line" if isinstance(record, str) else "is no text"
        raise SinkUnwritable(f"a record for {path} {what}: {record!r:.200}", "Map it to a line.")
    return _encoded(f"{record}\n", path)


def _encoded(text: str, path: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise SinkUnwritable(f"a text for {path} has no UTF-8 form: {error}") from error


@dataclass(frozen=True, slots=True)
class CsvSink:
    """A row a record, after one of the columns' names: `columns`, or else the fields of the first record."""

    repeats: ClassVar = Repeats.HIDDEN
    refuses_records: ClassVar = True

    path: str
    columns: tuple[str, ...] | None = None
    delimiter: str = ","
    beside: FileShares | None = None

    def share(self, number: int, num_shares: int) -> "CsvSink":
        return replace(self, path=path_of_share(self.path, number), beside=FileShares(self.path, num_shares))

    def unshared(self) -> Fault | None:
        if self.columns is None:
            return Fault("each file would have the columns of its own first record", 'Name them: columns=["id"].')
        return fault_of_path(self.path)

    def open(self) -> "CsvWriter":
        """Start a temporary file beside `path`; raises SinkUnwritable."""
        return CsvWriter(self, begin_whole(self.path, self.beside), None)

    def resume(self, position: Sequence[Any], contents: Sequence[Any]) -> "CsvWriter":
        place, columns = position_as(tuple[Any, tuple[str, ...] | None], position, self.path)
        return CsvWriter(self, resume_whole(self.path, place), columns)

    def form_of(self, record: object) -> str:
        """Return the line of a record, and write nothing; raises SinkUnwritable where it has none.

        Where no columns were named, its own fields are taken for them.
        """
        rows = rows_from_records([record], self.path)
        columns = self.columns or tuple(rows[0])
        check_columns(rows, columns, self.path)
        return self.lines([[rows[0].get(name) for name in columns]]).decode()

    def lines(self, rows: Sequence[Sequence[object]]) -> bytes:
        """Return the lines of rows; raises SinkUnwritable, saying which it is, where one has no UTF-8 form."""
        try:
            return self._lines(rows)
        except SinkUnwritable:
            each_of(rows, lambda row: self._lines([row]))
            raise

    def _lines(self, rows: Sequence[Sequence[object]]) -> bytes:
        text = self._text(rows, csv.QUOTE_MINIMAL)
        if "\r" in text:  # which the module, up to Python 3.12, leaves bare, as if a line ended there
            text = self._text(rows, csv.QUOTE_ALL)
        return _encoded(text, self.path)

    def _text(self, rows: Sequence[Sequence[object]], quoting: Literal[0, 1]) -> str:
        text = io.StringIO()
        csv.writer(text, delimiter=self.delimiter, lineterminator="\n", quoting=quoting).writerows(rows)
        return text.getvalue()


class CsvWriter:
    def __init__(self, sink: CsvSink, file: WholeFile, columns: Sequence[str] | None) -> None:
        """`columns`: those whose names are in the file."""
        self._file = file
        self._sink = sink
        self._columns = columns

    def write(self, records: Sequence[object]) -> None:
        """Append; raises SinkUnwritable where the disk refuses, or a record is no row of these columns."""
        rows = rows_from_records(records, self._file.path)
        if not rows:
            return
        columns = self._columns or self._sink.columns or tuple(rows[0])
        check_columns(rows, columns, self._file.path)
        head = b"" if self._columns is not None else self._sink.lines([columns])
        self._file.write(head + self._sink.lines([[row.get(name) for name in columns] for row in rows]))
        self._columns = columns

    def written(self) -> Written:
        written = self._file.written()
        return Written((written.position, self._columns), settle=written.settle)

    def close(self, *, complete: bool) -> None:
        """Put the file in its place, or remove what was begun; without records it has the columns that were named."""
        if complete and self._columns is None and self._sink.columns is not None:
            self._file.write(self._sink.lines([self._sink.columns]))
        self._file.close(complete=complete)
