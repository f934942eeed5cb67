"""A host that a node runs, as the head sees it: ended by orders, its end told by the node. Knows no socket."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from cluster.runtime.control import EndEngineHost, StartEngineHost
from cluster.runtime.control_engine_log import EngineLog, LogMark
from sage.base.errors import InvalidRequest
from sage.base.ids import NodeId

_END_S = 0.05


@dataclass(frozen=True, slots=True)
class StartHostOn:
    """To the door: have a node start a host, unless it has come back in another epoch since."""

    host: "NodeHost"
    epoch: int
    order: StartEngineHost


@dataclass(frozen=True, slots=True)
class EndHostOn:
    """To the door: have the node end a host that it was given."""

    order: EndEngineHost


@dataclass(frozen=True, slots=True)
class _End:
    how: str
    last_words: str
    is_out_of_reach: bool


class NodeHost:
    """A Host of an engine link. `end` comes on the door's thread, all else on that of the link's owner."""

    dying_s = _END_S

    def __init__(self, start: int, node_id: NodeId, tell_door: Callable[[object], object]) -> None:
        self.start = start
        self.node_id = node_id
        self._tell_door = tell_door
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._end: _End | None = None
        self._is_closed = False
        self.alive_fd, self._write_fd = os.pipe()

    def end(self, how: str, last_words: str = "", *, is_out_of_reach: bool = False) -> None:
        """Take the news that nothing of it runs any more; `is_out_of_reach`: it was lost with its node."""
        with self._lock:
            if self._end is None:
                self._end = _End(how, last_words, is_out_of_reach)
                self._over.set()
                if not self._is_closed:
                    os.write(self._write_fd, b"\0")

    @property
    def is_out_of_reach(self) -> bool:
        return self._end is None or self._end.is_out_of_reach

    def has_ended(self) -> bool:
        return self._over.is_set()

    def wait(self, timeout_s: float) -> bool:
        return self._over.wait(timeout_s)

    def terminate(self) -> None:
        self._order(at_once=False)

    def kill(self) -> None:
        self._order(at_once=True)

    def reap(self) -> str:
        return f"on node {self.node_id} {self._end.how if self._end is not None else 'is out of reach'}"

    def log_tail(self) -> str:
        return self._end.last_words if self._end is not None else ""

    def log(self, mark: LogMark | None) -> EngineLog:
        """Refuse: its node has it, and is asked by the log desk."""
        raise InvalidRequest(f"the log is on node {self.node_id}", "Ask the cluster: sage engines logs NAME.")

    def ask(self) -> str | None:
        """Its node asks it."""
        return None

    def hear(self) -> None:
        """Its node hears it."""

    def serves(self) -> None:
        """Its node need not know."""

    def close(self) -> None:
        self.kill()
        with self._lock:
            self._is_closed = True
            os.close(self.alive_fd)
            os.close(self._write_fd)

    def _order(self, *, at_once: bool) -> None:
        if not self._over.is_set():
            self._tell_door(EndHostOn(EndEngineHost(self.start, at_once)))
