"""The sockets of control: a ROUTER at the head, a DEALER at every node and client. Knows nothing of what is said.

Each is used by one thread, that of the actor which watches its `fds`; nothing here waits. What is lost or comes twice
is noticed by the numbers of the messages, and ends the connection: a new one begins at 1.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

import zmq

from cluster.runtime.control import MAX_FRAME_BYTES, ControlMessage
from cluster.runtime.control_frames import Came, FrameReader, FrameWriter
from cluster.runtime.curve import peer_key, set_bounds
from cluster.runtime.handshakes import HandshakeMonitor
from cluster.runtime.numbering import OutOfOrder
from cluster.runtime.socket_frames import frames_from, has_come
from sage.base.codec import Codec
from sage.base.errors import ClusterUnreachable, NotTrusted, SageError

MAX_MESSAGES = 10_000  # that wait for one peer; one that does not read them is cut off
MAX_CUT_OFF = 10_000  # peers that are remembered as cut off; what they still send is passed over
_NEVER_MS = 24 * 3600 * 1000  # -1 would say never, and then libzmq drops what came last and was not read yet (4.3.5)

Context = zmq.Context[zmq.Socket[bytes]]
Attach = Callable[[zmq.Socket[bytes]], object]
"""Binds or connects a socket that is set up; the place for keys."""

M = TypeVar("M", bound=ControlMessage)


class PeerId(NamedTuple):
    """One connection to a ControlServer: the number of its socket, and the name that ZeroMQ gave the connection."""

    socket: int
    routing: bytes


class PeerMessage(NamedTuple, Generic[M]):
    """`key`: the public key by which the peer was let in; None over `ipc://`."""

    peer: PeerId
    message: M
    epoch: int
    key: str | None


class PeerBroke(NamedTuple):
    """The peer sent what may not be sent; nothing more of it comes, and one last message may be sent to it."""

    peer: PeerId
    error: SageError


class ChannelLost(NamedTuple):
    """The other side is gone or broke the protocol; nothing more comes."""

    error: SageError


@dataclass(slots=True)
class _Peer(Generic[M]):
    reader: FrameReader[M]
    writer: FrameWriter = field(default_factory=FrameWriter)


class ControlServer(Generic[M]):
    """The head's side: one ROUTER a place to listen at."""

    def __init__(self, context: Context, codec: Codec[M], listen: Sequence[Attach]) -> None:
        """`codec`: of all that peers may say. Raises what `listen` raises."""
        self._codec = codec
        self._peers: dict[PeerId, _Peer[M]] = {}
        self._cut_off: dict[PeerId, None] = {}
        self._num_broke = 0
        self._sockets: list[zmq.Socket[bytes]] = []
        self._monitors: list[HandshakeMonitor] = []
        for attach in listen:
            socket = _socket(context, zmq.ROUTER)
            self._sockets.append(socket)
            self._monitors.append(HandshakeMonitor(socket))
            socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
            try:
                attach(socket)
            except BaseException:
                self.close()
                raise

    def fds(self) -> tuple[int, ...]:
        """Return descriptors that become readable when `drain` may have something: after every `send`, drain too."""
        return (*(socket.fileno() for socket in self._sockets), *(monitor.fd for monitor in self._monitors))

    @property
    def num_refused(self) -> int:
        """Connections that came to nothing: without a key, without a handshake, or for what was said on them."""
        return self._num_broke + sum(monitor.num_refused for monitor in self._monitors)

    def drain(self) -> Iterator[PeerMessage[M] | PeerBroke]:
        """Yield what has come, in order for each peer."""
        for monitor in self._monitors:
            monitor.drain()
        for number, socket in enumerate(self._sockets):
            while (frames := _receive(socket)) is not None:
                peer_id = PeerId(number, frames[0].bytes)
                if peer_id not in self._cut_off:
                    yield self._read(peer_id, frames[1:])

    def send(self, peer_id: PeerId, message: ControlMessage, epoch: int = 0) -> bool:
        """Hand `message` over; False where the peer is gone, or has not read for so long that it is cut off."""
        peer = self._peers.get(peer_id)
        if peer is None:
            return False
        try:
            self._sockets[peer_id.socket].send_multipart(
                [peer_id.routing, *peer.writer.frames(message, epoch)], zmq.NOBLOCK
            )
        except zmq.ZMQError:  # EHOSTUNREACH: it is gone; EAGAIN: too much waits for it
            self.cut_off(peer_id)
            return False
        return True

    def forget(self, peer_id: PeerId) -> None:
        """Let go of a connection that has said its last word."""
        self._peers.pop(peer_id, None)

    def cut_off(self, peer_id: PeerId) -> None:
        """Pass over whatever still comes from this connection."""
        self._peers.pop(peer_id, None)
        self._cut_off[peer_id] = None
        if len(self._cut_off) > MAX_CUT_OFF:
            del self._cut_off[next(iter(self._cut_off))]

    def close(self, *, last_words_ms: int = 0) -> None:
        """Close; what was sent last has `last_words_ms` to leave."""
        for monitor in self._monitors:
            monitor.close()
        for socket in self._sockets:
            socket.close(linger=last_words_ms)

    def _read(self, peer_id: PeerId, frames: Sequence[zmq.Frame]) -> PeerMessage[M] | PeerBroke:
        peer = self._peers.get(peer_id)
        if peer is None:
            peer = self._peers[peer_id] = _Peer(FrameReader(self._codec))
        try:
            message, epoch = peer.reader.read([frame.bytes for frame in frames])
        except SageError as error:
            self._num_broke += 1
            return PeerBroke(peer_id, error)
        return PeerMessage(peer_id, message, epoch, peer_key(frames[0]))


