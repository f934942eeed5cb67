"""What clients ask of the logs of engines: passed on to the node whose host writes it, and the answer back.

Knows no socket.
"""

from collections.abc import Callable

from cluster.head.engine_desk import EngineDesk
from cluster.head.open_questions import OpenQuestions, WhoAsked
from cluster.runtime.channel import PeerId
from cluster.runtime.control import ControlMessage
from cluster.runtime.control_clients import Declined
from cluster.runtime.control_engine_log import EngineLog, GetEngineLog, HostLogRead, LogMark, ReadHostLog
from sage.base.errors import InvalidRequest
from sage.base.ids import NodeId
from sage.base.inference import Failure


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
        self._open = OpenQuestions("logs", now_s)

    def ask(self, peer: PeerId, message: GetEngineLog) -> None:
        """Pass a question on. Raises InvalidRequest where no host of such an engine runs, Overloaded."""
        host = self._engines.host_of(message.engine_id)
        if host is None:
            what = f"no process of an engine {message.engine_id!r} runs on a node now"
            do = "sage engines list names those that run, and says why others do not."
            raise InvalidRequest(what, do, param="engine")
        number, mark = self._open.next_number(), message.mark
        at_byte = mark.at_byte if mark is not None and mark.start == host.start else 0 if mark is not None else None
        if not self._tell_node(host.node_id, ReadHostLog(number, host.start, at_byte)):
            raise InvalidRequest(f"node {host.node_id}, where {message.engine_id} ran, is lost", "Try again.")
        self._open.keep(number, WhoAsked(peer, message.question, host.node_id))

    def read(self, node_id: NodeId, message: HostLogRead) -> None:
        """Answer whoever asked; what is not this node's to say is passed over."""
        asker = self._open.answered(message.number, node_id)
        if asker is None:
            return
        if message.failure is not None:
            self._send(asker.peer, Declined(asker.question, Failure.of(message.failure.error())))
        else:
            mark = LogMark(message.start, message.next_byte)
            self._send(asker.peer, EngineLog(asker.question, message.data, mark))
