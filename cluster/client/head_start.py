"""Start a head as a process of its own and wait until it is ready. Knows nothing of what a head does."""

import os
import select
from collections.abc import Sequence
from pathlib import Path

import msgspec

from cluster.head.config import HeadConfig, HeadFailed, HeadReady
from cluster.runtime.host_process import HostProcess
from sage.base.clock import Clock, SystemClock
from sage.base.error_codes import error_classes
from sage.base.errors import ClusterStartFailed

START_S = 60.0
STOP_S = 15.0
MODULE = "cluster.head"
_MAX_SAID_BYTES = 1 << 16


class StartedHead:
    """A head that is ready, and its process."""

    def __init__(self, process: HostProcess, ready: HeadReady) -> None:
        self.ready = ready
        self._process = process

    def let_go(self) -> None:
        """Leave it running when this process ends; it must have been started untied."""
        self._process.let_go()

    def close(self, timeout_s: float = STOP_S) -> None:
        """Have it end, with its nodes and engines, in good order; kill it where that takes longer."""
        self._process.terminate()
        self._process.wait(timeout_s)
        self._process.close()


def start_head(config: HeadConfig, *, timeout_s: float = START_S) -> StartedHead:
    """Start a head and return once its nodes have joined; its log is `head.log` in its folder.

    One that is no child outlives us. Raises ClusterStartFailed, with its last words, or what it says itself.
    """
    arguments = [MODULE, "--config", msgspec.json.encode(config).decode()]
    return start_and_wait(arguments, Path(config.folder), "head.log", is_tied=config.is_child, timeout_s=timeout_s)


def start_and_wait(
    arguments: Sequence[str], folder: Path, log: str, *, is_tied: bool, timeout_s: float = START_S
) -> StartedHead:
    """Start `python -m ARGUMENTS --alive-fd N`, which says HeadReady or HeadFailed there, and wait for it.

    Raises as `start_head`.
    """
    try:
        process = HostProcess(folder, arguments, log_path=folder / log, is_tied=is_tied)
    except OSError as error:
        raise ClusterStartFailed(f"{arguments[0]} could not be started: {error}") from error
    try:
        said = _first_line(process.alive_fd, timeout_s, SystemClock())
        return StartedHead(process, _ready(said, process, timeout_s))
    except BaseException:
        process.close()
        raise


def _ready(said: bytes, process: HostProcess, timeout_s: float) -> HeadReady:
    if not said:
        how = f"was not ready within {timeout_s:g} s" if not process.has_ended() else process.reap()
        raise ClusterStartFailed(f"it {how}", process.log_tail() or "It left no word.")
    try:
        answer = msgspec.json.decode(said, type=HeadReady | HeadFailed)
    except msgspec.DecodeError as error:
        raise ClusterStartFailed(f"the head said what nobody understands: {said[:200]!r}") from error
    if isinstance(answer, HeadFailed):
        raise error_classes().get(answer.code, ClusterStartFailed)(answer.what, answer.do)
    return answer


def _first_line(fd: int, timeout_s: float, clock: Clock) -> bytes:
    """Return what is written to `fd` up to the end of the first line; b"" where none comes in time."""
    until_s = clock.monotonic_s() + timeout_s
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    said = b""
    while not said.endswith(b"\n") and len(said) < _MAX_SAID_BYTES:
        if not poll.poll(max(0.0, until_s - clock.monotonic_s()) * 1000):
            return b""
        part = os.read(fd, 4096)
        if not part:
            return b""
        said += part
    return said
