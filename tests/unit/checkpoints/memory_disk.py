"""A folder in memory that can be full, break, flip bits and lose tails. Knows nothing of what is written."""

import errno
from collections.abc import Iterable


class MemoryDisk:
    """A Disk. `log`: what was written, in order, and whether by a rename.

    `room_bytes`: how much can still be written; None: any amount. `unreadable`: files that give EIO.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.log: list[tuple[str, bytes, bool]] = []
        self.room_bytes: int | None = None
        self.unreadable: set[str] = set()

    def names(self) -> list[str]:
        return sorted(self.files)

    def files_of(self, name: str) -> dict[str, int]:
        return {file: len(content) for file, content in self.files.items() if file.startswith(f"{name}/")}

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        if name in self.files:
            raise FileExistsError(errno.EEXIST, "File exists")
        self._write(name, b"".join(chunks))
        self.log.append((name, self.files[name], False))

    def replace(self, name: str, content: bytes) -> None:
        self._write(f"{name}.new", content)
        self.files[name] = self.files.pop(f"{name}.new")
        self.log.append((name, content, True))

    def read(self, name: str) -> bytes:
        if name in self.unreadable:
            raise OSError(errno.EIO, "Input/output error")
        if name not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return self.files[name]

    def read_part(self, name: str, offset_bytes: int, len_bytes: int) -> bytes:
        return self.read(name)[offset_bytes : offset_bytes + len_bytes]

    def rename(self, name: str, new_name: str) -> None:
        self.files[new_name] = self.files.pop(name)

    def mark(self, name: str, before: str | None) -> None:
        self.files[name] = self.files.pop(before) if before is not None else b""

    def remove(self, name: str) -> None:
        self.files.pop(name, None)

    def flip(self, name: str, bit: int) -> None:
        """Let one bit of a file be another."""
        content = bytearray(self.files[name])
        content[bit // 8] ^= 1 << bit % 8
        self.files[name] = bytes(content)

    def _write(self, name: str, content: bytes) -> None:
        """Write as much as there is room for: what a full disk leaves of a file stays."""
        room = len(content) if self.room_bytes is None else min(self.room_bytes, len(content))
        self.files[name] = content[:room]
        if self.room_bytes is not None:
            self.room_bytes -= room
        if room < len(content):
            raise OSError(errno.ENOSPC, "No space left on device")
