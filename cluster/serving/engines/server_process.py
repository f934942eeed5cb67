"""A server that belongs to an engine host: started under a keeper, its end noticed, ended with the host.

Knows no engine and speaks no HTTP. What the server prints goes where the host's own errors go. A host has one server
and starts nothing else meanwhile: what is left behind by a keeper that was killed becomes its child, and is killed.
"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.serving.engines import server_keeper

STOP_S = 3.0
_KILLED_S = 10.0


class ServerProcess:
    """Started at once; to be closed. `ended_fd` becomes readable once nothing of it runs any more."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], folder: Path) -> None:
        """Own `folder`, in which the server keeps its temporary files and which is removed with it.

        Raises: OSError where no process can be started, and then removes nothing.
        """
        self._folder = folder
        server_keeper.adopt_orphans()
        self._spared = server_keeper.children()
        keeper = [sys.executable, "-I", str(Path(server_keeper.__file__)), str(STOP_S), str(folder)]
        self._process = subprocess.Popen(
            [*keeper, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environ, "TMPDIR": str(folder)},
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self.pid = self._process.pid
        self.ended_fd = self._process.stdout.fileno()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has ended; say whether it has."""
        poll = select.poll()
        poll.register(self.ended_fd, select.POLLIN | select.POLLHUP)
        return bool(poll.poll(timeout_s * 1000))

    def close(self) -> None:
        """End it: it may finish what it must within STOP_S, then it is killed with all that it started."""
        if self._process.returncode is not None:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self.wait(STOP_S + _KILLED_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # a keeper that was killed left its group behind
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        server_keeper.kill_children(self._spared)
        shutil.rmtree(self._folder, ignore_errors=True)  # of a keeper that was killed
        self._process.stdout.close()
