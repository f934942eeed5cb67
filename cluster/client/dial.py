"""A look whether anybody listens at an address, before something is asked there. Knows nothing of what is asked."""

import socket as sockets
import struct

import zmq

from cluster.runtime.addresses import TcpAddress
from cluster.runtime.curve import ClientTrust, connect, set_bounds
from cluster.runtime.handshakes import Handshake
from sage.base.errors import ClusterUnreachable

_DIAL_S = 5.0
_HANDSHAKE_S = 2.0

_EVENTS = sum(Handshake) | zmq.EVENT_CONNECT_RETRIED


def check_dial(where: TcpAddress, address: str, trust: ClientTrust | None) -> None:
    """Say at once that nobody listens, instead of waiting for an answer that cannot come; raises ClusterUnreachable.

    By a `trust` that the head takes it is no stranger's look: a connection that says nothing is counted as refused.
    """
    if trust is not None and _shakes_hands(address, trust):
        return
    try:
        sockets.create_connection((where.host, where.port), timeout=_DIAL_S).close()
    except OSError as error:
        raise ClusterUnreachable(
            f"no cluster answers at {address}: {error.strerror or error}",
            "See whether it runs there (sage-cluster status) and was started with --address.",
        ) from error


def _shakes_hands(address: str, trust: ClientTrust) -> bool:
    """Say whether a head lets this key in; False as soon as it is known that none does."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
    socket = context.socket(zmq.DEALER)
    set_bounds(socket)
    events = socket.get_monitor_socket(_EVENTS)
    try:
        connect(socket, address, trust)
        if not events.poll(round(_HANDSHAKE_S * 1000)):
            return False
        [number] = struct.unpack_from("=H", events.recv_multipart()[0])
        return bool(number == Handshake.SUCCEEDED)
    finally:
        socket.disable_monitor()
        events.close(linger=0)
        socket.close(linger=0)
        context.term()
