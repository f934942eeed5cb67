"""The log of a process that writes to a file by itself, kept from growing without end. Knows no process.

What was written is moved to a file beside it, over what was moved there before, once it is long enough. Whoever writes
appends, so that it goes on at the file's new end. Bytes count from the first ever written: what is in no file any more
is passed over by those who read on. What is written while the file is being moved may be lost.
"""

import os
import shutil
from pathlib import Path

MAX_LOG_BYTES = 4 * 1024 * 1024
"""Of the file at `path` when it is looked at, and of the one beside it."""

_TAIL_CHARS = 2000


class BoundedLog:
    """Used by one thread. `path` is for the process to append to."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_LOG_BYTES) -> None:
        self.path = path
        self._before = path.with_name(f"{path.name}.1")
        self._max_bytes = max_bytes
        self._begins = 0  # the first byte in `path`
        self._kept = 0  # bytes in the file beside it: those right before

    def bound(self) -> None:
        """Move what there is away where it is long enough; nothing where it cannot be."""
        try:
            with self.path.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                if end <= self._max_bytes:
                    return
                file.seek(end - self._max_bytes)
                with self._before.open("wb") as before:
                    shutil.copyfileobj(file, before)
                    self._kept = before.tell()
                self._begins += file.tell()
            os.truncate(self.path, 0)
        except OSError:  # a full disk: it is tried again, and until then all is where it was
            return

    def piece(self, at_byte: int | None, max_bytes: int) -> tuple[bytes, int]:
        """Return so much from `at_byte` on, the newest where that is None, and where the next piece begins.

        Raises: OSError where it cannot be read.
        """
        with self.path.open("rb") as file:
            end = self._begins + file.seek(0, os.SEEK_END)
            first = self._begins - self._kept
            at = max(first, end - max_bytes if at_byte is None else min(at_byte, end))
            data = self._piece_before(at, max_bytes)
            file.seek(max(0, at - self._begins))
            data += file.read(max_bytes - len(data))
        return data, at + len(data)

    def tail(self) -> str:
        """Return the end of it, trimmed; "" where there is nothing."""
        try:
            data, _ = self.piece(None, 4 * _TAIL_CHARS)
        except FileNotFoundError:
            return ""
        return data.decode("utf-8", "replace").strip()[-_TAIL_CHARS:]

    def _piece_before(self, at: int, max_bytes: int) -> bytes:
        if at >= self._begins:
            return b""
        with self._before.open("rb") as before:
            before.seek(self._kept - (self._begins - at))
            return before.read(max_bytes)
