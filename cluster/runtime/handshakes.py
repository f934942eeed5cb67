"""What became of a socket's handshakes, counted from libzmq's own events. Knows neither keys nor messages."""

import struct
from collections import deque
from enum import IntEnum

import zmq

from cluster.runtime.socket_frames import frames_from, has_come


class Handshake(IntEnum):
    """What libzmq says of a connection. NO_DETAIL: it ended before there was anything to judge, or ran out of time."""

    SUCCEEDED = zmq.EVENT_HANDSHAKE_SUCCEEDED
    NO_DETAIL = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    PROTOCOL = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    AUTH = zmq.EVENT_HANDSHAKE_FAILED_AUTH
    DISCONNECTED = zmq.EVENT_DISCONNECTED


_FAILURES = (Handshake.NO_DETAIL, Handshake.PROTOCOL, Handshake.AUTH)
_MAX_RECENT = 64


class HandshakeMonitor:
    """Counts on the thread of the socket's owner. At a connecting end, AUTH says that the other end knows us not.

    Its queue has no bound, alone among ours: libzmq's I/O thread would wait for room in it, and stand still for every
    socket (seen with libzmq 4.3.5 at 2,000 undrained events). An event takes about a hundred bytes.
    """

    def __init__(self, socket: "zmq.Socket[bytes]") -> None:
        """Begin to count; before the socket is bound or connected."""
        self.counts = dict.fromkeys(Handshake, 0)
        self.recent: deque[Handshake] = deque(maxlen=_MAX_RECENT)
        self._socket = socket
        endpoint = f"inproc://handshakes-{id(self):x}"
        socket.monitor(endpoint, sum(Handshake))
        self._events: zmq.Socket[bytes] = socket.context.socket(zmq.PAIR)
        self._events.setsockopt(zmq.RCVHWM, 0)
        self._events.setsockopt(zmq.LINGER, 0)
        self._events.connect(endpoint)
        self.drain()  # the descriptor tells of what comes after a look that found nothing, and of nothing before one

    @property
    def fd(self) -> int:
        return self._events.fileno()

    @property
    def num_refused(self) -> int:
        """Connections that ended before anything was heard of them."""
        return sum(self.counts[failure] for failure in _FAILURES)

    def wait(self, timeout_s: float) -> bool:
        """Wait for something to count; say whether there is."""
        return bool(self._events.poll(round(timeout_s * 1000)))

    def drain(self) -> None:
        """Count what has happened, without waiting."""
        while has_come(self._events):
            head, *_ = frames_from(self._events)
            number: int = struct.unpack_from("=H", head.buffer)[0]
            if number in tuple(Handshake):
                self.counts[Handshake(number)] += 1
                self.recent.append(Handshake(number))

    def close(self) -> None:
        """Stop counting; before the socket is closed."""
        if not self._socket.closed:
            self._socket.disable_monitor()
        self._events.close(linger=0)
