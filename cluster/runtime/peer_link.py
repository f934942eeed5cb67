"""The connection to one peer: sends what waits for it, and notices its loss.

Any thread sends, one at a time; all else is for the I/O thread alone. Knows nothing of what comes from the peer, but
for its answers: that comes by the connection which the peer makes.
"""

import contextlib
import sys
import threading

import zmq

from cluster.runtime.data_sockets import Context, DataSockets, data_socket
from cluster.runtime.outgoing import Outgoing
from cluster.runtime.socket_frames import events_of, frames_from, has_come, send_frames
from cluster.runtime.wire import ToConnector, Welcome, frames_of, hello, read_to_connector
from sage.base.errors import NodeLost, SageError
from sage.base.ids import NodeId

CONNECT_TIMEOUT_S = 10.0
_RETRY_S = 0.05  # a peer that refuses our key may be told of us in a moment; libzmq itself does not ask twice
_TURN = 16  # messages sent before others have their turn
_WATCHED = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_DISCONNECTED
)


class PeerLink:
    """A DEALER and the monitor of its connection. Once connected it is never connected again: what was on its way is
    lost, and only whoever placed the tasks knows what to do about it."""

    def __init__(
        self, context: Context, sockets: DataSockets, outgoing: Outgoing, own: NodeId, *, now_s: float
    ) -> None:
        peer = self.peer = outgoing.peer
        self.outgoing = outgoing
        self.num_sent = 0
        self._number = 1  # the Hello was 0
        self._using = threading.Lock()  # once we are welcome: a socket of ZeroMQ has one user at a time, on any thread
        self._is_closed = False
        self._is_connected = False
        self.is_welcome = False
        self._why_not = "nobody answered"
        self._connect_by_s = now_s + CONNECT_TIMEOUT_S
        self._retry_s: float | None = None
        self._is_full = False
        self._has_answers = False  # a sender saw some, and whoever looks takes the descriptor's signal away
        self._sockets = sockets
        self._hello = hello(own, peer.node)
        self.socket = data_socket(context, zmq.DEALER)
        self.monitor = self.socket.get_monitor_socket(_WATCHED)
        try:
            self._connect()
        except SageError:
            self.close()
            raise
        self.fd = self.socket.fileno()
        self.monitor_fd = self.monitor.fileno()

    def has_work(self) -> bool:
        """Say whether something waits that could be sent, or that the peer has answered."""
        return self._has_answers or (self.is_welcome and len(self.outgoing) > 0 and not self._is_full)

    def due_s(self) -> float | None:
        """Return when to `watch` though nothing happens; None once the peer has welcomed us."""
        if self.is_welcome:
            return None
        return self._connect_by_s if self._retry_s is None else min(self._retry_s, self._connect_by_s)

    def send_here(self) -> bool:
        """Send a turn of what waits, on any thread; say whether the I/O thread needs to look at this link now.

        Sends nothing where another thread sends, or where the peer has not welcomed us.
        """
        if not self.is_welcome or not self._using.acquire(blocking=False):
            return True
        try:
            if self._is_closed:
                return False
            self._pump()
            self._has_answers = bool(self._events() & zmq.POLLIN)
            return self.has_work()
        finally:
            self._using.release()

    def pump(self) -> list[ToConnector]:
        """Send a turn of what waits, and return what the peer answered; raises BadFrame, or WireMismatch."""
        with self._using:
            if self.is_welcome:
                self._pump()
            return self._answers()

    def _pump(self) -> None:
        for _ in range(_TURN):
            outbound = self.outgoing.take()
            if outbound is None:
                return
            try:
                send_frames(self.socket, frames_of(outbound, self._number))
            except zmq.Again:
                self.outgoing.put_back(outbound)
                self._is_full = True
                return
            self._number += 1
            self.num_sent += 1

    def _answers(self) -> list[ToConnector]:
        came: list[ToConnector] = []
        while self._events() & zmq.POLLIN:
            head, *_ = frames_from(self.socket)
            came.append(read_to_connector(head.buffer))
        self._has_answers = False
        return came

    def _events(self) -> int:
        """Return what the socket is ready for; its descriptor says nothing of what a send has seen meanwhile."""
        events = events_of(self.socket)
        self._is_full &= not events & zmq.POLLOUT
        return events

    def welcomed(self, welcome: Welcome) -> None:
        """Take the peer's welcome; raises NodeLost where somebody else listens there."""
        if welcome.node != self.peer.node:
            raise self._lost(f"{self.peer.address} is node {welcome.node}")
        self.is_welcome = True

    def watch(self, now_s: float) -> None:
        """Look at the connection; raises NodeLost where it broke, or does not come about."""
        while has_come(self.monitor):
            event, *_ = frames_from(self.monitor)
            self._note(int.from_bytes(event.bytes[:2], sys.byteorder), now_s)
        if self._retry_s is not None and now_s >= self._retry_s:
            self._retry_s = None
            with contextlib.suppress(zmq.ZMQError):  # libzmq has let go of it already
                self.socket.disconnect(self.peer.address)
            self._connect()
        if not self.is_welcome and now_s >= self._connect_by_s:
            raise self._lost(f"{self._why_not} at {self.peer.address} for {CONNECT_TIMEOUT_S:g} s")

    def close(self) -> None:
        with self._using:
            self._is_closed = True
            self.socket.disable_monitor()
            self.monitor.close(linger=0)
            self.socket.close(linger=0)

    def _connect(self) -> None:
        self._sockets.connect(self.socket, self.peer.address, self.peer.public_key)

    def _note(self, event: int, now_s: float) -> None:
        match event:
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._is_connected = True
                self.socket.send(self._hello, zmq.NOBLOCK)  # sent before, it could go the way of a refused connection
            case zmq.EVENT_DISCONNECTED if self._is_connected:
                raise self._lost("the connection broke")
            case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._why_not = "our key was refused"
                self._retry_s = now_s + _RETRY_S
            case _:
                self._why_not = "the handshake failed"

    def _lost(self, why: str) -> SageError:
        return NodeLost(f"node {self.peer.node} is lost: {why}")
