"""Sinks as values: a list, the terminal, a file of JSON lines. Knows nothing of steps or threads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from sage.base.errors import SinkUnwritable
from sage.flow.check_numbers import Fault
from sage.flow.file_shares import FileShares, fault_of_path, path_of_share
from sage.flow.json_form import NoJsonForm, encoded_line, encoded_lines
from sage.flow.ports import Repeats, Written
from sage.flow.refused import first_refused
from sage.flow.whole_file import WholeFile, begin_whole, resume_whole

T = TypeVar("T")


class ListSink(Generic[T]):
    """Keeps records in memory; each run begins with an empty list. `items` is None before the first.

    Of several instances each has a list of its own, and `items` is one list after the other.
    """

    repeats = Repeats.HIDDEN

    def __init__(self) -> None:
        self._num_shares = 1
        self._lists: dict[tuple[int, int], list[T]] = {}  # by how many shares there are, and the number of each

    @property
    def items(self) -> list[T] | None:
        own = [self._lists.get((self._num_shares, number)) for number in range(self._num_shares)]
        found = [items for items in own if items is not None]
        return found[0] if len(own) == len(found) == 1 else list(chain(*found)) if found else None

    def share(self, number: int, num_shares: int) -> "ListShare[T]":
        return ListShare(self, number, num_shares)

    def open(self) -> "ListWriter[T]":
        return self.begin(0, 1, [])

    def resume(self, position: Any, contents: Sequence[T]) -> "ListWriter[T]":
        """Begin with the records that an earlier writing had; as if nothing had happened."""
        return self.begin(0, 1, list(contents))

    def begin(self, number: int, num_shares: int, items: list[T]) -> "ListWriter[T]":
        """Have one share be `items`; forgets what another number of them wrote. May be called by several threads."""
        self._num_shares = num_shares
        self._lists[num_shares, number] = items
        for other in [key for key in list(self._lists) if key[0] != num_shares]:
            self._lists.pop(other, None)
        return ListWriter(items)


@dataclass(frozen=True, slots=True)
class ListShare(Generic[T]):
    """What one of several instances keeps in memory. Another number of them go on with the contents alone."""

    sink: ListSink[T]
    number: int
    num_shares: int

    def open(self) -> "ListWriter[T]":
        return self.sink.begin(self.number, self.num_shares, [])

    def resume(self, position: Any, contents: Sequence[T]) -> "ListWriter[T]":
        if self.number >= self.num_shares:
            return ListWriter([])  # its contents were dealt to those that are
        return self.sink.begin(self.number, self.num_shares, list(contents))


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
    """Prints one record a line to standard output. Lines of several instances come as they do, each of them whole."""

    def share(self, number: int, num_shares: int) -> "PrintSink":
        return self

    def open(self) -> "PrintWriter":
        return PrintWriter()


class PrintWriter:
    def write(self, records: Sequence[object]) -> None:
        """Print; raises SinkUnwritable where nobody reads any more."""
        lines = "".join(f"{record}\n" for record in records)
        try:
            print(lines, end="", flush=True)  # one piece: others may print too
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
    beside: FileShares | None = None

    def share(self, number: int, num_shares: int) -> "JsonLinesSink":
        return replace(self, path=path_of_share(self.path, number), beside=FileShares(self.path, num_shares))

    def unshared(self) -> Fault | None:
        return fault_of_path(self.path)

    def open(self) -> "JsonLinesWriter":
        """Start a temporary file beside `path`; raises SinkUnwritable."""
        return JsonLinesWriter(begin_whole(self.path, self.beside))

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
        refused: dict[int, SinkUnwritable] = {}
        for at, record in enumerate(records):
            try:
                encoded_line(self._encoder, record)
            except NoJsonForm as error:
                number = self._num_written + at + 1
                refused[at] = SinkUnwritable(
                    f"record {number} for {self._file.path} has no JSON form: {error}; it is {record!r:.200}",
                    "Map it to a dict, a dataclass or a Struct of plain values first, or set it aside: "
                    'on_error("dead_letter").',
                )
        if refused:
            return first_refused(refused)
        return SinkUnwritable(f"a record for {self._file.path} changed while it was written")


def _line_encoder() -> msgspec.json.Encoder:
    return msgspec.json.Encoder(enc_hook=_plain)


def _plain(value: Any) -> object:
    """Encode NumPy arrays and numbers, known by their `tolist`, without importing NumPy."""
    if hasattr(value, "tolist"):
        plain: object = value.tolist()
        return plain
    raise TypeError(f"objects of type {type(value).__name__} are not JSON")
