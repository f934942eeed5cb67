"""Files as checkpoints need them, as a port: what is acknowledged is on the disk. Knows nothing of what is written."""

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

STORE = ".store"
"""How names of folders end that hold a table as it was laid down: they are whole, and never changed."""

STAGED = f"{STORE}.tmp"
"""How names of folders end in which RocksDB makes a table that is being laid down: of no use once it has stopped."""

LIVE = ".live"
"""How names of folders end that hold a table at work."""

_TABLES = (STORE, STAGED, LIVE)


class Disk(Protocol):
    """One folder. Every method raises OSError as the system does."""

    def names(self) -> list[str]:
        """Return the names of all files, and of folders of tables; makes the folder where there is none."""
        ...

    def files_of(self, name: str) -> dict[str, int]:
        """Return the files in the folder of a table, as names in this folder, and how many bytes each has."""
        ...

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write a file that is new; it and its content are on the disk once this returns."""
        ...

    def replace(self, name: str, content: bytes) -> None:
        """Have a file hold this or what it held before, whatever happens; on the disk once this returns."""
        ...

    def read(self, name: str) -> bytes: ...

    def read_part(self, name: str, offset_bytes: int, len_bytes: int) -> bytes:
        """Return so many bytes, or fewer where the file ends."""
        ...

    def rename(self, name: str, new_name: str) -> None: ...

    def mark(self, name: str, before: str | None) -> None:
        """Have an empty file of this name be there, in the place of `before`; a loss of power may undo that."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, or the folder of a table; one that is not there is passed over."""
        ...


class RealDisk:
    """A folder of this machine, readable by its user alone."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def names(self) -> list[str]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.scandir(self._folder) as entries:
            return sorted(
                entry.name for entry in entries if entry.is_file() or (entry.is_dir() and entry.name.endswith(_TABLES))
            )

    def files_of(self, name: str) -> dict[str, int]:
        with os.scandir(self._folder / name) as entries:
            return {f"{name}/{entry.name}": entry.stat().st_size for entry in entries}

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        path = self._folder / name
        path.parent.mkdir(exist_ok=True, mode=0o700)
        self._write(name, chunks, os.O_EXCL)
        settle_folder(path.parent)

    def replace(self, name: str, content: bytes) -> None:
        beside = f"{name}.new"
        self._write(beside, [content], os.O_TRUNC)
        os.replace(self._folder / beside, self._folder / name)
        settle_folder(self._folder)

    def read(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def read_part(self, name: str, offset_bytes: int, len_bytes: int) -> bytes:
        with open(self._folder / name, "rb", buffering=0) as file:
            file.seek(offset_bytes)
            return _read_all(file.fileno(), len_bytes)

    def rename(self, name: str, new_name: str) -> None:
        os.replace(self._folder / name, self._folder / new_name)
        settle_folder(self._folder)

    def mark(self, name: str, before: str | None) -> None:
        if before is not None:
            os.replace(self._folder / before, self._folder / name)
        else:
            os.close(os.open(self._folder / name, os.O_WRONLY | os.O_CREAT, 0o600))

    def remove(self, name: str) -> None:
        if name.endswith(_TABLES):
            with suppress(FileNotFoundError):
                shutil.rmtree(self._folder / name)
        else:
            (self._folder / name).unlink(missing_ok=True)

    def _write(self, name: str, chunks: Iterable[bytes], flag: int) -> None:
        number = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | flag, 0o600)
        try:
            for chunk in chunks:
                left = memoryview(chunk)
                while left:
                    left = left[os.write(number, left) :]
            settle(number)
        except OSError:
            with suppress(OSError):
                os.unlink(self._folder / name)  # on a full disk it would take the room that others wait for
            raise
        finally:
            os.close(number)


def _read_all(number: int, len_bytes: int) -> bytes:
    found: list[bytes] = []
    while len_bytes and (piece := os.read(number, len_bytes)):
        found.append(piece)
        len_bytes -= len(piece)
    return b"".join(found)


def settle_folder(folder: Path) -> None:
    """Have the names in a folder be on the disk; raises OSError."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def settle(number: int) -> None:
    """Have what was written to a file be on the disk; raises OSError."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(number)
    else:
        os.fsync(number)  # macOS
