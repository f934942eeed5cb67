"""Sockets that only listed keys get through: CURVE, within bounds, over IPv4 and IPv6. Knows no message.

`tcp://` is encrypted and asks a Gatekeeper of the same context about every key; without one it lets nobody in.
`ipc://` needs no keys: it stands in a folder that this user alone may enter.
"""

import socket as sockets
from dataclasses import dataclass

import zmq

from cluster.runtime.addresses import Address, IpcAddress, TcpAddress, check_bind, parse_address
from cluster.runtime.keys import CurveKeys
from cluster.runtime.private_files import check_private_directory
from sage.base.errors import ConfigInvalid

HANDSHAKE_MS = 2000
MAX_FRAME_BYTES = 16 * 1024 * 1024
MAX_MESSAGES = 1000
"""Messages that wait in a socket, each way and for each peer."""


@dataclass(frozen=True, slots=True)
class ServerTrust:
    """By what a listening socket is known, and as what it asks the gatekeeper: a Domain, or `only_for` one key."""

    keys: CurveKeys
    domain: str


@dataclass(frozen=True, slots=True)
class ClientTrust:
    """By what a connecting socket is known, and the one key that the other end must have."""

    keys: CurveKeys
    server_key: str


def set_bounds(
    socket: "zmq.Socket[bytes]", *, max_messages: int = MAX_MESSAGES, max_frame_bytes: int = MAX_FRAME_BYTES
) -> None:
    """Bound what waits in `socket`, how long a frame and how long a handshake may be; before it is bound or connected.

    A peer that sends a longer frame, or has not shaken hands in 2 s, is cut off. Closing the socket waits for nothing.
    """
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, max_messages)
    socket.setsockopt(zmq.RCVHWM, max_messages)
    socket.setsockopt(zmq.MAXMSGSIZE, max_frame_bytes)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)


def listen(socket: "zmq.Socket[bytes]", address: str, trust: ServerTrust | None) -> str:
    """Bind `socket` and return its address, with the port it got.

    Raises: KeysUnsafe where others could reach it without keys, or enter the folder of an `ipc://` socket;
    ConfigInvalid where that is no address or it cannot be had.
    """
    where = check_bind(address, has_keys=trust is not None)
    if isinstance(where, IpcAddress):
        check_private_directory(where.path.parent)
    elif trust is not None:
        _serve_by_curve(socket, trust)
    _choose_family(socket, where)
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        raise ConfigInvalid(f"{address} cannot be listened on: {error.strerror}", "Name another.") from error
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)


def connect(socket: "zmq.Socket[bytes]", address: str, trust: ClientTrust | None) -> None:
    """Connect `socket`; may wait for a name to be resolved, never for the other end.

    Over `ipc://` no keys are used. Raises ConfigInvalid where that is no address, or nobody has that name.
    """
    where = parse_address(address)
    if isinstance(where, TcpAddress) and trust is not None:
        socket.curve_publickey = trust.keys.public_key.encode()
        socket.curve_secretkey = trust.keys.secret_key.encode()
        socket.curve_serverkey = trust.server_key.encode()
    _choose_family(socket, where)
    try:
        socket.connect(address)
    except zmq.ZMQError as error:
        raise ConfigInvalid(f"{address} cannot be connected to: {error.strerror}", "Name another.") from error


def peer_key(frame: zmq.Frame) -> str | None:
    """Return the public key by which the sender of `frame` was let in (receive with copy=False); None over `ipc://`.

    It is the peer's identity: unlike a routing id, nobody can choose it.
    """
    try:
        key = frame.get("User-Id")
    except zmq.ZMQError:
        return None
    return str(key) or None


def _serve_by_curve(socket: "zmq.Socket[bytes]", trust: ServerTrust) -> None:
    socket.curve_server = True
    socket.curve_secretkey = trust.keys.secret_key.encode()
    socket.zap_domain = trust.domain.encode()
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without a gatekeeper libzmq would let everybody in


def _choose_family(socket: "zmq.Socket[bytes]", where: Address) -> None:
    """Let libzmq use IPv6 where it must: it tries one address of a name only, and IPv4 is what more hosts listen on."""
    if isinstance(where, TcpAddress):
        socket.ipv6 = where.is_ipv6 or _has_ipv6_alone(where.host)


def _has_ipv6_alone(host: str) -> bool:
    if host == "*":
        return False
    try:
        found = {family for family, *_ in sockets.getaddrinfo(host, None, type=sockets.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return False  # libzmq says so, or tries again later
    return sockets.AF_INET6 in found and sockets.AF_INET not in found
