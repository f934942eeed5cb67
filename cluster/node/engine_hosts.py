"""The engine hosts that the head has this node start: each is a child of the node, and ends with it.

Tokens do not come by here: a host is connected to the plane at the head. Knows no engine.
"""

from collections.abc import Callable, Hashable
from typing import Protocol

from cluster.runtime.control import EndEngineHost, EngineHostEnded, StartEngineHost
from cluster.runtime.control_engine_log import MAX_PIECE_BYTES, HostLogRead, ReadHostLog
from cluster.runtime.control_message import RemoteFailure
from cluster.serving.engines.child_host import ChildHost
from cluster.serving.engines.host_watch import ASK_EVERY_S
from sage.base.errors import EngineStartFailed, InvalidRequest, SageError
from sage.base.log import get_log

TIMER = "hosts"
MAX_WORDS = 2000

StartHost = Callable[[StartEngineHost], ChildHost]
"""Starts the process of a host; may raise SageError or OSError."""


def hosts_none(order: StartEngineHost) -> ChildHost:
    """Be the StartHost of a node without engines."""
    raise EngineStartFailed(f"this node hosts no engines: not {order.engine_id}")


class Owner(Protocol):
    """Whose thread the hosts are used on: an actor, which calls `readable` and, as the timer TIMER is due, `ask`."""

    def watch_fd(self, fd: int) -> None: ...

    def unwatch_fd(self, fd: int) -> None: ...

    def set_timer(self, timer_id: Hashable, after_s: float) -> None: ...


class EngineHosts:
    """Used by one thread."""

    def __init__(self, owner: Owner, start: StartHost, say: Callable[[EngineHostEnded | HostLogRead], object]) -> None:
        """`say` tells the head."""
        self._owner = owner
        self._start = start
        self._say = say
        self._hosts: dict[int, ChildHost] = {}
        self._starts: dict[int, int] = {}  # by descriptor
        self._hangs: dict[int, str] = {}

    def obey(self, order: StartEngineHost | EndEngineHost | ReadHostLog) -> None:
        """Start a host, end one or read its log; the end of one that is unknown is passed over."""
        match order:
            case StartEngineHost():
                self._begin(order)
            case EndEngineHost():
                self._end(order)
            case ReadHostLog():
                self._say(self._read(order))

    def _begin(self, order: StartEngineHost) -> None:
        try:
            host = self._start(order)
        except (SageError, OSError) as error:
            self._say(EngineHostEnded(order.start, f"could not be started: {error}", ""))
            return
        get_log().info("engine host started", engine_id=order.engine_id, pid=host.pid)
        self._hosts[order.start] = host
        self._starts[host.alive_fd] = order.start
        self._owner.watch_fd(host.alive_fd)
        self._owner.set_timer(TIMER, ASK_EVERY_S)

    def _end(self, order: EndEngineHost) -> None:
        host = self._hosts.get(order.start)
        if host is None:
            return
        if order.at_once:
            host.kill()
            self._over(order.start)
        else:
            host.terminate()

    def _read(self, order: ReadHostLog) -> HostLogRead:
        host = self._hosts.get(order.start)
        if host is None:
            gone = InvalidRequest("the process of the engine has just ended", "sage engines list says why.")
            return HostLogRead(order.number, order.start, b"", 0, RemoteFailure.of(gone))
        try:
            data, next_byte = host.log_piece(order.at_byte, MAX_PIECE_BYTES)
        except OSError as error:
            lost = InvalidRequest(f"the log of the engine cannot be read: {error}")
            return HostLogRead(order.number, order.start, b"", 0, RemoteFailure.of(lost))
        return HostLogRead(order.number, order.start, data, next_byte)

    def readable(self, fd: int) -> None:
        """Take what a host has said; other descriptors are passed over."""
        start = self._starts.get(fd)
        if start is not None:
            self._hosts[start].hear()
            if self._hosts[start].has_ended():
                self._over(start)

    def ask(self) -> None:
        """Ask each whether it works; one that hangs is ended."""
        for start, host in self._hosts.items():
            if why := host.ask():
                self._hangs[start] = why
        if self._hosts:
            self._owner.set_timer(TIMER, ASK_EVERY_S)

    def end_all(self) -> None:
        """Let nothing of any host be left."""
        for start, host in list(self._hosts.items()):
            host.kill()
            self._over(start)

    def _over(self, start: int) -> None:
        host = self._hosts.pop(start)
        self._owner.unwatch_fd(host.alive_fd)
        del self._starts[host.alive_fd]
        how, words = host.reap(), host.log_tail()[-MAX_WORDS:]
        host.close()
        hang = self._hangs.pop(start, "")
        self._say(EngineHostEnded(start, f"hung and was ended: {hang}" if hang else how, words))
