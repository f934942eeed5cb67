"""A file at a URL that fsspec knows, which appears, whole, when all is well. Knows no format.

Stores behind URLs cannot go on with a file. What is written until a checkpoint lies there as a part of its own, beside
the file: `NAME.1a2b3c4d.parts/00000007-5e6f7a8b`, with a token of who wrote it: a run that was given up, and brings its
part late, takes no place of the run that goes on. At a good end the parts are put together on this machine, and take
their place by one move. What came after the last checkpoint lies in a temporary file of this machine.
"""

import os
import shutil
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

from sage.base.errors import SageError, SinkUnwritable, SourceUnreadable
from sage.base.full_disk import disk_full, is_full
from sage.flow.files import file_system
from sage.flow.kept_position import position_as
from sage.flow.packing import packer_of
from sage.flow.ports import Written

_LEN_PACKED_BYTES = 1 << 18
_LEN_COPIED_BYTES = 1 << 22


class Parts(NamedTuple):
    """What is kept of a file. `writers`: the token of each who wrote parts, and the number of the part after its last.

    `crc` is CRC-32 of the `len_bytes` that are in the parts together.
    """

    folder: str
    writers: tuple[tuple[str, int], ...] = ()
    len_bytes: int = 0
    crc: int = 0

    @property
    def num(self) -> int:
        return self.writers[-1][1] if self.writers else 0

    def names(self) -> list[str]:
        """Return the names of the parts, in their order.

        >>> Parts("f", (("a", 2), ("b", 3))).names()
        ['00000000-a', '00000001-a', '00000002-b']
        """
        starts = (0, *(end for _, end in self.writers))
        return [
            f"{number:08d}-{token}"
            for (token, end), start in zip(self.writers, starts, strict=False)
            for number in range(start, end)
        ]


