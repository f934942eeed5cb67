"""Sockets behind CURVE: who gets through and who does not, over real TCP."""

import select
import socket as sockets
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from cluster.runtime.allow_list import AllowedKey, Role
from cluster.runtime.curve import ClientTrust, listen
from cluster.runtime.gatekeeper import Gatekeeper
from cluster.runtime.handshakes import Handshake
from cluster.runtime.join_token import Joiner, issue_token, parse_token, redeem
from cluster.runtime.keys import ClusterKeys, CurveKeys, new_curve_keys
from cluster.runtime.private_files import make_private_directory
from sage.base.errors import ConfigInvalid, InternalError, KeysUnsafe
from tests.cluster.curve_ends import HEAD, WAIT_S, Peer, Server

pytestmark = pytest.mark.cluster


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def peers() -> Iterator[list[Peer]]:
    peers: list[Peer] = []
    yield peers
    for peer in peers:
        peer.close()


def known(keys: CurveKeys) -> ClientTrust:
    return ClientTrust(keys, HEAD.public_key)


def test_a_listed_key_gets_through_and_is_known_by_its_key(server: Server, peers: list[Peer]) -> None:
    keys = new_curve_keys()
    server.admit(keys)
    peers.append(Peer(server.address, known(keys)))
    peers[0].send(b"hello")
    assert server.message() == (keys.public_key, b"hello")
    assert server.count(Handshake.SUCCEEDED) == 1


def test_a_client_without_keys_is_refused_and_counted(server: Server, peers: list[Peer]) -> None:
    peers.append(Peer(server.address, None))
    peers[0].send(b"hello")
    assert peers[0].outcome(server) in (Handshake.PROTOCOL, Handshake.NO_DETAIL)  # whichever end is faster
    assert server.refused() >= 1
    assert not server.socket.poll(0)


def test_an_unknown_key_is_refused_and_counted(server: Server, peers: list[Peer]) -> None:
    peers.append(Peer(server.address, known(new_curve_keys())))
    peers[0].send(b"hello")
    assert peers[0].outcome(server) is Handshake.AUTH
    assert server.count(Handshake.AUTH) == 1
    assert server.gatekeeper is not None
    assert server.gatekeeper.num_refused == 1
    assert not server.socket.poll(0)


def test_a_server_with_another_key_than_the_pinned_one_gets_nothing(server: Server, peers: list[Peer]) -> None:
    keys = new_curve_keys()
    server.admit(keys)
    peers.append(Peer(server.address, ClientTrust(keys, new_curve_keys().public_key)))
    peers[0].send(b"hello")
    assert peers[0].outcome(server) is not Handshake.SUCCEEDED
    assert server.refused() >= 1
    assert not server.socket.poll(0)


def test_a_revoked_key_is_refused_at_its_next_handshake(server: Server, peers: list[Peer]) -> None:
    keys = new_curve_keys()
    server.admit(keys)
    peers.append(Peer(server.address, known(keys)))
    peers[0].send(b"hello")
    server.message()
    server.allowed = server.allowed.revoke("alder")
    peers.append(Peer(server.address, known(keys)))
    assert peers[1].outcome(server) is Handshake.AUTH


def test_a_listed_key_does_not_open_a_socket_of_another_domain(server: Server, peers: list[Peer]) -> None:
    keys = new_curve_keys()
    server.allowed = server.allowed.add(AllowedKey(keys.public_key, Role.HEAD, "head", 0.0))
    peers.append(Peer(server.address, known(keys)))
    assert peers[0].outcome(server) is Handshake.AUTH


def test_a_server_without_its_gatekeeper_lets_nobody_in(peers: list[Peer]) -> None:
    server = Server(is_kept=False)
    try:
        keys = new_curve_keys()
        server.admit(keys)
        peers.append(Peer(server.address, known(keys)))
        peers[0].send(b"hello")
        assert peers[0].outcome(server) is not Handshake.SUCCEEDED
        assert not server.socket.poll(0)
    finally:
        server.close()


def test_a_context_has_one_gatekeeper(server: Server) -> None:
    with pytest.raises(InternalError, match="one gatekeeper"):
        Gatekeeper(server.context, lambda: server.allowed, server.clock)


def test_a_list_that_cannot_be_read_lets_nobody_in(tmp_path: Path, server: Server, peers: list[Peer]) -> None:
    keys = ClusterKeys(tmp_path / "lab")
    keys.admit_self("birch", 0.0)
    server.list_now = keys.allow_list.current
    peers.append(Peer(server.address, known(keys.curve("client"))))
    assert peers[0].outcome(server) is Handshake.SUCCEEDED
    (keys.directory / "allow_list.json").chmod(0o644)
    peers.append(Peer(server.address, known(keys.curve("client"))))
    assert peers[1].outcome(server) is Handshake.AUTH


