"""What clients ask of the logs of engines: passed on to the node whose host writes it, and the answer back.

Knows no socket. What nobody waits for any more is forgotten.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cluster.head.engine_desk import EngineDesk
from cluster.runtime.channel import PeerId
from cluster.runtime.control import ControlMessage
from cluster.runtime.control_clients import Declined
from cluster.runtime.control_engine_log import EngineLog, GetEngineLog, HostLogRead, LogMark, ReadHostLog
from sage.base.errors import InvalidRequest, Overloaded
from sage.base.ids import NodeId
from sage.base.inference import Failure

MAX_ASKED = 1_000
"""Questions that wait for a node's answer."""

WAITS_S = 60.0
"""For how long at most a node's answer is expected."""


@dataclass(frozen=True, slots=True)
class _Asked:
    peer: PeerId
    question: int
    node_id: NodeId
    until_s: float


class LogDesk:
    """Used by one thread. `tell_node` says something to a node, and whether it is a member; `now_s` is the clock."""

    def __init__(
        self,
        engines: EngineDesk,
        tell_node: Callable[[NodeId, ControlMessage], bool],
        send: Callable[[PeerId, ControlMessage], object],
        now_s: Callable[[], float],
    ) -> None:
        self._engines = engines
        self._tell_node = tell_node
        self._send = send
        self._now_s = now_s
        self._asked: dict[int, _Asked] = {}
        self._num_asked = 0

    def ask(self, peer: PeerId, message: GetEngineLog) -> None:
        """Pass a question on. Raises InvalidRequest where no host of such an engine runs, Overloaded."""
        host = self._engines.host_of(message.engine_id)
        if host is None:
            what = f"no process of an engine {message.engine_id!r} runs on a node now"
            do = "sage engines list names those that run, and says why others do not."
            raise InvalidRequest(what, do, param="engine")
        self._forget_late()
        self._num_asked += 1
        mark = message.mark
        at_byte = mark.at_byte if mark is not None and mark.start == host.start else 0 if mark is not None else None
        if not self._tell_node(host.node_id, ReadHostLog(self._num_asked, host.start, at_byte)):
            raise InvalidRequest(f"node {host.node_id}, where {message.engine_id} ran, is lost", "Try again.")
        until_s = self._now_s() + WAITS_S
        self._asked[self._num_asked] = _Asked(peer, message.question, host.node_id, until_s)

    def read(self, node_id: NodeId, message: HostLogRead) -> None:
        """Answer whoever asked; what is not this node's to say is passed over."""
        asked = self._asked.get(message.number)
        if asked is None or asked.node_id != node_id:
            return
        del self._asked[message.number]
        if message.failure is not None:
            self._send(asked.peer, Declined(asked.question, Failure.of(message.failure.error())))
        else:
            mark = LogMark(message.start, message.next_byte)
            self._send(asked.peer, EngineLog(asked.question, message.data, mark))

    def _forget_late(self) -> None:
        now_s = self._now_s()
        while self._asked and next(iter(self._asked.values())).until_s <= now_s:
            del self._asked[next(iter(self._asked))]
        if len(self._asked) >= MAX_ASKED:
            raise Overloaded(f"{MAX_ASKED:,} questions for logs wait for their answer", "Ask again later.")
