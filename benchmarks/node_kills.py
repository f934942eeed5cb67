"""How soon a flow on a started cluster is back at its rate after `kill -9` of a node or of its head. Knows no flow.

The cluster is what `sage-cluster start` gives, in a home of its own; it is stopped in the end, whatever happens.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from threading import Event
from time import monotonic
from typing import TypeVar

import psutil

from benchmarks.worker_kills import KillsResult, Struck, kill, measure_kills, pids_at_work
from cluster.client.cluster import RemoteCluster
from cluster.client.line import HeadLine
from cluster.client.reach import attach_by
from cluster.client.shipping import shipping_by
from cluster.runtime.keys import ClusterKeys
from cluster.runtime.place import DEFAULT_NAME, ClusterPlace, place_of_cluster
from sage.base.errors import InternalError

NUM_NODES = 2
_RUN = "import sys; from cluster.commands.cluster import main; sys.exit(main())"
_COMMAND_S = 60.0
_GONE_S = 10.0
_LOOK_EVERY_S = 0.005


def measure_node_kills(num_kills: int, every_s: float) -> KillsResult:
    """Raises InternalError where a flow did not bear its kill, or a command of the cluster failed."""
    return measure_kills(f"a node of a started cluster of {NUM_NODES}", num_kills, every_s, lambda: _started(_NodeHunt))


def measure_head_kills(num_kills: int, every_s: float) -> KillsResult:
    """As `measure_node_kills`, of the head, with whom its nodes end; `sage-cluster start` is part of what is timed."""
    return measure_kills(
        "the head of a started cluster, started again", num_kills, every_s, lambda: _started(_HeadHunt)
    )


class StartedCluster:
    """A cluster that `sage-cluster start` has started for a user whose home is `home`."""

    def __init__(self, home: Path) -> None:
        """Start nothing yet."""
        self._home = home
        self._cluster: RemoteCluster | None = None
        self._starting: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the cluster and connect to it; raises InternalError."""
        self._connect(self._begun_to_start())

    def cluster(self) -> RemoteCluster:
        if self._cluster is None:
            raise InternalError("the cluster was not started")
        return self._cluster

    def kill_head(self) -> Struck:
        """Kill the head and start it again at once; its nodes end with it."""
        pids = [state.pid for state in self.cluster().node_states()]
        killed_s = kill(self.cluster().head_pid)
        command = self._begun_to_start()
        over_s = gone_s(pids)
        self._close()
        self._connect(command)
        return Struck(killed_s, over_s)

    def stop(self) -> None:
        """End the cluster, by force where it does not end; where none runs, nothing happens."""
        self._close()
        if self._starting is not None:  # who was interrupted while it started: it goes on by itself
            with suppress(subprocess.TimeoutExpired):
                self._starting.wait(_COMMAND_S)
        beacon = self._place().beacon()
        if beacon is None:
            return
        try:
            _ended(self._begun("stop"), "stop")
        except InternalError:
            with suppress(ProcessLookupError):
                kill(beacon.pid)
            raise

    def _begun_to_start(self) -> "subprocess.Popen[str]":
        self._starting = self._begun("start", "--nodes", str(NUM_NODES))
        return self._starting

    def _connect(self, starting: "subprocess.Popen[str]") -> None:
        _ended(starting, "start")
        beacon = self._place().beacon()
        if beacon is None:
            raise InternalError("the cluster that was started says nothing of itself")
        keys = ClusterKeys(self._home / ".config/sage/clusters" / DEFAULT_NAME)
        line = HeadLine(attach_by(beacon.control), where=beacon.control)
        self._cluster = RemoteCluster(line, line.greet("benchmark"), shipping_by(keys.signing()), where=beacon.control)

    def _close(self) -> None:
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None

    def _place(self) -> ClusterPlace:
        return place_of_cluster(DEFAULT_NAME, self._environ())

    def _begun(self, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", _RUN, *arguments]
        return subprocess.Popen(
            command,
            env=self._environ(),
            cwd=self._home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SAGE_", "XDG_"))}
        root = str(Path(__file__).resolve().parents[1])
        return {**kept, "HOME": str(self._home), "XDG_RUNTIME_DIR": str(self._home / "run"), "PYTHONPATH": root}


def _ended(command: "subprocess.Popen[str]", verb: str) -> None:
    try:
        _, said = command.communicate(timeout=_COMMAND_S)
    except subprocess.TimeoutExpired:
        command.kill()
        command.communicate()
        raise InternalError(f"sage-cluster {verb} did not end within {_COMMAND_S:g} s") from None
    if command.returncode:
        raise InternalError(f"sage-cluster {verb} exited with {command.returncode}: {said[-500:]}")


def gone_s(pids: list[int]) -> float:
    """Wait until the processes work no more and return when that was; raises InternalError where one does.

    One that nobody has reaped yet works no more: who inherits the children of a killed process may take its time.
    """
    pause, until_s = Event(), monotonic() + _GONE_S
    while any(map(_works, pids)):
        if monotonic() > until_s:
            raise InternalError(f"a node outlived its head for {_GONE_S:g} s")
        pause.wait(_LOOK_EVERY_S)
    return monotonic()


def _works(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class _NodeHunt(StartedCluster):
    def strike(self, rng: Random) -> Struck:
        return Struck(kill(rng.choice(pids_at_work(self.cluster()))))


class _HeadHunt(StartedCluster):
    def strike(self, rng: Random) -> Struck:
        return self.kill_head()


C = TypeVar("C", bound=StartedCluster)


@contextmanager
def _started(kind: Callable[[Path], C]) -> Iterator[C]:
    home = Path(tempfile.mkdtemp(prefix="sage-b", dir="/tmp"))  # short enough for sockets in it
    (home / "run").mkdir(mode=0o700)
    cluster = kind(home)
    try:
        cluster.start()
        yield cluster
    finally:
        try:
            cluster.stop()
        finally:
            shutil.rmtree(home, ignore_errors=True)
