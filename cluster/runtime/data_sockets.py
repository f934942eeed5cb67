"""How the sockets that carry records listen and connect: with keys, or where strangers cannot come.

Knows nothing of what they carry.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import zmq

from cluster.runtime.allow_list import AllowList, Domain
from cluster.runtime.curve import ClientTrust, ServerTrust, connect, listen, peer_key, set_bounds
from cluster.runtime.gatekeeper import Gatekeeper
from cluster.runtime.keys import CurveKeys
from sage.base.clock import Clock
from sage.base.errors import InternalError

Context = zmq.Context["zmq.Socket[bytes]"]


SEND_HWM = 32  # late: what waits with us rather than in the socket can still be overtaken by credit
RECEIVE_HWM = 1000  # a full socket is not read, and then heartbeats go unheard; credit bounds what comes
HEARTBEAT_EVERY_MS = 500
HEARTBEAT_TIMEOUT_MS = 2000  # faults.md row 3: a lost node is detected within 3 s


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
        """Connect `socket` to a peer that has this key; raises ConfigInvalid, InternalError where it needs one."""
        ...

    def key_of(self, frame: zmq.Frame) -> str | None:
        """Return the key by which the sender of `frame` was let in, or None where there are no keys."""
        ...


@dataclass(frozen=True, slots=True)
class CurveSockets:
    """Over `tcp://` by CURVE: only nodes that the list names now connect, and only to the node that has the key."""

    keys: CurveKeys
    allow_list: Callable[[], AllowList]
    clock: Clock

    def keeper(self, context: Context) -> Keeper | None:
        return Gatekeeper(context, self.allow_list, self.clock)

    def listen(self, socket: "zmq.Socket[bytes]", address: str) -> str:
        return listen(socket, address, ServerTrust(self.keys, Domain.DATA))

    def connect(self, socket: "zmq.Socket[bytes]", address: str, public_key: str | None) -> None:
        if public_key is None:
            raise InternalError(f"a node at {address} was added without its key")
        connect(socket, address, ClientTrust(self.keys, public_key))

    def key_of(self, frame: zmq.Frame) -> str | None:
        return peer_key(frame)


class PrivateSockets:
    """Without keys: `ipc://` in a folder that its user alone may enter, and loopback addresses."""

    def keeper(self, context: Context) -> Keeper | None:
        return None

    def listen(self, socket: "zmq.Socket[bytes]", address: str) -> str:
        return listen(socket, address, None)

    def connect(self, socket: "zmq.Socket[bytes]", address: str, public_key: str | None) -> None:
        connect(socket, address, None)

    def key_of(self, frame: zmq.Frame) -> str | None:
        return None


def data_socket(context: Context, kind: int) -> "zmq.Socket[bytes]":
    """Return a socket within the bounds of threats.md row 4 that notices a peer which falls silent."""
    socket = context.socket(kind)
    set_bounds(socket, max_messages=RECEIVE_HWM)
    for option, value in (
        (zmq.SNDHWM, SEND_HWM),
        (zmq.HEARTBEAT_IVL, HEARTBEAT_EVERY_MS),
        (zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS),
        (zmq.HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS),
    ):
        socket.setsockopt(option, value)
    return socket