class ControlClient(Generic[M]):
    """The side of a node or a client: one connection, never mended."""

    def __init__(self, context: Context, codec: Codec[M], connect: Attach) -> None:
        """`codec`: of what the head may say. Begins to connect and returns at once; raises what `connect` raises."""
        self._socket = _socket(context, zmq.DEALER)
        self._socket.setsockopt(zmq.RECONNECT_IVL, _NEVER_MS)
        self._monitor = self._socket.get_monitor_socket(_LOST_EVENTS)
        self._reader = FrameReader(codec)
        self._writer = FrameWriter()
        self._is_over = False
        try:
            connect(self._socket)
        except BaseException:
            self.close()
            raise

    def fds(self) -> tuple[int, ...]:
        """Return descriptors that become readable when `drain` may have something: after every `send`, drain too."""
        return (self._socket.fileno(), self._monitor.fileno())

    def drain(self) -> Iterator[Came[M] | ChannelLost]:
        """Yield what has come, in order; a ChannelLost is the last."""
        if self._is_over:
            return
        is_lost = has_come(self._monitor)  # asked first: what came before the loss is read below
        while not self._is_over and (frames := _receive(self._socket)) is not None:
            try:
                yield self._reader.read([frame.bytes for frame in frames])
            except OutOfOrder as error:  # the head lives: whoever connects anew begins at 1
                self._is_over = True
                yield ChannelLost(ClusterUnreachable(f"the connection to the head broke: {error.what}"))
            except SageError as error:
                self._is_over = True
                yield ChannelLost(error)
        if is_lost and not self._is_over:
            self._is_over = True
            yield ChannelLost(self._loss())

    def send(self, message: ControlMessage, epoch: int = 0) -> bool:
        """Hand `message` over; False where the other side is gone or does not read."""
        if self._is_over:
            return False
        try:
            self._socket.send_multipart(self._writer.frames(message, epoch), zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        return True

    def close(self, *, last_words_ms: int = 0) -> None:
        """Close; what was sent last has `last_words_ms` to leave."""
        self._is_over = True
        if not self._socket.closed:
            self._socket.disable_monitor()
            self._monitor.close(linger=0)
            self._socket.close(linger=last_words_ms)

    def _loss(self) -> SageError:
        event = int.from_bytes(self._monitor.recv_multipart()[0][:2], sys.byteorder)
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            return NotTrusted("the head does not let the key of this machine in", "Join the cluster with a new token.")
        how = "it ended" if event == zmq.EVENT_DISCONNECTED else "the two could not agree to speak"
        return ClusterUnreachable(f"the connection to the head was lost: {how}")


_LOST_EVENTS = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


def _socket(context: Context, kind: int) -> "zmq.Socket[bytes]":
    socket = context.socket(kind)
    set_bounds(socket, max_messages=MAX_MESSAGES, max_frame_bytes=MAX_FRAME_BYTES)
    return socket


def _receive(socket: "zmq.Socket[bytes]") -> list[zmq.Frame] | None:
    """Return the next message, or None: asked first, since to be refused one takes ten times as long."""
    return frames_from(socket) if has_come(socket) else None
