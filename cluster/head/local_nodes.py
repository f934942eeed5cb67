"""LocalNodes: the actor that owns the nodes which a head starts on its own machine. Knows nothing of membership.

A node that dies, and was not drained, is started again, within a budget: its jobs have begun anew on the others by
then. One that is silent is killed before they do: a process that is stopped and goes on later could write what was
checked before.
"""

import contextlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cluster.node.config import NodeConfig
from cluster.runtime.actor import Actor
from cluster.runtime.forked_process import ForkedProcess, WaitingChild
from cluster.runtime.host_process import HostProcess, OwnedProcess, private_directory
from cluster.runtime.supervision import RestartBudget
from sage.base.clock import Clock
from sage.base.log import get_log

MODULE = "cluster.node"
_CLOSE_S = 2.0
_DYING_S = 2.0


@dataclass(frozen=True, slots=True)
class EndLocalNodes:
    """Start none again; wait for those that end by themselves, then end the rest."""

    timeout_s: float


@dataclass(frozen=True, slots=True)
class KillNode:
    """Kill a node that is silent. That it is gone is told as for any that ends."""

    name: str


@dataclass(frozen=True, slots=True)
class LeaveNode:
    """Start a node that was drained no more, once it has ended."""

    name: str


@dataclass(slots=True)
class _Child:
    number: int
    process: OwnedProcess


OnNodeEnded = Callable[[str, str], object]
"""Takes the name of a node whose process is gone, and how it ended; must return at once."""


class LocalNodes(Actor[EndLocalNodes | KillNode | LeaveNode]):
    """Owns the processes: when it ends, they have."""

    def __init__(
        self,
        num_nodes: int,
        config_of: Callable[[int, Path], NodeConfig],
        folder: Path,
        on_ended: OnNodeEnded,
        clock: Clock,
        waiting: Sequence[WaitingChild] = (),
    ) -> None:
        """`config_of` makes the config of a node from its number and a folder of its own, which is in `folder`.

        `waiting`: processes that become the first nodes; there may be fewer of them, or none.
        """
        super().__init__("local nodes", clock=clock)
        self._num_nodes = num_nodes
        self._config_of = config_of
        self._folder = folder
        self._on_ended = on_ended
        self._waiting = list(waiting)
        self._budget = RestartBudget()
        self._children: dict[int, _Child] = {}
        self._left: set[str] = set()
        self._is_ending = False

    def on_start(self) -> None:
        for number in range(self._num_nodes):
            self._start_node(number)

    def receive(self, message: EndLocalNodes | KillNode | LeaveNode) -> None:
        match message:
            case EndLocalNodes(timeout_s):
                self._end(timeout_s)
            case KillNode(name):
                self._kill(name)
            case LeaveNode(name):
                self._left.add(name)

    def _end(self, timeout_s: float) -> None:
        self._is_ending = True
        until_s = self.clock.monotonic_s() + timeout_s
        for child in self._children.values():
            child.process.wait(max(0.0, until_s - self.clock.monotonic_s()))
        self._close_all()

    def _kill(self, name: str) -> None:
        child = next((child for child in self._children.values() if node_name(child.number) == name), None)
        if child is None:
            self._on_ended(name, "had ended")
            return
        child.process.kill()
        if not child.process.wait(_DYING_S):  # else its pipe is readable, and it is reaped by that
            self._on_ended(name, f"was silent, and SIGKILL has not ended it for {_DYING_S:g} s")

    def on_readable(self, fd: int) -> None:
        """Reap a node whose pipe has ended with it."""
        child = self._children.pop(fd)
        self.unwatch_fd(fd)
        how = child.process.reap()
        name = node_name(child.number)
        tail = child.process.log_tail()
        child.process.close()
        self._on_ended(name, how)
        if self._is_ending:
            return
        if name in self._left:
            get_log().info("drained node has ended", node=name, how=how)
            return
        get_log().warning("node process ended", node=name, how=how, last_words=tail[-400:])
        if self._budget.allows(self.clock.monotonic_s()):
            self._start_node(child.number)
        else:
            get_log().error("node is not started again: too many have died", node=name)

    def on_stop(self) -> None:
        self._close_all()

    def _start_node(self, number: int) -> None:
        folder = private_directory(self._folder)  # who clears up after a head clears up after its nodes too
        config = self._config_of(number, folder)
        try:
            process = self._process_of(config, folder)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            self._on_ended(config.name, f"could not be started: {error}")
            return
        self._children[process.alive_fd] = _Child(number, process)
        self.watch_fd(process.alive_fd)

    def _process_of(self, config: NodeConfig, folder: Path) -> OwnedProcess:
        words, log_path = msgspec.json.encode(config).decode(), self._folder / f"{config.name}.log"
        if self._waiting:
            return ForkedProcess(folder, self._waiting.pop(0), words, log_path=log_path)
        return HostProcess(folder, [MODULE, "--config", words], log_path=log_path)

    def _close_all(self) -> None:
        self._is_ending = True
        for fd, child in list(self._children.items()):
            del self._children[fd]
            with contextlib.suppress(KeyError):
                self.unwatch_fd(fd)
            if not child.process.has_ended():
                child.process.terminate()
                child.process.wait(_CLOSE_S)
            child.process.close()


def node_name(number: int) -> str:
    """Return the name of one of the nodes that a head starts itself."""
    return f"node-{number + 1}"
