"""A process that keeps another for as long as its standard input is open, and leaves nothing of it running.

Run as a file, `python -I server_keeper.py STOP_S FOLDER COMMAND...`, so that the environment is the server's; FOLDER,
with its temporary files, goes with it. The input belongs to whoever wants the server, so that it ends with them,
however they die; the output tells them of its end. All that the server starts is in this process' group or becomes its
child; if this process itself is killed, the kernel ends the server, and whoever wants it kills what it left behind.
Knows no engine.
"""

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Container, Sequence

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_KILL_ROUNDS = 20


def keep(command: Sequence[str], stop_s: float, folder: str) -> None:
    """Run `command` until it ends or our standard input does; then kill what is left of it, and ourselves."""
    adopt_orphans()
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    keeper_pid = os.getpid()
    # this process has one thread, so that what runs between fork and exec can wait for no lock
    server = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=sys.stderr, preexec_fn=lambda: _become_server(keeper_pid)
    )
    poll = select.poll()
    poll.register(sys.stdin.fileno(), select.POLLIN)
    poll.register(woken, select.POLLIN)
    while server.poll() is None and not _is_over(poll.poll(), woken):
        pass
    if server.poll() is None:
        server.terminate()
    _wait(server, stop_s)
    status = server.poll()
    how = "was killed" if status is None else f"ended with exit status {status}"
    print(f"the server {how}", file=sys.stderr, flush=True)
    kill_children()
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def adopt_orphans() -> None:
    """Have what descends from this process become its child where its parent is gone, on Linux."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children() -> list[int]:
    """Return the children of our main thread, which those that we adopt are too; none where they cannot be had."""
    pid = os.getpid()
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]
    except OSError:  # no such file system: whoever asks does what else it can
        return []


def kill_children(spared: Container[int] = ()) -> None:
    """Kill and reap our children but those `spared`, round by round: what they leave behind becomes ours."""
    for _ in range(_KILL_ROUNDS):
        killed = [child for child in children() if child not in spared]
        if not killed:
            return
        for child in killed:
            os.kill(child, signal.SIGKILL)
        for child in killed:
            os.waitpid(child, 0)


def _become_server(keeper_pid: int) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != keeper_pid:  # it died before the kernel knew that we want to be told
        os._exit(1)


def _is_over(events: list[tuple[int, int]], woken: int) -> bool:
    """Say whether our standard input has ended."""
    for fd, _ in events:
        if fd == woken:
            os.read(woken, 4096)
        elif not os.read(fd, 4096):
            return True
    return False


def _wait(server: "subprocess.Popen[bytes]", timeout_s: float) -> None:
    try:
        server.wait(timeout_s)
    except subprocess.TimeoutExpired:
        server.kill()


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    keep(sys.argv[3:], float(sys.argv[1]), sys.argv[2])
