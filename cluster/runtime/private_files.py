"""Files and folders that this user alone may open: made so, checked so, replaced whole. Knows nothing of keys."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cluster.runtime.file_lock import lock_within
from sage.base.errors import KeysUnsafe

_OTHERS = 0o077
_LOCK_TIMEOUT_S = 5.0


def make_private_directory(path: Path) -> Path:
    """Return `path` as a folder of mode 0700, made where it is missing; raises KeysUnsafe where others may enter it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    check_private_directory(path)
    return path


def check_private_directory(path: Path) -> None:
    """Raise KeysUnsafe unless `path` is a folder of this user's that nobody else may enter."""
    try:
        found = path.stat()
    except OSError as error:
        raise KeysUnsafe(f"{path} cannot be looked at: {error.strerror}", "Make it, of mode 0700.") from error
    if not stat.S_ISDIR(found.st_mode):
        raise KeysUnsafe(f"{path} is no folder", "Move it away.")
    _check_owner_and_mode(path, found, wanted=0o700)


def read_private(path: Path) -> bytes | None:
    """Return what is in a file of mode 0600, None where there is none; raises KeysUnsafe where others may open it."""
    try:
        with path.open("rb") as file:
            _check_owner_and_mode(path, os.fstat(file.fileno()), wanted=0o600)
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeysUnsafe(f"{path} cannot be read: {error.strerror}", f"Its mode is 0600: chmod 600 {path}") from error


def write_private(path: Path, data: bytes, *, replace: bool = True) -> bool:
    """Put `data` in a file of mode 0600, which is there whole or not at all, after a crash of the machine too.

    Without `replace` a file that is there stays; say whether ours was written. Raises KeysUnsafe.
    """
    check_private_directory(path.parent)
    try:
        return _write(path, data, replace=replace)
    except OSError as error:
        raise KeysUnsafe(f"{path} cannot be written: {error.strerror}", "Make room, or mend its folder.") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of `path`, against other processes and threads; raises KeysUnsafe where it is held for 5 s."""
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _check_owner_and_mode(path: Path, found: os.stat_result, *, wanted: int) -> None:
    if found.st_uid != os.geteuid():
        what = f"{path} belongs to user id {found.st_uid}, and this is user id {os.geteuid()}"
        raise KeysUnsafe(what, "Run as its owner, or take it over: chown.")
    mode = stat.S_IMODE(found.st_mode)
    if mode & _OTHERS:
        advice = f"chmod {wanted:o} {path}; where others work on this machine, make new keys too."
        raise KeysUnsafe(f"{path} is open to other users (mode {mode:04o})", advice)


def _write(path: Path, data: bytes, *, replace: bool) -> bool:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600, as all that mkstemp makes
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(name, path)
        else:
            os.link(name, path)
        _sync(path.parent)
    except FileExistsError:
        return False
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)
    return True


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    if not lock_within(descriptor, _LOCK_TIMEOUT_S):
        what = f"{path} has been locked by another process for {_LOCK_TIMEOUT_S} s"
        raise KeysUnsafe(what, "See which sage process hangs.")
