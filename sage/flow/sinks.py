"""Sinks as values: a list, the terminal, a file of JSON lines. Knows nothing of steps or threads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from sage.base.errors import SinkUnwritable
from sage.flow.json_form import NoJsonForm, encoded_line, encoded_lines
from sage.flow.ports import Repeats, Written
from sage.flow.whole_file import WholeFile, begin_whole, resume_whole

T = TypeVar("T")


class ListSink(Generic[T]):
    """Keeps records in memory; each run begins with an empty list. `items` is None before the first."""

    repeats = Repeats.HIDDEN

    def __init__(self) -> None:
        self.items: list[T] | None = None

    def open(self) -> "ListWriter[T]":
        self.items = []
        return ListWriter(self.items)

    def resume(self, position: Any, contents: Sequence[T]) -> "ListWriter[T]":
        """Begin with the records that an earlier writing had; as if nothing had happened."""
        self.items = list(contents)
        return ListWriter(self.items)


class ListWriter(Generic[T]):
    def __init__(self, items: list[T]) -> None:
        self._items = items

    def write(self, records: Sequence[T]) -> None:
        self._items.extend(records)

    def written(self) -> Written:
        return Written(contents=self._items)

    def close(self, *, complete: bool) -> None:
        """Nothing to finish: what came before a failure stays to be looked at."""


@dataclass(frozen=True, slots=True)
class PrintSink:
    """Prints one record a line to standard output."""

    def open(self) -> "PrintWriter":
        return PrintWriter()


class PrintWriter:
    def write(self, records: Sequence[object]) -> None:
        """Print; raises SinkUnwritable where nobody reads any more."""
        lines = "\n".join(map(str, records))
        try:
            print(lines, flush=True)
        except BrokenPipeError as error:
            raise SinkUnwritable("whoever read the standard output has closed it", "Let it read to the end.") from error

    def close(self, *, complete: bool) -> None:
        """Nothing to finish: each batch was flushed."""


@dataclass(frozen=True, slots=True)
class JsonLinesSink:
    """One JSON value a line, UTF-8. The file appears, whole, when the job ends well; an older one is replaced then.

    NaN and infinities are no JSON: a record that has one is refused.
    """

    repeats: ClassVar = Repeats.HIDDEN
    refuses_records: ClassVar = True

    path: str

    def open(self) -> "JsonLinesWriter":
        """Start a temporary file beside `path`; raises SinkUnwritable."""
        return JsonLinesWriter(begin_whole(self.path))

    def resume(self, position: Sequence[Any], contents: Sequence[Any]) -> "JsonLinesWriter":
        return JsonLinesWriter(resume_whole(self.path, position))

    def form_of(self, record: object) -> str:
        """Return the line of a record, and write nothing; raises SinkUnwritable where it has none."""
        try:
            return encoded_line(_line_encoder(), record).decode()
        except NoJsonForm as error:
            what = f"a record for {self.path} has no JSON form: {error}; it is {record!r:.200}"
            raise SinkUnwritable(what, "Map it to a dict, a dataclass or a Struct of plain values first.") from error


class JsonLinesWriter:
    def __init__(self, file: WholeFile) -> None:
        self._file = file
        self._num_written = 0
        self._encoder = _line_encoder()

    def write(self, records: Sequence[object]) -> None:
        """Append; raises SinkUnwritable where the disk refuses or a record has no JSON form."""
        try:
            lines = encoded_lines(self._encoder, records)
        except NoJsonForm as error:
            raise self._not_json(records) from error
        self._file.write(lines)
        self._num_written += len(records)

    def written(self) -> Written:
        return self._file.written()

    def close(self, *, complete: bool) -> None:
        """Put the file in its place, or remove what was begun."""
        self._file.close(complete=complete)

    def _not_json(self, records: Sequence[object]) -> SinkUnwritable:
        for at, record in enumerate(records):
            try:
                encoded_line(self._encoder, record)
            except NoJsonForm as error:
                number = self._num_written + at + 1
                refused = SinkUnwritable(
                    f"record {number} for {self._file.path} has no JSON form: {error}; it is {record!r:.200}",
                    "Map it to a dict, a dataclass or a Struct of plain values first, or set it aside: "
                    'on_error("dead_letter").',
                )
                refused.at = at
                return refused
        return SinkUnwritable(f"a record for {self._file.path} changed while it was written")


def _line_encoder() -> msgspec.json.Encoder:
    return msgspec.json.Encoder(enc_hook=_plain)


def _plain(value: Any) -> object:
    """Encode NumPy arrays and numbers, known by their `tolist`, without importing NumPy."""
    if hasattr(value, "tolist"):
        plain: object = value.tolist()
        return plain
    raise TypeError(f"objects of type {type(value).__name__} are not JSON")
