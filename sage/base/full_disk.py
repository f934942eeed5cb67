"""Whether the system refused a write because there is no room, and what to tell people of it. Knows no file."""

from errno import EDQUOT, EFBIG, ENOSPC

from sage.base.errors import DiskFull

_NO_ROOM = frozenset({ENOSPC, EDQUOT, EFBIG})
"""The file system is full, the user's quota is used up, a file may not be longer (RLIMIT_FSIZE)."""

_SAID = ("No space left on device", "Disk quota exceeded", "File too large")
"""How the C library says the same: of what a library raises that keeps no number."""


def is_full(error: BaseException) -> bool:
    """Say whether more room would have let the write succeed."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _NO_ROOM
    return any(said in str(error) for said in _SAID)


def disk_full(where: str, error: BaseException) -> DiskFull:
    """Return what to tell people of a folder, or a file, for which there is no room."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return DiskFull(f"disk full at {where}: {why}", "Make room there: the job then goes on by itself.")
