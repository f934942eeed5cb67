"""A file at a URL that fsspec knows, which appears, whole, when all is well. Knows no format.

Stores behind URLs cannot go on with a file. What is written until a checkpoint lies there as a part of its own, beside
the file: `NAME.1a2b3c4d.parts/00000007`. At a good end the parts are put together on this machine, and take their place
by one move. What came after the last checkpoint lies in a temporary file of this machine.
"""

import os
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from typing import IO, Any

from sage.base.errors import SinkUnwritable, SourceUnreadable
from sage.flow.files import file_system
from sage.flow.packing import packer_of
from sage.flow.ports import Written

_LEN_PACKED_BYTES = 1 << 18
_LEN_COPIED_BYTES = 1 << 22


class RemoteFile:
    """Written by one thread; a part is brought to its place by another, before the checkpoint that counts on it.

    `here`: parts that are not in their place yet, or on their way; `there`: those that have come there, to be closed.
    Only the thread that writes closes files: what it reads at the end stays open, whatever the other does.
    """

    def __init__(self, path: str, partial: str, *, num_parts: int = 0, len_bytes: int = 0) -> None:
        """`partial`: the folder of its parts; `len_bytes`: what is in them together."""
        self.path = path
        self.partial = partial
        self._system, self._place = _writable(path)
        self._parts = _writable(partial)[1]
        self._num_parts = num_parts
        self._len_bytes = len_bytes
        self._is_kept = num_parts > 0
        self._pack = packer_of(path)
        self._unpacked = bytearray()
        self._tail: IO[bytes] = TemporaryFile()  # noqa: SIM115 - closed when it is a part, or at the end
        self._made: IO[bytes] | None = None
        self._here: dict[int, IO[bytes]] = {}
        self._there: deque[IO[bytes]] = deque()
        self._is_closed = False

    def write(self, data: bytes) -> None:
        """Append, packed where the file's name says so; raises SinkUnwritable where this machine's disk refuses."""
        if self._pack is not None:
            self._unpacked += data
            if len(self._unpacked) < _LEN_PACKED_BYTES:
                return
            data = self._packed()
        self._append(data)

    def written(self) -> Written:
        """Return how far it is. From now on the parts are kept, also where the job fails: a later run goes on."""
        self._append(self._packed())
        while self._there:
            self._there.popleft().close()
        if len_tail := self._tail.tell():
            self._tail.flush()
            self._here[self._num_parts] = self._tail
            self._num_parts += 1
            self._len_bytes += len_tail
            self._tail = TemporaryFile()  # noqa: SIM115 - closed when it is a part, or at the end
        self._is_kept = True
        return Written((self.partial, self._num_parts, self._len_bytes), settle=self._settle)

    def rewrite(self, make: Callable[[IO[bytes], IO[bytes]], None]) -> None:
        """Have `make(source, target)` turn what was written into what `close` puts in its place.

        Raises SinkUnwritable.
        """
        with self._whole() as source:
            self._made = TemporaryFile()  # noqa: SIM115 - closed at the end
            make(source, self._made)
            self._made.flush()

    def close(self, *, complete: bool) -> None:
        """Put the file in its place, and remove its parts unless they are kept."""
        try:
            if complete:
                self._append(self._packed())
                self._put_in_place()
                self._is_kept = False
        finally:
            self._is_closed = True
            for file in (self._tail, self._made, *self._here.values(), *self._there):
                if file is not None:
                    file.close()
            if not self._is_kept and self._num_parts:
                with suppress(Exception):  # what cannot be removed stays, and does no harm
                    self._system.rm(self._parts, recursive=True)

    def has_parts(self) -> bool:
        return bool(self._system.exists(self._part(self._num_parts - 1)))

    def take(self, len_bytes: int) -> bool:
        """Take so much of what is at the URL as written; False where there is less."""
        if not self._system.exists(self._place) or self._system.size(self._place) < len_bytes:
            return False
        with self._system.open(self._place, "rb") as source:
            shutil.copyfileobj(source, self._tail, _LEN_COPIED_BYTES)
        self._tail.flush()
        self._tail.truncate(len_bytes)
        self._tail.seek(len_bytes)
        return True

    def _append(self, data: bytes) -> None:
        try:
            self._tail.write(data)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _packed(self) -> bytes:
        if self._pack is None or not self._unpacked:
            return b""
        data, self._unpacked = bytes(self._unpacked), bytearray()
        return self._pack(data)

    def _settle(self) -> None:
        """Bring parts to their place; on any thread. What fails is tried at the next checkpoint."""
        try:
            for number, file in list(self._here.items()):
                if self._is_closed:
                    return  # the whole is there
                self._put(file, self._part(number))
                self._there.append(self._here.pop(number))
        except Exception as error:
            if not self._is_closed:
                raise unwritable(self.path, error) from error

    def _put_in_place(self) -> None:
        """Move the whole file to where it belongs: others see all of it, or what was there before."""
        beside = f"{self._place}.{os.urandom(4).hex()}.partial"
        try:
            with self._whole() if self._made is None else self._made as whole:
                self._put(whole, beside)
            self._system.mv(beside, self._place)
        except Exception as error:
            with suppress(Exception):
                self._system.rm(beside)
            raise unwritable(self.path, error) from error

    def _put(self, file: IO[bytes], place: str) -> None:
        self._system.makedirs(os.path.dirname(place), exist_ok=True)
        with self._system.open(place, "wb") as target:
            _copy(file, target)

    def _whole(self) -> IO[bytes]:
        """Return all that was written, on this machine; raises SinkUnwritable."""
        whole: IO[bytes] = TemporaryFile()  # noqa: SIM115 - the caller closes it
        try:
            self._tail.flush()
            for number in range(self._num_parts):
                if (here := self._here.get(number)) is not None:
                    _copy(here, whole)
                    continue
                with self._system.open(self._part(number), "rb") as part:
                    shutil.copyfileobj(part, whole, _LEN_COPIED_BYTES)
            _copy(self._tail, whole)
            whole.flush()
            whole.seek(0)
        except Exception as error:
            whole.close()
            raise unwritable(self.path, error) from error
        return whole

    def _part(self, number: int) -> str:
        return f"{self._parts}/{number:08d}"


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    """Copy all of a file of this machine, wherever others are reading it."""
    offset_bytes = 0
    while piece := os.pread(source.fileno(), _LEN_COPIED_BYTES, offset_bytes):
        target.write(piece)
        offset_bytes += len(piece)


