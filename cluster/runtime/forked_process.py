"""Processes that are forked off while this one has a single thread, and wait to be told what to be.

What all of them need is imported once, before, and its memory is shared. They end where this process ends first. Knows
nothing of what they become.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic
from typing import IO

import msgspec

from cluster.runtime.host_process import OwnedProcess

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_LOOK_EVERY_S = 0.005
_LEN_LENGTH = 4

Be = Callable[[str], int]
"""What a process does once it is told `words`; returns its exit status."""


class _Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a process waits for. `log`: the file that takes what it prints from then on."""

    log: str
    words: str


class WaitingChild:
    """A process that was forked off, as its parent has it; what there is of `subprocess.Popen` does the same."""

    def __init__(self, pid: int, alive_fd: int, stdin_fd: int) -> None:
        self.pid = pid
        self.alive_fd = alive_fd
        self.stdin: IO[bytes] | None = os.fdopen(stdin_fd, "wb", buffering=0)
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Return how it ended; raises subprocess.TimeoutExpired. Asked for when its pipe has ended, so it is brief."""
        pause, until_s = threading.Event(), None if timeout is None else monotonic() + timeout
        while self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif until_s is not None and monotonic() > until_s:
                raise subprocess.TimeoutExpired("a process that was forked off", timeout or 0.0)
            else:
                pause.wait(_LOOK_EVERY_S)
        return self.returncode


class ForkedProcess(OwnedProcess):
    """An owned process that was forked off, told what to be."""

    def __init__(self, directory: Path, child: WaitingChild, words: str, *, log_path: Path) -> None:
        """Tell `child`; that it has ended by then, its pipe says."""
        super().__init__(directory, log_path)
        self.alive_fd, self._process = child.alive_fd, child
        told = msgspec.json.encode(_Told(str(log_path), words))
        if child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(len(told).to_bytes(_LEN_LENGTH, "big") + told)


def fork_waiting(num: int, be: Be, *, closes: Iterable[int] = ()) -> tuple[WaitingChild, ...]:
    """Fork up to `num` processes off, as many as the system lets; each closes `closes`, waits, and ends with what `be`
    returns.

    In them this ends by SystemExit. To be called while there is no other thread, lock or connection.
    """
    children: list[WaitingChild] = []
    for _ in range(num):
        siblings = [fd for child in children if child.stdin for fd in (child.alive_fd, child.stdin.fileno())]
        child = _forked(be, [*closes, *siblings])  # who holds a sibling's pipe would hide that we ended
        if child is None:
            break
        children.append(child)
    return tuple(children)


def _forked(be: Be, closes: Iterable[int]) -> WaitingChild | None:
    """Return a process, None where the system has none to give."""
    alive_fd, child_fd = os.pipe()
    told_fd, stdin_fd = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        for fd in (alive_fd, child_fd, told_fd, stdin_fd):
            os.close(fd)
        return None
    if pid == 0:
        os.setpgid(0, 0)
        for fd in (alive_fd, stdin_fd, *closes):
            os.close(fd)
        os.dup2(told_fd, _STDIN)
        os.close(told_fd)
        sys.exit(_wait_and_be(be))
    os.close(child_fd)
    os.close(told_fd)
    with contextlib.suppress(OSError):  # it has done so itself, or has ended
        os.setpgid(pid, pid)
    return WaitingChild(pid, alive_fd, stdin_fd)


def _wait_and_be(be: Be) -> int:
    length = int.from_bytes(_read(_LEN_LENGTH), "big")
    data = _read(length)
    if not data:
        return 0  # nobody needs it any more
    told = msgspec.json.decode(data, type=_Told)
    log_fd = os.open(told.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)  # as `open` does; its folder is private
    for fd in (_STDOUT, _STDERR):
        os.dup2(log_fd, fd)
    os.close(log_fd)
    return be(told.words)


def _read(length: int) -> bytes:
    """Return so many bytes of what is said to this process, b"" where it ends before."""
    data = b""
    while len(data) < length:
        part = os.read(_STDIN, length - len(data))
        if not part:
            return b""
        data += part
    return data
