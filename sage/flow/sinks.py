"""Sinks as values: a list, the terminal, a file of JSON lines. Knows nothing of steps or threads."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, Generic, TypeVar

import msgspec

from sage.base.errors import SinkUnwritable

T = TypeVar("T")


class ListSink(Generic[T]):
    """Keeps records in memory; each run begins with an empty list. `items` is None before the first."""

    def __init__(self) -> None:
        self.items: list[T] | None = None

    def open(self) -> "ListWriter[T]":
        self.items = []
        return ListWriter(self.items)


class ListWriter(Generic[T]):
    def __init__(self, items: list[T]) -> None:
        self._items = items

    def write(self, records: Sequence[T]) -> None:
        self._items.extend(records)

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
    """One JSON value a line, UTF-8. The file appears, whole, when the job ends well; an older one is replaced then."""

    path: str

    def open(self) -> "JsonLinesWriter":
        """Start a temporary file beside `path`; raises SinkUnwritable."""
        path = os.path.abspath(self.path)
        if os.path.isdir(path):
            raise SinkUnwritable(f"{path} is a folder", "Name a file.")
        folder, name = os.path.split(path)
        partial = os.path.join(folder, f".{name}.{os.urandom(4).hex()}.partial")
        try:
            file = open(partial, "xb")  # noqa: SIM115 - closed by the writer
        except OSError as error:
            raise _unwritable(path, error) from error
        return JsonLinesWriter(path, partial, file)


class JsonLinesWriter:
    def __init__(self, path: str, partial: str, file: IO[bytes]) -> None:
        self._path = path
        self._partial = partial
        self._file = file
        self._num_written = 0
        self._encoder = msgspec.json.Encoder(enc_hook=_plain)

    def write(self, records: Sequence[object]) -> None:
        """Append; raises SinkUnwritable where the disk refuses or a record has no JSON form."""
        try:
            self._file.write(self._encoder.encode_lines(records))
        except OSError as error:
            raise _unwritable(self._path, error) from error
        except (TypeError, ValueError, OverflowError) as error:
            raise self._not_json(records) from error
        self._num_written += len(records)

    def close(self, *, complete: bool) -> None:
        """Put the file in its place, or remove what was begun."""
        try:
            with self._file as file:
                if complete:
                    file.flush()
                    os.fsync(file.fileno())
            if complete:
                os.replace(self._partial, self._path)
        except OSError as error:
            raise _unwritable(self._path, error) from error
        finally:
            if os.path.exists(self._partial):
                os.unlink(self._partial)

    def _not_json(self, records: Sequence[object]) -> SinkUnwritable:
        for number, record in enumerate(records, self._num_written + 1):
            try:
                self._encoder.encode(record)
            except (TypeError, ValueError, OverflowError) as error:
                return SinkUnwritable(
                    f"record {number} for {self._path} has no JSON form: {error}; it is {record!r:.200}",
                    "Map it to a dict, a dataclass or a Struct of plain values first.",
                )
        return SinkUnwritable(f"a record for {self._path} changed while it was written")


def _plain(value: Any) -> object:
    """Encode NumPy arrays and numbers, known by their `tolist`, without importing NumPy."""
    if hasattr(value, "tolist"):
        plain: object = value.tolist()
        return plain
    raise TypeError(f"objects of type {type(value).__name__} are not JSON")


def _unwritable(path: str, error: OSError) -> SinkUnwritable:
    return SinkUnwritable(
        f"{path} cannot be written: {error.strerror}", "Check the folder, its permissions and its room."
    )