def test_half_open_connections_are_dropped_while_a_good_client_is_served(server: Server, peers: list[Peer]) -> None:
    keys = new_curve_keys()
    server.admit(keys)
    half_open = [sockets.create_connection(("127.0.0.1", server.port), WAIT_S) for _ in range(100)]
    try:
        for connection in half_open[::2]:
            connection.sendall(b"\xff\0\0\0\0\0\0\0\1\x7f\3")
        peers.append(Peer(server.address, known(keys)))
        peers[0].send(b"hello")
        assert server.message() == (keys.public_key, b"hello")
        assert server.monitor.counts[Handshake.NO_DETAIL] < 100
        server.count(Handshake.NO_DETAIL, at_least=100)
    finally:
        for connection in half_open:
            connection.close()


def test_a_frame_beyond_the_bound_cuts_its_sender_off(peers: list[Peer]) -> None:
    server = Server(max_frame_bytes=1000)
    try:
        keys = new_curve_keys()
        server.admit(keys)
        peers.append(Peer(server.address, known(keys)))
        peers[0].send(b"x" * 900)
        assert server.message()[1] == b"x" * 900
        peers[0].send(b"x" * 1100)
        server.count(Handshake.DISCONNECTED)
        server.count(Handshake.SUCCEEDED, at_least=2)  # it comes back, and what it sent is gone
        assert not server.socket.poll(0)
    finally:
        server.close()


def test_a_refusal_wakes_whoever_watches_the_monitors_descriptor(server: Server, peers: list[Peer]) -> None:
    """It once slept for ever where nobody had looked into the monitor before."""
    peers.append(Peer(server.address, known(new_curve_keys())))
    assert server.gatekeeper is not None
    assert server.gatekeeper.socket.poll(round(WAIT_S * 1000))
    server.gatekeeper.drain()
    for monitor in (server.monitor, peers[0].monitor):
        readable, _, _ = select.select([monitor.fd], [], [], WAIT_S)
        assert readable
        monitor.drain()
        assert monitor.counts[Handshake.AUTH] == 1


def test_a_flood_of_refusals_that_nobody_counts_stops_no_one(server: Server, peers: list[Peer]) -> None:
    """The monitor's queue once stopped libzmq's I/O thread, and with it every socket."""
    for _ in range(2500):
        with sockets.create_connection(("127.0.0.1", server.port), WAIT_S) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
    keys = new_curve_keys()
    server.admit(keys)
    peers.append(Peer(server.address, known(keys)))
    peers[0].send(b"hello")
    assert server.message() == (keys.public_key, b"hello")


def test_a_machine_joins_by_its_token_and_then_by_its_own_key(server: Server, peers: list[Peer]) -> None:
    server.allowed, shown = issue_token(
        server.allowed, role=Role.NODE, head_key=HEAD.public_key, address=server.address, now_unix_s=0.0, lifetime_s=2e6
    )
    token = parse_token(shown.text())
    own = new_curve_keys()
    peers.append(Peer(token.address, ClientTrust(token.keys, token.head_key)))
    peers[0].send(own.public_key.encode())
    token_key, asked = server.message()
    assert token_key == token.keys.public_key
    server.allowed = redeem(server.allowed, token_key, Joiner(asked.decode(), "alder"), server.clock.unix_s())
    peers.append(Peer(token.address, ClientTrust(own, token.head_key)))
    peers[1].send(b"hello")
    assert server.message() == (own.public_key, b"hello")
    peers.append(Peer(token.address, ClientTrust(token.keys, token.head_key)))
    assert peers[2].outcome(server) is Handshake.AUTH


def test_an_expired_token_does_not_even_shake_hands(server: Server, peers: list[Peer]) -> None:
    server.allowed, token = issue_token(
        server.allowed, role=Role.NODE, head_key=HEAD.public_key, address=server.address, now_unix_s=0.0, lifetime_s=2e6
    )
    server.clock.advance(3e6)
    peers.append(Peer(server.address, ClientTrust(token.keys, token.head_key)))
    assert peers[0].outcome(server) is Handshake.AUTH


def test_a_socket_in_a_folder_that_others_may_enter_is_not_opened(tmp_path: Path) -> None:
    folder = make_private_directory(tmp_path / "run")
    context = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    try:
        listen(socket, f"ipc://{folder}/a", None)
        assert stat.S_ISSOCK((folder / "a").stat().st_mode)
        folder.chmod(0o755)
        with pytest.raises(KeysUnsafe, match="chmod 700"):
            listen(socket, f"ipc://{folder}/b", None)
    finally:
        socket.close(linger=0)
        context.term()


def test_listening_beyond_this_machine_without_keys_is_refused_and_a_taken_port_named() -> None:
    context = zmq.Context()
    first, second = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
    try:
        with pytest.raises(KeysUnsafe, match="other machines"):
            listen(first, "tcp://0.0.0.0:*", None)
        address = listen(first, "tcp://127.0.0.1:*", None)
        with pytest.raises(ConfigInvalid, match="in use"):
            listen(second, address, None)
    finally:
        first.close(linger=0)
        second.close(linger=0)
        context.term()
