"""The scan that a stranger would do: nothing from a port behind CURVE, and much from one that is not."""

import os
import socket as sockets
import threading

import pytest
import zmq

from cluster.runtime.curve import listen, set_bounds
from cluster.runtime.handshakes import Handshake
from tests.cluster.curve_ends import WAIT_S, Server
from tests.cluster.port_scan import Port, scan_port

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_stranger_gets_nothing_from_a_kept_port(host: str) -> None:
    if host == "[::1]" and not has_ipv6():
        host = "127.0.0.1"
    server = Server(host)
    over = threading.Event()
    found: list[str] = []

    def scan() -> None:
        found.extend(scan_port(port_of(server)))
        over.set()

    scanning = threading.Thread(target=scan)
    scanning.start()
    try:
        while not over.is_set() and scanning.is_alive():
            server.turn()
    finally:
        scanning.join(WAIT_S)
        server.close()
    assert not found
    assert server.monitor.counts[Handshake.SUCCEEDED] == 0


def test_the_scan_finds_a_port_without_keys() -> None:
    """A scan that could find nothing anywhere would prove nothing."""
    context = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    set_bounds(socket)
    address = listen(socket, "tcp://127.0.0.1:*", None)
    try:
        found = scan_port(Port(os.getpid(), "127.0.0.1", int(address.rpartition(":")[2])))
    finally:
        socket.close(linger=0)
        context.term()
    assert any("without keys: a handshake" in got for got in found)
    assert any(got.startswith("the greeting") for got in found)


def has_ipv6() -> bool:
    try:
        with sockets.create_server(("::1", 0), family=sockets.AF_INET6):
            return True
    except OSError:
        return False


def port_of(server: Server) -> Port:
    return Port(os.getpid(), server.address.removeprefix("tcp://").rpartition(":")[0].strip("[]"), server.port)
