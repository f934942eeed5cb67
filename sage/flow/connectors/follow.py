"""A text file as a source that goes on as the file grows. Knows nothing of steps or threads.

Where the file is renamed and begun anew, what is left in the renamed one is read first; where it is cut off, it is read
from its start. A file is known by its device and inode.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from sage.base.errors import SourceUnreadable
from sage.flow.check_numbers import Fault
from sage.flow.files import unreadable
from sage.flow.lines import LEN_READ_BYTES
from sage.flow.packing import is_packed
from sage.flow.undealt import ELSEWHERE

EVERY_S = 0.25
_MAX_EMPTY_READS = 2  # of a renamed file before the next: whoever writes may not know yet

FileId = tuple[int, int]


@dataclass(frozen=True, slots=True)
class FollowSource:
    """The lines of the file `path`, and of those that take its place."""

    path: str

    def undealt(self) -> Fault | None:
        """Return why one instance reads it."""
        return Fault(f"{self.path}, one file that grows, is read by one instance, in its order", ELSEWHERE)

    def open(self) -> "FollowReader":
        """Start at the beginning; raises SourceUnreadable."""
        return FollowReader(self.path, self.path, 0)

    def open_at(self, position: Sequence[int]) -> "FollowReader":
        """Go on in the file that was read, under whatever name; raises SourceUnreadable where it is gone."""
        device, inode, offset_bytes = position
        for path in _files_beside(self.path):
            if _id_of(path) == (device, inode):
                return FollowReader(self.path, path, offset_bytes)
        raise SourceUnreadable(
            f"what was read of {self.path} before is not there any more, under this or a longer name",
            "Keep files that were renamed, as they are, until they are read.",
        )


class FollowReader:
    def __init__(self, path: str, begun: str, offset_bytes: int) -> None:
        """Read `begun`, which may have another name than `path` by now, from where a line begins."""
        self._path = path
        self._lines: list[str] = []
        self._next = 0
        self._rest = b""
        self._num_empty = 0
        self._file, self._id = _opened(begun)
        self._offset_bytes = self._file.seek(offset_bytes)
        self._first_bytes = offset_bytes

    def position(self) -> tuple[int, int, int]:
        """Return the file, and the offset in bytes at which the next line begins."""
        read = sum(len(line.encode()) + 1 for line in self._lines[: self._next])
        return *self._id, min(self._first_bytes + read, self._offset_bytes)  # a last line may have no end

    def read(self, max_records: int) -> Sequence[str]:
        if self._next == len(self._lines):
            self._read_more()
        lines = self._lines[self._next : self._next + max_records]
        self._next += len(lines)
        return [line.removesuffix("\r") for line in lines]

    def pause_s(self) -> float:
        return EVERY_S

    def close(self) -> None:
        self._file.close()

    def _read_more(self) -> None:
        """Take what whole lines there are; at the end of a file that was renamed, go on to the next."""
        try:
            if os.fstat(self._file.fileno()).st_size < self._offset_bytes:
                self._begin(self._file, self._id)
            piece = self._file.read(LEN_READ_BYTES)
        except OSError as error:
            raise unreadable(self._path, error) from error
        self._first_bytes = self._offset_bytes - len(self._rest)
        self._offset_bytes += len(piece)
        whole, end, self._rest = (self._rest + piece).rpartition(b"\n")
        self._take(whole + end)
        self._num_empty = 0 if piece else self._num_empty + 1
        if self._num_empty >= _MAX_EMPTY_READS and (following := self._following()) is not None:
            if self._rest:  # no line end will come
                self._take(self._rest)
                self._rest = b""
                following[0].close()
            else:
                self._file.close()
                self._begin(*following)

    def _begin(self, file: IO[bytes], file_id: FileId) -> None:
        self._file, self._id = file, file_id
        self._offset_bytes = self._file.seek(0)
        self._rest, self._num_empty, self._first_bytes = b"", 0, 0

    def _take(self, raw: bytes) -> None:
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            at = self._first_bytes + error.start
            raise SourceUnreadable(
                f"{self._path} is not UTF-8: byte 0x{raw[error.start]:02x} at offset {at}", "Write it as UTF-8."
            ) from error
        self._lines, self._next = text.split("\n"), 0
        if not self._lines[-1]:
            self._lines.pop()

    def _following(self) -> tuple[IO[bytes], FileId] | None:
        """Open the file that took the place of this one; None where this is the one to follow."""
        if _id_of(self._path) in (None, self._id):
            return None
        paths = _files_beside(self._path)
        ids = [_id_of(path) for path in paths]
        after = ids.index(self._id) + 1 if self._id in ids else len(paths) - 1
        return _opened(paths[after]) if after < len(paths) else None


def _files_beside(path: str) -> list[str]:
    """Return the file and what it was renamed to, the oldest first."""
    folder, name = os.path.split(os.path.abspath(path))
    try:
        found = [os.path.join(folder, each) for each in os.listdir(folder) if _is_renamed(name, each)]
    except OSError as error:
        raise unreadable(path, error) from error
    whole = os.path.join(folder, name)
    return sorted(
        (each for each in found if _id_of(each) is not None), key=lambda each: (each == whole, _changed(each))
    )


def _is_renamed(name: str, other: str) -> bool:
    return other == name or (other.startswith((f"{name}.", f"{name}-")) and not is_packed(other))


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _id_of(path: str) -> FileId | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _opened(path: str) -> tuple[IO[bytes], FileId]:
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by the reader
    except OSError as error:
        raise unreadable(path, error) from error
    found = os.fstat(file.fileno())
    return file, (found.st_dev, found.st_ino)
