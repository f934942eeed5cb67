"""How the sockets that carry records listen and connect, as a port. Knows nothing of what they carry."""

from typing import Protocol

import zmq

Context = zmq.Context["zmq.Socket[bytes]"]


MAX_FRAME_BYTES = 16 * 1024 * 1024
RECEIVE_HWM = 1000  # a full socket is not read, and then heartbeats go unheard; credit bounds what comes
SEND_HWM = 32  # late: what waits with us rather than in the socket can still be overtaken by credit
HEARTBEAT_EVERY_MS = 500
HEARTBEAT_TIMEOUT_MS = 2000  # faults.md row 3: a lost node is detected within 3 s
_HANDSHAKE_MS = 2000


class Keeper(Protocol):
    """Answers who may finish a handshake; drained by the thread that owns the sockets."""

    @property
    def fd(self) -> int: ...

    def drain(self) -> None: ...

    def close(self) -> None: ...


class DataSockets(Protocol):
    """Whoever connects must be let in, and must be who it says it is."""

    def keeper(self, context: Context) -> Keeper | None:
        """Make what is asked about peers that connect; None where the address alone keeps strangers out."""
        ...

    def listen(self, socket: "zmq.Socket[bytes]", address: str) -> str:
        """Bind `socket` and return where; raises ConfigInvalid."""
        ...

    def connect(self, socket: "zmq.Socket[bytes]", address: str, public_key: str | None) -> None:
        """Connect `socket` to a peer that has this key; raises ConfigInvalid."""
        ...

    def key_of(self, frame: zmq.Frame) -> str | None:
        """Return the key by which the sender of `frame` was let in, or None where there are no keys."""
        ...


def data_socket(context: Context, kind: int) -> "zmq.Socket[bytes]":
    """Return a socket within the bounds of threats.md row 4 that notices a peer which falls silent."""
    socket = context.socket(kind)
    for option, value in (
        (zmq.LINGER, 0),
        (zmq.SNDHWM, SEND_HWM),
        (zmq.RCVHWM, RECEIVE_HWM),
        (zmq.MAXMSGSIZE, MAX_FRAME_BYTES),
        (zmq.HANDSHAKE_IVL, _HANDSHAKE_MS),
        (zmq.HEARTBEAT_IVL, HEARTBEAT_EVERY_MS),
        (zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS),
        (zmq.HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS),
    ):
        socket.setsockopt(option, value)
    return socket
