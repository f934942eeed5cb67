"""One host process seen from its parent: its start, its death noticed by a pipe, its last words, its end.

Knows nothing of what is said to it. The child alone holds the writing end of the pipe `alive_fd`, so the pipe ends
with the child, however it dies; the parent alone holds the child's standard input, so the child learns in the same way.
The two pipes carry what little they have to say to each other besides: see `say` and `heard`.
"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from cluster.runtime.bounded_log import BoundedLog

LOG_NAME = "host.log"
_MAX_PATH_BYTES = 100  # sun_path has 104 bytes on macOS, 108 on Linux
_REAP_S = 2.0
_ROOT = Path(__file__).resolve().parents[2]


class Child(Protocol):
    """What is needed of a process that this one has started; `subprocess.Popen` says what each does."""

    pid: int
    returncode: int | None
    stdin: IO[bytes] | None

    def wait(self, timeout: float | None = None) -> int: ...


class OwnedProcess:
    """A process in a group of its own (in a session where it is not tied), with a private directory for its files."""

    alive_fd: int
    _process: Child

    def __init__(self, directory: Path, log_path: Path | None, *, is_tied: bool = True) -> None:
        """`log_path`: by default in `directory`, which is removed with the process, unless that is not tied."""
        self.directory = directory
        self._remove_directory = weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)  # at exit too
        if not is_tied:
            self._remove_directory.detach()
        self._log = BoundedLog(log_path if log_path is not None else directory / LOG_NAME)

    @property
    def pid(self) -> int:
        return self._process.pid

    def has_ended(self) -> bool:
        """Say whether the process is gone, without waiting."""
        return self.wait(0.0)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the process to be gone; say whether it is."""
        poll = select.poll()
        poll.register(self.alive_fd, select.POLLHUP)
        return bool(poll.poll(timeout_s * 1000))

    def say(self, data: bytes) -> None:
        """Write to its standard input without waiting; lost where it is gone or does not read."""
        if self._process.stdin is not None:
            fd = self._process.stdin.fileno()
            os.set_blocking(fd, False)
            with contextlib.suppress(OSError):
                os.write(fd, data)

    def heard(self) -> bytes:
        """Return what it wrote to `alive_fd` since the last call, without waiting."""
        os.set_blocking(self.alive_fd, False)
        with contextlib.suppress(BlockingIOError):
            return os.read(self.alive_fd, 4096)
        return b""

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def abort(self) -> None:
        """End it as if it had crashed, so that it leaves in its log what its threads were doing."""
        self._signal(signal.SIGABRT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def reap(self) -> str:
        """Collect a process that has ended or was killed; return how it ended, in words."""
        try:
            status = self._process.wait(_REAP_S)  # its pipe ends an instant before its status can be had
        except subprocess.TimeoutExpired:
            self.kill()
            status = self._process.wait(_REAP_S)
        if status < 0:
            return f"was killed by {signal.Signals(-status).name}"
        return f"ended with exit status {status}"

    def log_tail(self) -> str:
        """Return the end of what it wrote, trimmed; "" where it wrote nothing."""
        return self._log.tail()

    def log_piece(self, at_byte: int | None, max_bytes: int) -> tuple[bytes, int]:
        """Return so much of its log from `at_byte` on, the newest where that is None, and where the next piece begins.

        Raises: OSError where it cannot be read.
        """
        return self._log.piece(at_byte, max_bytes)

    def bound_log(self) -> None:
        """Keep its log from growing without end; to be called now and then."""
        self._log.bound()

    def let_go(self) -> None:
        """Leave it running, which must not be tied, and close our ends of its pipes."""
        self._process.returncode = 0  # or Popen would complain that nobody waits for it
        os.close(self.alive_fd)

    def close(self) -> None:
        """Kill what is left of it, and remove its directory and our ends of its pipes."""
        self.kill()
        self.reap()
        if self._process.stdin is not None:
            self._process.stdin.close()
        os.close(self.alive_fd)
        self._remove_directory()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:  # else its number may belong to another by now
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)


class HostProcess(OwnedProcess):
    """An owned process that begins as a Python module."""

    def __init__(
        self,
        directory: Path,
        arguments: Sequence[str],
        *,
        log_path: Path | None = None,
        is_tied: bool = True,
        environment: Mapping[str, str] | None = None,
        shared_fds: Sequence[int] = (),
    ) -> None:
        """Start `python -m ARGUMENTS --alive-fd N`; it may not write to our terminal, only to its log.

        `log_path`: by default in `directory`, which is removed with the process. One that is not tied outlives us,
        unless it is closed, and its directory stays. `environment`: what differs in it from ours. `shared_fds`: of ours
        that it gets too, under the same numbers.
        """
        super().__init__(directory, log_path, is_tied=is_tied)
        self.alive_fd, child_fd = os.pipe()
        command = [sys.executable, "-P", "-m", *arguments, "--alive-fd", str(child_fd)]
        try:
            with self._log.path.open("ab") as log:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE if is_tied else subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(child_fd, *shared_fds),
                    start_new_session=not is_tied,
                    process_group=0 if is_tied else None,  # priorities count within a session: Linux' autogroups
                    env={**_environ(), **(environment or {})},
                )
        except OSError:
            os.close(self.alive_fd)
            raise
        finally:
            os.close(child_fd)


def tail_of(log: Path) -> str:
    """Return the end of a log, trimmed; "" where there is none."""
    return BoundedLog(log).tail()


def private_directory(inside: Path | None = None) -> Path:
    """Make a new directory that this user alone may enter, with a path short enough for a socket in it.

    `inside`: where it is to be, if its path is short enough there.
    """
    path = tempfile.mkdtemp(prefix="sage-", dir=inside)
    if len(os.fsencode(path)) + len("/socket") >= _MAX_PATH_BYTES:
        os.rmdir(path)
        path = tempfile.mkdtemp(prefix="sage-", dir="/tmp")  # 0700, as all that mkdtemp makes
    return Path(path)


def _environ() -> dict[str, str]:
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{_ROOT}{os.pathsep}{path}" if path else str(_ROOT), "PYTHONUNBUFFERED": "1"}
