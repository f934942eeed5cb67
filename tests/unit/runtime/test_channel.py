"""Control over real sockets: what is sent comes, what is wrong ends one connection and no other."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
import zmq

from cluster.runtime.channel import ChannelLost, ControlClient, ControlServer, PeerBroke, PeerMessage
from cluster.runtime.control import CONTROL_WIRE, HeadToNode, Heartbeat, HeartbeatTaken, Leave, NodeToHead
from cluster.runtime.control_frames import Came, FrameWriter
from sage.base.codec import Codec
from sage.base.errors import ClusterUnreachable, WireMismatch

DEADLINE_MS = 10_000

T = TypeVar("T")


class Cluster:
    """A server, and clients and strangers that connect to it."""

    def __init__(self, folder: Path) -> None:
        self._address = f"ipc://{folder}/control"
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        codec: Codec[NodeToHead] = Codec(NodeToHead)  # type: ignore[arg-type]  # a union is no class to mypy
        self.server = ControlServer(self._context, codec, [lambda socket: socket.bind(self._address)])
        self._clients: list[ControlClient[HeadToNode]] = []
        self._strangers: list[zmq.Socket[bytes]] = []

    def client(self) -> ControlClient[HeadToNode]:
        codec: Codec[HeadToNode] = Codec(HeadToNode)  # type: ignore[arg-type]  # as above
        self._clients.append(ControlClient(self._context, codec, lambda socket: socket.connect(self._address)))
        return self._clients[-1]

    def stranger(self) -> "zmq.Socket[bytes]":
        self._strangers.append(self._context.socket(zmq.DEALER))
        self._strangers[-1].connect(self._address)
        return self._strangers[-1]

    def next_at_server(self) -> PeerMessage[NodeToHead] | PeerBroke:
        return _next(self.server.fds(), self.server.drain)

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.server.close()
        for stranger in self._strangers:
            stranger.close(linger=0)
        self._context.term()


def _next(fds: tuple[int, ...], drain: Callable[[], Iterator[T]]) -> T:
    while (came := next(iter(drain()), None)) is None:
        poller = zmq.Poller()
        for fd in fds:
            poller.register(fd, zmq.POLLIN)
        assert poller.poll(DEADLINE_MS), "nothing came"
    return came


def next_at(client: ControlClient[HeadToNode]) -> Came[HeadToNode] | ChannelLost:
    return _next(client.fds(), client.drain)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.close()


def test_messages_go_both_ways_to_the_one_they_are_for(cluster: Cluster) -> None:
    first, second = cluster.client(), cluster.client()
    assert first.send(Heartbeat(1), 4)
    at_first = cluster.next_at_server()
    assert second.send(Heartbeat(2), 5)
    at_second = cluster.next_at_server()
    assert isinstance(at_first, PeerMessage)
    assert isinstance(at_second, PeerMessage)
    assert [(at_first.message, at_first.epoch), (at_second.message, at_second.epoch)] == [
        (Heartbeat(1), 4),
        (Heartbeat(2), 5),
    ]
    assert at_first.peer != at_second.peer
    assert cluster.server.send(at_second.peer, HeartbeatTaken(2), 5)
    assert next_at(second) == Came(HeartbeatTaken(2), 5)
    assert list(first.drain()) == []


def test_a_client_learns_that_the_head_is_gone(cluster: Cluster) -> None:
    client = cluster.client()
    client.send(Leave())
    cluster.next_at_server()
    cluster.server.close()
    assert isinstance(next_at(client), ChannelLost)
    assert not client.send(Leave())
    assert list(client.drain()) == []


def test_the_last_words_of_a_head_that_ends_are_heard_though_it_is_gone_already(cluster: Cluster) -> None:
    """libzmq dropped them where they had not been read yet: `sage-cluster stop` then called a good end a failure."""
    client = cluster.client()
    client.send(Heartbeat(1))
    came = cluster.next_at_server()
    assert list(client.drain()) == []
    assert cluster.server.send(came.peer, HeartbeatTaken(1))
    cluster.server.close(last_words_ms=DEADLINE_MS)
    _, monitor_fd = client.fds()
    poller = zmq.Poller()
    poller.register(monitor_fd, zmq.POLLIN)
    assert poller.poll(DEADLINE_MS), "the loss was not noticed"
    said, lost = client.drain()
    assert said == Came(HeartbeatTaken(1), 0)
    assert isinstance(lost, ChannelLost)


def test_a_peer_that_is_gone_is_not_sent_to(cluster: Cluster) -> None:
    client = cluster.client()
    client.send(Leave())
    came = cluster.next_at_server()
    client.close()
    sent = 0
    while cluster.server.send(came.peer, HeartbeatTaken(1)):
        sent += 1
        assert sent < 1_000_000
    assert not cluster.server.send(came.peer, HeartbeatTaken(1))


def test_a_peer_of_another_version_is_named_and_told_so(cluster: Cluster) -> None:
    stranger = cluster.stranger()
    stranger.send_multipart([msgspec.msgpack.encode([CONTROL_WIRE + 1, 0, 1]), b"\xc0"])
    broke = cluster.next_at_server()
    assert isinstance(broke, PeerBroke)
    assert isinstance(broke.error, WireMismatch)
    assert cluster.server.send(broke.peer, HeartbeatTaken(0))
    assert stranger.poll(DEADLINE_MS)
    header, _ = stranger.recv_multipart()
    assert msgspec.msgpack.decode(header)[0] == CONTROL_WIRE


@pytest.mark.parametrize("frames", [[b""], [b"\x93", b"x", b"y"], [b"\x80\x04\x95pickle.", b""], [b"\x91" * 999, b""]])
def test_a_stranger_that_talks_nonsense_is_cut_off_and_others_are_served(cluster: Cluster, frames: list[bytes]) -> None:
    stranger = cluster.stranger()
    stranger.send_multipart(frames)
    broke = cluster.next_at_server()
    assert isinstance(broke, PeerBroke)
    cluster.server.cut_off(broke.peer)
    stranger.send_multipart(frames)
    client = cluster.client()
    client.send(Heartbeat(1))
    came = cluster.next_at_server()
    assert isinstance(came, PeerMessage)
    assert came.message == Heartbeat(1)


def test_a_client_to_which_a_message_comes_twice_has_lost_its_head(cluster: Cluster) -> None:
    client = cluster.client()
    client.send(Leave())
    came = cluster.next_at_server()
    cluster.server.send(came.peer, HeartbeatTaken(1))
    cluster.server._peers[came.peer].writer = FrameWriter()
    cluster.server.send(came.peer, HeartbeatTaken(1))
    assert isinstance(next_at(client), Came)
    lost = next_at(client)
    assert isinstance(lost, ChannelLost)
    assert isinstance(lost.error, ClusterUnreachable)
