"""The engine hosts on the nodes of a cluster as its door knows them: which runs where, and who is told of its end.

What passes between a host and the plane does not come by here. Knows no socket.
"""

from collections.abc import Callable

from cluster.head.engine_host import EndHostOn, NodeHost, StartHostOn
from cluster.runtime.control import ControlMessage, EngineHostEnded
from sage.base.errors import SageError
from sage.base.ids import EngineId, NodeId

Send = Callable[[NodeId, ControlMessage, int | None], bool]
"""Sends to a node that is a member, in this epoch if one is given; False where it is none."""


class EngineDesk:
    """Used by one thread."""

    def __init__(self, send: Send, on_end: Callable[[], object]) -> None:
        """`on_end` is called when a node has said that a host of it has ended."""
        self._send = send
        self._on_end = on_end
        self._hosts: dict[int, NodeHost] = {}
        self._starts: dict[EngineId, int] = {}

    def order(self, message: StartHostOn | EndHostOn) -> None:
        """Pass on what is wanted of a node."""
        if isinstance(message, StartHostOn):
            self._hosts[message.host.start] = message.host
            self._starts[message.order.engine_id] = message.host.start
            if not self._send(message.host.node_id, message.order, message.epoch):
                self._end(message.host.start, "is no member any more", is_out_of_reach=True)
        elif (host := self._hosts.get(message.order.start)) is not None:
            self._send(host.node_id, message.order, None)

    def ended(self, node_id: NodeId, message: EngineHostEnded) -> None:
        """Take what a node says of one of its hosts; what is not its to say is passed over."""
        host = self._hosts.get(message.start)
        if host is not None and host.node_id == node_id:
            self._end(message.start, message.how, message.last_words)
            self._on_end()

    def gone(self, node_id: NodeId, error: SageError) -> None:
        """Give up the hosts of a node that is no member any more: they end with it, or before its lease does."""
        for start, host in list(self._hosts.items()):
            if host.node_id == node_id:
                self._end(start, f"is lost: {error.what}", is_out_of_reach=True)

    def host_of(self, engine_id: EngineId) -> NodeHost | None:
        """Return the host of an engine that runs now."""
        return self._hosts.get(self._starts.get(engine_id, 0))

    def nodes(self) -> set[NodeId]:
        """Return the nodes on which hosts run."""
        return {host.node_id for host in self._hosts.values()}

    def _end(self, start: int, how: str, last_words: str = "", *, is_out_of_reach: bool = False) -> None:
        self._starts = {engine_id: of for engine_id, of in self._starts.items() if of != start}
        self._hosts.pop(start).end(how, last_words, is_out_of_reach=is_out_of_reach)
