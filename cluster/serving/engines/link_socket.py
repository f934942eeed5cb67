"""The near end of the way to an engine host: a socket that one host connects to. Knows nothing of what is said.

On this machine it stands in a private folder. Over `tcp://`, where anybody may knock, the owner of one key gets in.
"""

import sys
from collections.abc import Callable

import zmq

from cluster.serving.engines.port import MAX_FRAME_BYTES, MAX_FRAMES

HANDSHAKE_MS = 2000
HEARTBEAT_EVERY_MS = 2000
HEARTBEAT_TIMEOUT_MS = 10_000  # a node that is lost is noticed by its lease, long before; this notices a way that is
LAST_FRAMES_MS = 200

Context = zmq.Context["zmq.Socket[bytes]"]
Listen = Callable[["zmq.Socket[bytes]"], object]
"""Binds a socket that is set up; the place for keys. May raise SageError."""


class LinkSocket:
    """Used by one thread at a time; nothing waits, but `wait_for_last_frames`."""

    def __init__(self, listen: Listen, context: Context | None = None) -> None:
        """`context`: by default one of its own. Others than the host may connect, and fail, where it is given."""
        self._own_context: Context | None = None
        if context is None:
            context = self._own_context = zmq.Context(io_threads=1)
        self._is_private = self._own_context is not None
        self._was_cut_off = False
        self._socket = context.socket(zmq.DEALER)
        set_up(self._socket, is_far=not self._is_private)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        try:
            listen(self._socket)
        except BaseException:
            self.close()
            raise

    def fds(self) -> tuple[int, ...]:
        """Return descriptors that become readable when something has come, or the connection is lost."""
        return (self._socket.fileno(), self._monitor.fileno())

    def send(self, data: bytes) -> bool:
        """Hand over a frame; False where the bound is reached."""
        try:
            self._socket.send(data, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def receive(self) -> list[bytes] | None:
        """Return the frames of the next message, or None where none has come."""
        try:
            return self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def is_cut_off(self) -> bool:
        """Say whether the connection to the host is closed: it died, sent too long a frame, or is out of reach."""
        while not self._was_cut_off and self._monitor.poll(0):
            self._look_at(self._next_event())
        return self._was_cut_off

    def wait_for_last_frames(self) -> None:
        """Let what a host wrote before it died come in: all of it has, once its connection is reported closed."""
        while not self._was_cut_off and self._monitor.poll(LAST_FRAMES_MS):
            self._look_at(self._next_event())

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)
        if self._own_context is not None:
            self._own_context.term()

    def _look_at(self, event: int) -> None:
        """Note the loss of the host. One that only knocked comes and goes too: then the host can still be sent to."""
        if event == zmq.EVENT_DISCONNECTED:
            self._was_cut_off = self._is_private or not self._socket.poll(0, zmq.POLLOUT)

    def _next_event(self) -> int:
        return int.from_bytes(self._monitor.recv_multipart()[0][:2], sys.byteorder)


def set_up(socket: "zmq.Socket[bytes]", *, is_far: bool) -> None:
    """Bound what waits in either end's socket; `is_far`: the way there may fail although both ends live."""
    for option, value in (
        (zmq.LINGER, 0),
        (zmq.SNDHWM, MAX_FRAMES),
        (zmq.RCVHWM, MAX_FRAMES),
        (zmq.MAXMSGSIZE, MAX_FRAME_BYTES),
        (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
        (zmq.HEARTBEAT_IVL, HEARTBEAT_EVERY_MS if is_far else 0),
        (zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS),
    ):
        socket.setsockopt(option, value)
