"""Where peers connect to: takes their messages, each once and in order, and answers. Used on the I/O thread alone.

Knows tasks only by what delivers to them. A peer that breaks the protocol is told so, and then not heard any more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from cluster.runtime.columns import BadFrame, Buffer
from cluster.runtime.data_sockets import Context, DataSockets, data_socket
from cluster.runtime.numbering import Numbering
from cluster.runtime.socket_frames import frames_from, has_come, send_frames
from cluster.runtime.wire import (
    WIRE_VERSION,
    Hello,
    NotHere,
    Refused,
    ToConnector,
    ToTask,
    Welcome,
    read_to_listener,
    reply,
)
from sage.base.errors import SageError
from sage.base.ids import NodeId, TaskId

_IPC = "ipc://"
MAX_SESSIONS = 4096
_MAX_REFUSED = 4096
_TURN = 16


@dataclass(slots=True)
class PeerSession:
    """A connection whose Hello was good. `public_key`: by which it was let in."""

    node: NodeId
    public_key: str | None
    order: Numbering = field(default_factory=Numbering)


Deliver = Callable[[PeerSession, ToTask, Sequence[Buffer]], TaskId | None]
"""Hands on what came; returns the task that is not here, or None. What it raises ends the session."""

Rejected = Callable[[PeerSession | None, SageError], None]
"""Told of a connection that was refused, and of its session where it had one."""


class Listener:
    """A ROUTER and the sessions of those who connected."""

    def __init__(
        self, context: Context, sockets: DataSockets, address: str, own: NodeId, deliver: Deliver, rejected: Rejected
    ) -> None:
        self._own = own
        self._sockets = sockets
        self._deliver = deliver
        self._rejected = rejected
        self._sessions: dict[bytes, PeerSession] = {}
        self._refused: dict[bytes, None] = {}
        self.num_received = 0
        self.num_not_here = 0
        self.num_ignored = 0
        self.address = ""
        self.socket = data_socket(context, zmq.ROUTER)
        try:
            self.address = sockets.listen(self.socket, address)
        except SageError:
            self.close()
            raise

    def drain(self) -> bool:
        """Take a turn of what came; say whether more is there."""
        for _ in range(_TURN):
            if not has_come(self.socket):
                return False
            identity, *frames = frames_from(self.socket)
            self._take(identity.bytes, frames)
        return True

    def forget(self, node: NodeId) -> None:
        """End the sessions of a node."""
        for identity in [identity for identity, session in self._sessions.items() if session.node == node]:
            self._end(identity, "the connection was ended")

    def close(self) -> None:
        self.socket.close(linger=0)
        if self.address.startswith(_IPC):
            Path(self.address.removeprefix(_IPC)).unlink(missing_ok=True)  # libzmq leaves it

    def _take(self, identity: bytes, frames: Sequence[zmq.Frame]) -> None:
        session = self._sessions.get(identity)
        if session is None and identity in self._refused:
            self.num_ignored += 1
            return
        try:
            self._read(identity, session, frames)
        except SageError as error:
            self._refuse(identity, session, error)

    def _read(self, identity: bytes, session: PeerSession | None, frames: Sequence[zmq.Frame]) -> None:
        if not frames:
            raise BadFrame("a message without a head")
        head = read_to_listener(frames[0].buffer)
        match head:
            case Hello() if session is None:
                self._welcome(identity, head, frames[0])
            case Hello():
                raise BadFrame("a second Hello on one connection")
            case _ if session is None:
                raise BadFrame("a connection that did not begin with Hello")
            case _:
                session.order.check(head.number)
                self.num_received += 1
                absent = self._deliver(session, head, [frame.buffer for frame in frames[1:]])
                if absent is not None:
                    self.num_not_here += 1
                    self._answer(identity, NotHere(WIRE_VERSION, absent, head.epoch))

    def _welcome(self, identity: bytes, hello: Hello, frame: zmq.Frame) -> None:
        if hello.to_node != self._own:
            raise BadFrame(f"it looks for node {hello.to_node}")
        if len(self._sessions) >= MAX_SESSIONS:
            raise BadFrame(f"{MAX_SESSIONS} connections are open already")
        node = NodeId(hello.node)
        session = PeerSession(node, self._sockets.key_of(frame))
        session.order.check(hello.number)
        for other in [known for known, old in self._sessions.items() if (old.node, old.public_key) == _who(session)]:
            self._end(other, "another connection took its place")
        self._sessions[identity] = session
        self._answer(identity, Welcome(WIRE_VERSION, self._own))

    def _refuse(self, identity: bytes, session: PeerSession | None, error: SageError) -> None:
        self._end(identity, error.what[:1000])
        self._rejected(session, error)

    def _end(self, identity: bytes, why: str) -> None:
        self._sessions.pop(identity, None)
        self._answer(identity, Refused(WIRE_VERSION, self._own, why))
        self._refused[identity] = None
        if len(self._refused) > _MAX_REFUSED:
            del self._refused[next(iter(self._refused))]

    def _answer(self, identity: bytes, message: ToConnector) -> None:
        try:
            send_frames(self.socket, [identity, reply(message)])
        except zmq.Again:
            self.num_ignored += 1  # it does not read its answers: it knows less, and no record is lost by it


def _who(session: PeerSession) -> tuple[NodeId, str | None]:
    return session.node, session.public_key
