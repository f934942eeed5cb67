"""A file that appears, whole, when all is well: what is written until then lies beside it. Knows no format.

A writing can be gone on with after its process has ended: all beyond a position is cut off then. Two phases: what a
checkpoint counts on is on the disk before the checkpoint is, and nobody sees it before the end.

    .NAME.1a2b3c4d.begun      no checkpoint counts on it; held by a lock as long as its process lives
    .NAME.1a2b3c4d.partial    one may: it stays whatever happens, until the writing is gone on with and ends

A file that is begun, and that nobody holds, was left by a run that was killed: the next that writes NAME removes it.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from sage.base.errors import SageError, SinkUnwritable
from sage.base.full_disk import disk_full, is_full
from sage.flow.kept_position import position_as
from sage.flow.packing import packer_of
from sage.flow.ports import Written

_LEN_PACKED_BYTES = 1 << 18  # of content that make one piece of a packed file, unless a checkpoint comes first
_BEGUN, _PARTIAL = ".begun", ".partial"
_LEN_HEX = 8


class PartialFile:
    """Written by one thread."""

    def __init__(self, path: str, partial: str, file: IO[bytes]) -> None:
        """Use `begin_file` or `resume_file`."""
        self.path = path
        self.partial = partial
        self._file = file
        self._is_kept = False
        self._made: str | None = None
        self._unsettled: SageError | None = None
        self._pack = packer_of(path)
        self._unpacked = bytearray()

    def write(self, data: bytes) -> None:
        """Append, packed where the file's name says so; raises SinkUnwritable or DiskFull where the disk does."""
        if self._pack is not None:
            self._unpacked += data
            if len(self._unpacked) < _LEN_PACKED_BYTES:
                return
            data = self._packed()
        try:
            self._file.write(data)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def written(self) -> Written:
        """Return how far it is. From now on the partial file is kept, also where the job fails: a later run goes on."""
        self._refuse_unsettled()
        try:
            self._file.write(self._packed())
            self._file.flush()
            number = self._file.fileno()
            found = os.fstat(number)
            self._keep()
            own = os.dup(number)  # the file may be closed by the time that it is settled
        except OSError as error:
            raise unwritable(self.path, error) from error
        position = (self.partial, found.st_size, found.st_dev, found.st_ino)
        return Written(position, settle=lambda: self._settle(own))

    def rewrite(self, make: Callable[[IO[bytes], IO[bytes]], None]) -> None:
        """Have `make(source, target)` turn what was written into what `close` puts in its place; raises SinkUnwritable.

        Until then what was written stays, to be gone on with.
        """
        made = _partial_beside(self.path)[1]
        try:
            self._file.flush()
            with open(self.partial, "rb") as source, open(made, "xb") as target:
                self._made = made
                make(source, target)
                target.flush()
                os.fsync(target.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error

    def close(self, *, complete: bool) -> None:
        """Put the file in its place, or remove what was begun unless that is kept."""
        try:
            with self._file as file:
                if complete:
                    self._refuse_unsettled()
                    file.write(self._packed())
                    file.flush()
                    os.fsync(file.fileno())
            if complete:
                os.replace(self._made or self.partial, self.path)
                self._is_kept = False
        except OSError as error:
            raise unwritable(self.path, error) from error
        finally:
            for left in (self._made, None if self._is_kept else self.partial):
                if left is not None and os.path.exists(left):
                    os.unlink(left)

    def _cut(self, len_bytes: int) -> None:
        """Leave only what a position counts on; raises SinkUnwritable where that is not there."""
        self._file.flush()
        if os.fstat(self._file.fileno()).st_size < len_bytes:
            self.close(complete=False)
            raise SinkUnwritable(
                f"{self.partial} is shorter than the {len_bytes} bytes that a checkpoint counts on",
                'Begin anew, without the checkpoint: resume="never".',
            )
        self._file.truncate(len_bytes)
        self._file.seek(len_bytes)

    def _keep(self) -> None:
        if not self._is_kept:
            partial = f"{self.partial.removesuffix(_BEGUN)}{_PARTIAL}"
            os.rename(self.partial, partial)
            self.partial, self._is_kept = partial, True

    def _settle(self, number: int) -> None:
        """Have all be on the disk that the file holds by now; on another thread, one after the other."""
        try:
            self._refuse_unsettled()
            os.fdatasync(number) if hasattr(os, "fdatasync") else os.fsync(number)
        except OSError as error:
            self._unsettled = unwritable(self.path, error)
            raise self._unsettled from error
        finally:
            os.close(number)

    def _refuse_unsettled(self) -> None:
        """Raise what an earlier settling did: the system may have let go of what it could not write, and says so once.

        Whoever resumes cuts it off and writes it anew. (Rebello et al., "Can Applications Recover from fsync
        Failures?", USENIX ATC 2020.)
        """
        if self._unsettled is not None:
            raise self._unsettled

    def _packed(self) -> bytes:
        """Return what was not packed until now, as a piece of its own; all before can be cut off after it."""
        if self._pack is None or not self._unpacked:
            return b""
        data, self._unpacked = bytes(self._unpacked), bytearray()
        return self._pack(data)


def begin_file(path: str) -> PartialFile:
    """Start a temporary file beside `path`, and remove those that killed runs left; raises SinkUnwritable."""
    path, begun = _partial_beside(path, _BEGUN)
    try:
        _sweep(path)
        file = open(begun, "xb")  # noqa: SIM115 - closed by whoever writes
        if _is_held(file) and os.path.exists(begun):
            return PartialFile(path, begun, file)
        file.close()  # another run swept it before it was held
        return begin_file(path)
    except OSError as error:
        raise unwritable(path, error) from error


def _is_held(file: IO[bytes]) -> bool:
    """Hold a file; say whether nobody sweeps it. Where files cannot be locked none is ever removed."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _sweep(path: str) -> None:
    """Remove what was begun for `path` and nobody holds; what cannot be removed stays, and does no harm."""
    folder, name = os.path.split(path)
    for left in Path(folder).iterdir():
        if left.name.startswith(f".{name}.") and left.name.removeprefix(f".{name}.")[_LEN_HEX:] == _BEGUN:
            with suppress(OSError), open(left, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()


def resume_file(path: str, position: Sequence[Any]) -> PartialFile:
    """Go on where an earlier writing said it was; raises SinkUnwritable where its file is gone or too short."""
    partial, len_bytes, device, inode = position_as(tuple[str, int, int, int], position, path)
    path = os.path.abspath(path)
    try:
        if os.path.exists(partial):
            resumed = PartialFile(path, partial, open(partial, "r+b"))  # noqa: SIM115 - closed by whoever writes
            resumed._is_kept = True
        elif _is_file(path, device, inode):
            resumed = begin_file(path)  # it had come to its end, after the checkpoint
            with open(path, "rb") as whole:
                shutil.copyfileobj(whole, resumed._file)
        else:
            raise SinkUnwritable(
                f"{partial}, in which {path} was written before, is gone",
                'Begin anew, without the checkpoint: resume="never".',
            )
        resumed._cut(len_bytes)
    except OSError as error:
        raise unwritable(path, error) from error
    return resumed


def unwritable(path: str, error: OSError) -> SageError:
    """Return what to tell users of a file that the disk refuses: DiskFull where room would help."""
    if is_full(error):
        return disk_full(path, error)
    return SinkUnwritable(
        f"{path} cannot be written: {error.strerror}", "Check the folder, its permissions and its room."
    )


def _partial_beside(path: str, suffix: str = _PARTIAL) -> tuple[str, str]:
    path = os.path.abspath(path)
    if os.path.isdir(path):
        raise SinkUnwritable(f"{path} is a folder", "Name a file.")
    folder, name = os.path.split(path)
    return path, os.path.join(folder, f".{name}.{os.urandom(_LEN_HEX // 2).hex()}{suffix}")


def _is_file(path: str, device: int, inode: int) -> bool:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (device, inode)