class RemoteFile:
    """Written by one thread; a part is brought to its place by another, before the checkpoint that counts on it.

    `here`: parts that are not in their place yet, or on their way; `there`: those that have come there, to be closed.
    Only the thread that writes closes files: what it reads at the end stays open, whatever the other does.
    """

    def __init__(self, path: str, kept: Parts) -> None:
        """`kept`: its parts so far, none where it begins."""
        self.path = path
        self.partial = kept.folder
        self._system, self._place = _writable(path)
        self._parts = _writable(kept.folder)[1]
        self._names = kept.names()
        self._before = kept.writers
        self._token = os.urandom(4).hex()
        self._len_bytes = kept.len_bytes
        self._crc = kept.crc
        self._is_kept = bool(self._names)
        self._pack = packer_of(path)
        self._unpacked = bytearray()
        self._tail: IO[bytes] = TemporaryFile()  # noqa: SIM115 - closed when it is a part, or at the end
        self._made: IO[bytes] | None = None
        self._here: dict[int, IO[bytes]] = {}
        self._there: deque[IO[bytes]] = deque()
        self._is_whole = self._is_closed = False

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
            self._flush_tail()
            self._here[len(self._names)] = self._tail
            self._names.append(f"{len(self._names):08d}-{self._token}")
            self._len_bytes += len_tail
            self._tail = TemporaryFile()  # noqa: SIM115 - closed when it is a part, or at the end
        self._is_kept = True
        return Written(tuple(self._kept()), settle=self._settle)

    def rewrite(self, make: Callable[[IO[bytes], IO[bytes]], None]) -> None:
        """Have `make(source, target)` turn what was written into what `close` puts in its place.

        Raises SinkUnwritable, DiskFull.
        """
        with self._whole() as source:
            self._made = TemporaryFile()  # noqa: SIM115 - closed at the end
            try:
                make(source, self._made)
                self._made.flush()
            except OSError as error:
                raise unwritable(self.path, error) from error

    def close(self, *, complete: bool) -> None:
        """Put the file in its place, and remove its parts unless they are kept."""
        try:
            if complete:
                self._append(self._packed())
                self._put_in_place()
                self._is_kept, self._is_whole = False, True
        finally:
            self._is_closed = True
            for file in (self._tail, self._made, *self._here.values(), *self._there):
                if file is not None:
                    with suppress(OSError):  # what a full disk refused is flushed once more; it is wanted no more
                        file.close()
            if not self._is_kept and self._names:
                self._remove_parts()

    def has_parts(self) -> bool:
        """Say whether all that was kept is there."""
        try:
            self._system.invalidate_cache(self._parts)
            there = {os.path.basename(name) for name in self._system.ls(self._parts, detail=False)}
        except FileNotFoundError:
            return False
        return there.issuperset(self._names)

    def take(self, kept: Parts) -> bool:
        """Take what was kept from what is at the URL; False where that does not begin so."""
        if not self._system.exists(self._place) or self._system.size(self._place) < kept.len_bytes:
            return False
        with self._system.open(self._place, "rb") as source:
            while (len_left := kept.len_bytes - self._tail.tell()) and (
                piece := source.read(min(_LEN_COPIED_BYTES, len_left))
            ):
                self._append(piece)
        return self._crc == kept.crc

    def _kept(self) -> Parts:
        num_before = self._before[-1][1] if self._before else 0
        mine = ((self._token, len(self._names)),) if len(self._names) > num_before else ()
        return Parts(self.partial, (*self._before, *mine), self._len_bytes, self._crc)

    def _flush_tail(self) -> None:
        try:
            self._tail.flush()
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _append(self, data: bytes) -> None:
        try:
            self._tail.write(data)
            self._crc = zlib.crc32(data, self._crc)
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
                if self._is_whole:
                    return
                if self._is_closed:
                    raise SinkUnwritable(f"{self.path} was given up before what a checkpoint counts on was there")
                self._put(file, self._part(number))
                self._there.append(self._here.pop(number))
        except Exception as error:
            if not self._is_whole:
                raise error if isinstance(error, SageError) else unwritable(self.path, error) from error
        finally:
            if self._is_whole:
                self._remove_parts()  # one that came after it

    def _remove_parts(self) -> None:
        with suppress(Exception):  # what cannot be removed stays, and does no harm
            self._system.rm(self._parts, recursive=True)

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
            for number in range(len(self._names)):
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
        return f"{self._parts}/{self._names[number]}"


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    """Copy all of a file of this machine, wherever others are reading it."""
    offset_bytes = 0
    while piece := os.pread(source.fileno(), _LEN_COPIED_BYTES, offset_bytes):
        target.write(piece)
        offset_bytes += len(piece)


def begin_remote(path: str) -> RemoteFile:
    """Start to write; nothing is there before the first checkpoint, or the end. Raises SinkUnwritable, ExtraMissing."""
    return RemoteFile(path, Parts(f"{path}.{os.urandom(4).hex()}.parts"))


def resume_remote(path: str, position: Sequence[Any]) -> RemoteFile:
    """Go on where an earlier writing said it was; raises SinkUnwritable where its parts are gone."""
    kept = Parts(*position_as(tuple[str, tuple[tuple[str, int], ...], int, int], position, path))
    file = RemoteFile(path, kept)
    if kept.num and not file.has_parts():
        file.close(complete=False)
        return _begun_with(path, kept)
    return file


def _begun_with(path: str, kept: Parts) -> RemoteFile:
    """Begin with what is at the URL: it had come to its end, after the checkpoint."""
    begun = begin_remote(path)
    if not begun.take(kept):
        begun.close(complete=False)
        raise SinkUnwritable(
            f"{kept.folder}, in which {path} was written before, is gone, or parts of it are",
            'Begin anew, without the checkpoint: resume="never".',
        )
    return begun


def _writable(url: str) -> tuple[Any, str]:
    try:
        return file_system(url)
    except SourceUnreadable as error:
        raise SinkUnwritable(error.what, error.do) from error


def unwritable(path: str, error: Exception) -> SageError:
    """Return what to tell users of a store, or a disk of this machine, that refuses: DiskFull where room would help."""
    if is_full(error):
        return disk_full(path, error)
    return SinkUnwritable(
        f"{path} cannot be written: {error}", "Check the URL, what it needs, and your right to write."
    )