def begin_remote(path: str) -> RemoteFile:
    """Start to write; nothing is there before the first checkpoint, or the end. Raises SinkUnwritable, ExtraMissing."""
    return RemoteFile(path, f"{path}.{os.urandom(4).hex()}.parts")


def resume_remote(path: str, position: Sequence[Any]) -> RemoteFile:
    """Go on where an earlier writing said it was; raises SinkUnwritable where its parts are gone."""
    partial, num_parts, len_bytes = position
    file = RemoteFile(path, partial, num_parts=num_parts, len_bytes=len_bytes)
    if num_parts and not file.has_parts():
        file.close(complete=False)
        return _begun_with(path, partial, len_bytes)
    return file


def _begun_with(path: str, partial: str, len_bytes: int) -> RemoteFile:
    """Begin with what is at the URL: it had come to its end, after the checkpoint."""
    begun = begin_remote(path)
    if not begun.take(len_bytes):
        begun.close(complete=False)
        raise SinkUnwritable(
            f"{partial}, in which {path} was written before, is gone",
            'Begin anew, without the checkpoint: resume="never".',
        )
    return begun


def _writable(url: str) -> tuple[Any, str]:
    try:
        return file_system(url)
    except SourceUnreadable as error:
        raise SinkUnwritable(error.what, error.do) from error


def unwritable(path: str, error: Exception) -> SinkUnwritable:
    """Return what to tell users of a store that refuses."""
    return SinkUnwritable(
        f"{path} cannot be written: {error}", "Check the URL, what it needs, and your right to write."
    )
